//! This node's metrics: the counters and gauges of `taskslot_node`, and the events for the server's LATENCY.

use std::cell::RefCell;
use std::ffi::CStr;
use std::mem;
use std::time::Duration;

use taskslot_engine::{Millis, Totals};
use taskslot_node::{Counters, GaugeValues, Gauges};

use taskslot_api::{Context, Level, log, server};

/// The event by which LATENCY shows long runs of timed work.
const LATENCY_EVENT: &CStr = c"taskslot-tick";

/// Shared by all threads, because the server can free values on any of them.
static GAUGES: Gauges = Gauges::new();

thread_local! {
    static COUNTERS: RefCell<Counters> = const { RefCell::new(Counters::new()) };
}

/// Counts what a write did: it changed the totals of a queue from `before` to `after`.
#[inline]
pub fn add(before: &[u64; Totals::COUNT], after: &[u64; Totals::COUNT]) {
    COUNTERS.with_borrow_mut(|counters| counters.add(before, after));
}

/// Counts a run of timed work that took this long.
pub fn add_tick(ctx: Context<'_>, at: Millis, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return;
    }
    COUNTERS.with_borrow_mut(|counters| counters.add_tick(took));
    // The server ignores events below its threshold. But if the threshold is 0, which means off, it records them all.
    if threshold_ms(ctx, at) > 0 {
        server::latency(LATENCY_EVENT, ms);
    }
}

fn threshold_ms(ctx: Context<'_>, at: Millis) -> i64 {
    COUNTERS.with_borrow(|counters| counters.threshold_ms(at)).unwrap_or_else(|| {
        let ms = server::setting(ctx, c"latency-monitor-threshold").unwrap_or(0);
        COUNTERS.with_borrow_mut(|counters| counters.set_threshold(at, ms));
        ms
    })
}

/// Notes that work which was due `lag_ms` ago was done at `at`.
pub fn add_lag(at: Millis, lag_ms: u64) {
    COUNTERS.with_borrow_mut(|counters| counters.add_lag(at, lag_ms));
}

/// The counters since the start.
pub fn counters() -> Counters {
    COUNTERS.with_borrow(Counters::clone)
}

/// The present gauges.
pub fn gauges() -> GaugeValues {
    GAUGES.read()
}

/// What one queue adds to the gauges, until it is freed. A new one adds nothing.
#[derive(Default)]
pub struct QueueGauge(taskslot_node::QueueGauge);

impl QueueGauge {
    /// Updates the gauges after a change of the queue. Logs a warning when the queue becomes too large to move.
    #[inline]
    pub fn update(&mut self, bytes: usize, is_broken: bool) {
        if GAUGES.update(&mut self.0, bytes, is_broken) {
            log(
                Level::Warning,
                "a queue takes more than 256 MB: above 512 MB it can't be moved to another node",
            );
        }
    }
}

impl Drop for QueueGauge {
    fn drop(&mut self) {
        GAUGES.remove(mem::take(&mut self.0));
    }
}
