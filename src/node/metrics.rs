//! The figures of a node for INFO: counters of what it has done, and gauges of its queues. They are kept up to date by each
//! change, so that INFO visits no queue.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use taskslot_engine::{Millis, Totals};

/// A run of timed work should take a millisecond. One that takes at least this long has delayed clients, and counts as slow.
const SLOW: Duration = Duration::from_millis(5);
/// The server's `latency-monitor-threshold` is read again after this time.
const THRESHOLD_KEPT_MS: u64 = 1000;
/// The number of spans, including the present one, over which the largest lag of the last minute is taken.
const LAGS: usize = 7;
const LAG_SPAN_MS: u64 = 10_000;

/// What this node has done since it started: the totals of all its queues, and how late its timed work was.
#[derive(Debug, Clone)]
pub struct Counters {
    totals: [u64; Totals::COUNT],
    slow_ticks: u64,
    lags: [Lag; LAGS],
    threshold: Threshold,
}

/// The largest lag within a span of 10 s. Spans are numbered; the one with number n is kept at n modulo [`LAGS`].
#[derive(Debug, Clone, Copy)]
struct Lag {
    span: u64,
    longest_ms: u64,
}

/// The server's `latency-monitor-threshold`, and until when this value is used.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    ms: i64,
    until: Millis,
}

impl Counters {
    /// Counters that are all 0.
    pub const fn new() -> Counters {
        Counters {
            totals: [0; Totals::COUNT],
            slow_ticks: 0,
            lags: [Lag { span: 0, longest_ms: 0 }; LAGS],
            threshold: Threshold { ms: 0, until: Millis(0) },
        }
    }

    /// Counts what a write did: it changed the totals of a queue from `before` to `after`. A total can become smaller, because a
    /// delivery that never reached its worker is undone.
    #[inline]
    pub fn add(&mut self, before: &[u64; Totals::COUNT], after: &[u64; Totals::COUNT]) {
        for ((total, before), after) in self.totals.iter_mut().zip(before).zip(after) {
            // A command changes one or two of them.
            if before != after {
                *total = total.wrapping_add(after.wrapping_sub(*before));
            }
        }
    }

    /// The totals of all writes of this node, in the order of [`Totals::NAMES`].
    pub fn totals(&self) -> [u64; Totals::COUNT] {
        self.totals
    }

    /// Counts a run of timed work that took this long.
    pub fn add_tick(&mut self, took: Duration) {
        if took >= SLOW {
            self.slow_ticks += 1;
        }
    }

    /// The number of runs of timed work that took 5 ms or longer.
    pub fn slow_ticks(&self) -> u64 {
        self.slow_ticks
    }

    /// Notes that work which was due `lag_ms` ago was done at `at`.
    pub fn add_lag(&mut self, at: Millis, lag_ms: u64) {
        let span = at.0 / LAG_SPAN_MS;
        if let Some(lag) = self.lags.get_mut((span % LAGS as u64) as usize) {
            let longest_ms = if lag.span == span { lag_ms.max(lag.longest_ms) } else { lag_ms };
            *lag = Lag { span, longest_ms };
        }
    }

    /// The largest lag of timed work in the last minute.
    pub fn lag_ms(&self, at: Millis) -> u64 {
        let span = at.0 / LAG_SPAN_MS;
        let kept = self.lags.iter().filter(|lag| lag.span + LAGS as u64 > span);
        kept.map(|lag| lag.longest_ms).max().unwrap_or(0)
    }

    /// The `latency-monitor-threshold`, if it was read less than a second ago; `None` if it has to be read again.
    pub fn threshold_ms(&self, at: Millis) -> Option<i64> {
        (at < self.threshold.until).then_some(self.threshold.ms)
    }

    /// Sets the `latency-monitor-threshold` that was read; 0 means off.
    pub fn set_threshold(&mut self, at: Millis, ms: i64) {
        self.threshold = Threshold { ms, until: at.plus(THRESHOLD_KEPT_MS) };
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::new()
    }
}

/// The largest queue that DUMP, MIGRATE and RESTORE can move. They move it as one string, which the server limits to 512 MB.
const MOVABLE_BYTES: usize = 512 << 20;
/// The size from which on a queue counts as big.
const BIG_BYTES: usize = MOVABLE_BYTES / 2;

/// The number of queues on a node, their size, and how many of them are broken or big.
///
/// They are atomics, because the server can free a queue on another thread, which removes it from the gauges. Each gauge is
/// exact. Two of them that are read one after the other can be from different moments.
#[derive(Debug, Default)]
pub struct Gauges {
    queues: AtomicUsize,
    bytes: AtomicUsize,
    broken: AtomicUsize,
    big: AtomicUsize,
}

/// What one queue adds to the gauges; a new one adds nothing. The code that drops the queue passes it to [`Gauges::remove`].
#[derive(Debug, Default)]
pub struct QueueGauge {
    is_counted: bool,
    bytes: usize,
    is_broken: bool,
}

/// The values of the gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeValues {
    /// The number of queues, including those that are being freed.
    pub queues: usize,
    /// The memory that they take, as MEMORY USAGE shows it, in bytes.
    pub bytes: usize,
    /// The number of queues that are broken.
    pub broken: usize,
    /// The number of queues above 256 MB, half the size of the largest queue that can be moved.
    pub big: usize,
}

impl Gauges {
    /// The gauges of a node without queues.
    pub const fn new() -> Gauges {
        Gauges {
            queues: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            big: AtomicUsize::new(0),
        }
    }

    /// Updates the gauges after a change of a queue. Returns whether the queue has become big by it.
    #[inline]
    pub fn update(&self, gauge: &mut QueueGauge, bytes: usize, is_broken: bool) -> bool {
        let (was_big, is_big) = (gauge.is_big(), bytes >= BIG_BYTES);
        if bytes != gauge.bytes {
            // If the queue has shrunk, the difference wraps around, and the wrapping addition subtracts it.
            self.bytes.fetch_add(bytes.wrapping_sub(gauge.bytes), Relaxed);
            gauge.bytes = bytes;
        }
        if (true, is_broken, is_big) != (gauge.is_counted, gauge.is_broken, was_big) {
            self.count(gauge, was_big, is_broken);
        }
        is_big && !was_big
    }

    #[cold]
    fn count(&self, gauge: &mut QueueGauge, was_big: bool, is_broken: bool) {
        change(&self.queues, mem::replace(&mut gauge.is_counted, true), true);
        change(&self.broken, mem::replace(&mut gauge.is_broken, is_broken), is_broken);
        change(&self.big, was_big, gauge.is_big());
    }

    /// Removes a queue that is freed.
    pub fn remove(&self, gauge: QueueGauge) {
        self.bytes.fetch_sub(gauge.bytes, Relaxed);
        change(&self.queues, gauge.is_counted, false);
        change(&self.broken, gauge.is_broken, false);
        change(&self.big, gauge.is_big(), false);
    }

    /// The present values.
    pub fn read(&self) -> GaugeValues {
        let gauges = [&self.queues, &self.bytes, &self.broken, &self.big];
        let [queues, bytes, broken, big] = gauges.map(|gauge| gauge.load(Relaxed));
        GaugeValues { queues, bytes, broken, big }
    }
}

impl QueueGauge {
    fn is_big(&self) -> bool {
        self.bytes >= BIG_BYTES
    }
}

fn change(count: &AtomicUsize, was: bool, is: bool) {
    match (was, is) {
        (false, true) => _ = count.fetch_add(1, Relaxed),
        (true, false) => _ = count.fetch_sub(1, Relaxed),
        _ => {}
    }
}
