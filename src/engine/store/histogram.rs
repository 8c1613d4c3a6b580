//! A histogram of durations that forgets old values.

/// Each power of two is divided into this many parts, given as a power of two.
const PART_BITS: u32 = 2;
const PARTS: usize = 1 << PART_BITS;
/// Buckets for durations up to 2^32 − 1 ms (49 days). Longer ones count as 49 days.
const BUCKETS: usize = (33 - PART_BITS as usize) * PARTS;
/// What one value adds to its bucket. Counts are halved every minute, so a value is forgotten after five minutes.
const ONE: u32 = 16;

/// A histogram of durations in constant memory, in which recent values weigh more.
///
/// Buckets are log-linear: four for each power of two. A duration is known to within a quarter of itself, and exactly
/// below 8 ms. A percentile is interpolated within its bucket. Counts are halved every minute, so recent values
/// outweigh old ones.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: [u32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: [0; BUCKETS] }
    }
}

/// Percentiles of recent durations, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The median: half of the values are at most this.
    pub p50: u64,
    /// One in twenty is longer.
    pub p95: u64,
    /// One in a hundred is longer.
    pub p99: u64,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn count(&mut self, ms: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ms)) {
            *count = count.saturating_add(ONE);
        }
    }

    /// Halves all counts once per minute that passed.
    pub fn forget(&mut self, minutes: u64) {
        self.counts.iter_mut().for_each(|count| *count = halved(*count, minutes));
    }

    /// The percentiles after `minutes` more minutes have passed; `None` if nothing is known any more.
    pub fn percentiles(&self, minutes: u64) -> Option<Percentiles> {
        let total: u64 = self.counts.iter().map(|&count| u64::from(halved(count, minutes))).sum();
        let at = |percent: u64| self.at_rank((total * percent).div_ceil(100).max(1), minutes);
        (total > 0).then(|| Percentiles { p50: at(50), p95: at(95), p99: at(99) })
    }

    /// The duration at a rank; ranks start at 1.
    fn at_rank(&self, rank: u64, minutes: u64) -> u64 {
        let mut below = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            let count = u64::from(halved(count, minutes));
            if below + count >= rank {
                let (first, last) = bounds(bucket);
                // Values are assumed to be spread evenly over their bucket.
                let share = (2 * (rank - below) - 1) as f64 / (2 * count) as f64;
                return first + ((last - first) as f64 * share).round() as u64;
            }
            below += count;
        }
        bounds(BUCKETS - 1).1
    }
}

fn halved(count: u32, times: u64) -> u32 {
    u32::try_from(times).ok().and_then(|times| count.checked_shr(times)).unwrap_or(0)
}

/// The bucket of a duration.
#[inline]
fn bucket(ms: u64) -> usize {
    let ms = u32::try_from(ms).unwrap_or(u32::MAX);
    // In the first buckets there is one for each millisecond.
    let power = (ms | (PARTS as u32 - 1)).ilog2().max(PART_BITS);
    let shift = power - PART_BITS;
    ((shift as usize) << PART_BITS) + (ms >> shift) as usize
}

/// The shortest and the longest duration of a bucket.
fn bounds(bucket: usize) -> (u64, u64) {
    let shift = (bucket >> PART_BITS).saturating_sub(1);
    let first = (bucket - (shift << PART_BITS)) as u64;
    (first << shift, ((first + 1) << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bounds, bucket};

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut next = 0;
        for number in 0..BUCKETS {
            let (first, last) = bounds(number);
            assert_eq!(first, next);
            assert_eq!((bucket(first), bucket(last)), (number, number));
            assert!(last - first <= first / 4, "a quarter at most");
            next = last + 1;
        }
        assert_eq!((next, bucket(u64::MAX)), (1 << 32, BUCKETS - 1));
    }
}
