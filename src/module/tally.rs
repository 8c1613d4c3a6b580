//! What this node has done since its start: totals over all queues, and how punctual its timed work was.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::time::Duration;

use taskslot_engine::{Millis, Totals};

use crate::api::{Context, server};

/// The name under which LATENCY shows long runs of timed work.
const LATENCY_EVENT: &CStr = c"taskslot-tick";
/// A run is given a millisecond: one that takes this long held the others up.
const SLOW: Duration = Duration::from_millis(5);
/// How long the server's `latency-monitor-threshold` is taken to be what it was.
const THRESHOLD_KEPT_MS: u64 = 1000;
/// The largest of the last minute is the largest of so many spans, the present one included.
const LAGS: usize = 7;
const LAG_SPAN_MS: u64 = 10_000;

struct Tally {
    totals: [Cell<u64>; Totals::COUNT],
    slow_ticks: Cell<u64>,
    /// The threshold of LATENCY, 0 for off, and until when it is believed.
    threshold: Cell<(i64, Millis)>,
    /// Spans of 10 s by their number, modulo how many are kept: the number, and the largest lag in it.
    lags: RefCell<[(u64, u64); LAGS]>,
}

thread_local! {
    static TALLY: Tally = const {
        Tally {
            totals: [const { Cell::new(0) }; Totals::COUNT],
            slow_ticks: Cell::new(0),
            threshold: Cell::new((0, Millis(0))),
            lags: RefCell::new([(0, 0); LAGS]),
        }
    };
}

/// A write has changed a queue's totals from `before` to `after`.
#[inline]
pub fn add(before: &[u64; Totals::COUNT], after: &[u64; Totals::COUNT]) {
    TALLY.with(|tally| {
        for ((total, before), after) in tally.totals.iter().zip(before).zip(after) {
            // A command moves one or two of them. A delivery that never reached its worker is taken back: the
            // difference may be below 0.
            if before != after {
                total.set(total.get().wrapping_add(after.wrapping_sub(*before)));
            }
        }
    });
}

/// The totals of all that was changed on this node as a primary, in the order of [`Totals::NAMES`].
pub fn totals() -> [u64; Totals::COUNT] {
    TALLY.with(|tally| tally.totals.each_ref().map(Cell::get))
}

/// A run of timed work took so long.
pub fn worked(ctx: Context<'_>, at: Millis, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return;
    }
    TALLY.with(|tally| {
        if took >= SLOW {
            tally.slow_ticks.set(tally.slow_ticks.get() + 1);
        }
        let (mut threshold, until) = tally.threshold.get();
        if at >= until {
            threshold = server::setting(ctx, c"latency-monitor-threshold").unwrap_or(0);
            tally.threshold.set((threshold, at.plus(THRESHOLD_KEPT_MS)));
        }
        // The server itself leaves out what is below, but not what nobody asked for.
        if threshold > 0 {
            server::latency(LATENCY_EVENT, ms);
        }
    });
}

/// How many runs of timed work took 5 ms or longer.
pub fn slow_ticks() -> u64 {
    TALLY.with(|tally| tally.slow_ticks.get())
}

/// Work that was due some time ago is done now.
pub fn was_late(at: Millis, lag_ms: u64) {
    let span = at.0 / LAG_SPAN_MS;
    TALLY.with(|tally| {
        let mut lags = tally.lags.borrow_mut();
        if let Some((number, longest)) = lags.get_mut((span % LAGS as u64) as usize) {
            *longest = if *number == span { lag_ms.max(*longest) } else { lag_ms };
            *number = span;
        }
    });
}

/// How late the latest work of the last minute was.
pub fn lag_ms(at: Millis) -> u64 {
    let span = at.0 / LAG_SPAN_MS;
    TALLY.with(|tally| {
        let lags = tally.lags.borrow();
        let kept = lags.iter().filter(|(number, _)| number + LAGS as u64 > span);
        kept.map(|&(_, longest)| longest).max().unwrap_or(0)
    })
}
