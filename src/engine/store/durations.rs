//! Counts of durations that only grow.

/// One bucket for each power of two from 1 ms to 2^29 ms (6 days), and one for all that is longer. With two more, a queue's
/// figures would take 256 bytes more from the allocator.
const BUCKETS: usize = 31;

/// How many durations there were, by length, since a node began to watch a queue.
///
/// Monitoring systems compute rates and percentiles over any span from counts that only grow. A duration is in whole
/// ms, rounded down, and counts in the first bucket whose bound it is below. The bounds never change, so that those of
/// several queues or nodes can be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
    sum_ms: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Durations { counts: [0; BUCKETS], sum_ms: 0 }
    }
}

impl Durations {
    /// Counts one duration.
    #[inline]
    pub(crate) fn count(&mut self, ms: u64) {
        // The number of bits is the first power of two that is above.
        let bits = (u64::BITS - ms.leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bits.min(BUCKETS - 1)) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations added up, in ms.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// The buckets that are not empty, shortest first: the bound in ms that its durations are below, and how many they
    /// are. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bound = |bits: usize| (bits < BUCKETS - 1).then(|| 1 << bits);
        let all = self.counts.iter().enumerate();
        all.filter(|&(_, &count)| count > 0).map(move |(bits, &count)| (bound(bits), count))
    }
}

#[cfg(test)]
mod tests {
    use super::Durations;

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_is_below() {
        let last = (1 << 29) - 1;
        for (ms, bound) in
            [(0, 1), (1, 2), (2, 4), (3, 4), (4, 8), (1023, 1024), (1024, 2048), (last, 1 << 29)]
        {
            let mut durations = Durations::default();
            durations.count(ms);
            assert_eq!(durations.buckets().collect::<Vec<_>>(), [(Some(bound), 1)], "{ms}");
            assert_eq!((durations.total(), durations.sum_ms()), (1, ms));
        }
    }

    #[test]
    fn the_longest_durations_share_a_bucket_without_a_bound() {
        let mut durations = Durations::default();
        [1 << 29, 1 << 32, u64::MAX].into_iter().for_each(|ms| durations.count(ms));
        assert_eq!(durations.buckets().collect::<Vec<_>>(), [(None, 3)]);
        assert_eq!((durations.total(), durations.sum_ms()), (3, u64::MAX));
    }
}
