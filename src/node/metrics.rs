//! What INFO tells of a node without a walk over its queues: counters of what was done, gauges of the queues there are.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use taskslot_engine::{Millis, Totals};

/// A run of timed work is given a millisecond: one that takes this long held clients up.
const SLOW: Duration = Duration::from_millis(5);
/// The server's `latency-monitor-threshold` is read again after this time.
const THRESHOLD_KEPT_MS: u64 = 1000;
/// The largest lag of the last minute is the largest of so many spans, the present one included.
const LAGS: usize = 7;
const LAG_SPAN_MS: u64 = 10_000;

/// What this node has done since its start: the totals of all its queues, and how punctual its timed work was.
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

/// The server's `latency-monitor-threshold`, and until when it is taken to be the same.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    ms: i64,
    until: Millis,
}

impl Counters {
    /// Those of a node that has done nothing yet.
    pub const fn new() -> Counters {
        Counters {
            totals: [0; Totals::COUNT],
            slow_ticks: 0,
            lags: [Lag { span: 0, longest_ms: 0 }; LAGS],
            threshold: Threshold { ms: 0, until: Millis(0) },
        }
    }

    /// A write has changed a queue's totals from `before` to `after`. A delivery that never reached its worker is taken back,
    /// so one may have become smaller.
    #[inline]
    pub fn add(&mut self, before: &[u64; Totals::COUNT], after: &[u64; Totals::COUNT]) {
        for ((total, before), after) in self.totals.iter_mut().zip(before).zip(after) {
            // A command changes one or two of them.
            if before != after {
                *total = total.wrapping_add(after.wrapping_sub(*before));
            }
        }
    }

    /// The totals of all that was changed on this node as a primary, in the order of [`Totals::NAMES`].
    pub fn totals(&self) -> [u64; Totals::COUNT] {
        self.totals
    }

    /// A run of timed work took so long.
    pub fn add_tick(&mut self, took: Duration) {
        if took >= SLOW {
            self.slow_ticks += 1;
        }
    }

    /// How many runs of timed work took 5 ms or longer.
    pub fn slow_ticks(&self) -> u64 {
        self.slow_ticks
    }

    /// Work that was due `lag_ms` ago is done at `at`.
    pub fn add_lag(&mut self, at: Millis, lag_ms: u64) {
        let span = at.0 / LAG_SPAN_MS;
        if let Some(lag) = self.lags.get_mut((span % LAGS as u64) as usize) {
            let longest_ms = if lag.span == span { lag_ms.max(lag.longest_ms) } else { lag_ms };
            *lag = Lag { span, longest_ms };
        }
    }

    /// How late the latest work of the last minute was.
    pub fn lag_ms(&self, at: Millis) -> u64 {
        let span = at.0 / LAG_SPAN_MS;
        let kept = self.lags.iter().filter(|lag| lag.span + LAGS as u64 > span);
        kept.map(|lag| lag.longest_ms).max().unwrap_or(0)
    }

    /// The `latency-monitor-threshold` that was set a second ago or later; `None` if it is to be read again.
    pub fn threshold_ms(&self, at: Millis) -> Option<i64> {
        (at < self.threshold.until).then_some(self.threshold.ms)
    }

    /// The `latency-monitor-threshold` was read: 0 for off.
    pub fn set_threshold(&mut self, at: Millis, ms: i64) {
        self.threshold = Threshold { ms, until: at.plus(THRESHOLD_KEPT_MS) };
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::new()
    }
}

/// A queue that moves by DUMP, MIGRATE or RESTORE goes as one string, which the server bounds at 512 MB.
const MOVABLE_BYTES: usize = 512 << 20;
/// From here on a queue counts as big.
const BIG_BYTES: usize = MOVABLE_BYTES / 2;

/// How many queues a node holds, how large they are, and how many of them are broken: kept up to date by each change.
///
/// They are atomics, because a queue leaves them when it is freed, and a server may free it on another thread. Each is
/// exact on its own; two that are read one after the other may be of different moments.
#[derive(Debug, Default)]
pub struct Gauges {
    queues: AtomicUsize,
    bytes: AtomicUsize,
    broken: AtomicUsize,
    big: AtomicUsize,
}

/// One queue's part in the gauges; a new one has none. Whoever drops the queue gives it to [`Gauges::remove`].
#[derive(Debug, Default)]
pub struct QueueGauge {
    is_counted: bool,
    bytes: usize,
    is_broken: bool,
}

/// What the gauges show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeValues {
    /// How many queues there are, those included that are being freed.
    pub queues: usize,
    /// The memory they take, as MEMORY USAGE tells it.
    pub bytes: usize,
    /// How many of them were given up.
    pub broken: usize,
    /// How many are above half the size beyond which they can't be moved.
    pub big: usize,
}

impl Gauges {
    /// Those of a node without queues.
    pub const fn new() -> Gauges {
        Gauges {
            queues: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            big: AtomicUsize::new(0),
        }
    }

    /// A queue has changed. True if it has become big.
    #[inline]
    pub fn update(&self, gauge: &mut QueueGauge, bytes: usize, is_broken: bool) -> bool {
        let (was_big, is_big) = (gauge.is_big(), bytes >= BIG_BYTES);
        if bytes != gauge.bytes {
            // Where the queue shrank it wraps around zero, which adds up all the same.
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

    /// A queue is freed.
    pub fn remove(&self, gauge: QueueGauge) {
        self.bytes.fetch_sub(gauge.bytes, Relaxed);
        change(&self.queues, gauge.is_counted, false);
        change(&self.broken, gauge.is_broken, false);
        change(&self.big, gauge.is_big(), false);
    }

    /// What they show now.
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
