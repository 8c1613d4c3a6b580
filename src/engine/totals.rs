//! Counters of everything that happened to a queue.

use serde::{Deserialize, Serialize};

use crate::bounds::NUMBER_MAX;

/// Counters since the queue was created. They are stored, and equal on every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
// Otherwise a damaged name would pass for a counter that an older version lacked.
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Tasks pushed, by clients or schedules.
    pub pushed: u64,
    /// Deliveries, including NOACK.
    pub claimed: u64,
    /// Tasks finished, including NOACK.
    pub acked: u64,
    /// Tasks finished after their lease had ended; also counted in `acked`.
    pub late: u64,
    /// Failed attempts (FAIL).
    pub failed: u64,
    /// Stalls: leases that ended without an answer.
    pub stalled: u64,
    /// Tasks given back (REQUEUE).
    pub requeued: u64,
    /// Dead or delayed tasks made ready by RETRY.
    pub retried: u64,
    /// How often a task became dead.
    pub dead: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Tasks removed by PURGE.
    pub purged: u64,
    /// Dead tasks removed because they were too old or too many.
    pub dropped: u64,
    // The fields below were added with version 2 of the stored form.
    /// Tasks that expired: nobody claimed them within their TTL.
    #[serde(default)]
    pub expired: u64,
    /// Done tasks that are no longer retained; also counted in `acked`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten: u64,
}

/// A counter that most queues never use is neither stored nor part of a digest while it is 0.
fn is_zero(total: &u64) -> bool {
    *total == 0
}

impl Totals {
    /// How many counters there are.
    pub const COUNT: usize = 14;

    /// The names under which they are shown.
    pub const NAMES: [&'static str; Totals::COUNT] = [
        "pushed",
        "claimed",
        "acked",
        "late",
        "failed",
        "stalled",
        "requeued",
        "retried",
        "died",
        "cancelled",
        "purged",
        "dropped",
        "forgotten",
        "expired",
    ];

    /// The counters, in the order of [`Totals::NAMES`].
    pub fn values(&self) -> [u64; Totals::COUNT] {
        let t = self;
        [
            t.pushed,
            t.claimed,
            t.acked,
            t.late,
            t.failed,
            t.stalled,
            t.requeued,
            t.retried,
            t.dead,
            t.cancelled,
            t.purged,
            t.dropped,
            t.forgotten,
            t.expired,
        ]
    }

    /// Whether all counters are far from an overflow.
    pub(crate) fn are_valid(&self) -> bool {
        let t = self;
        let gone = [t.acked, t.late, t.cancelled, t.purged, t.dropped, t.expired, t.forgotten];
        let others = [t.pushed, t.claimed, t.failed, t.stalled, t.requeued, t.retried, t.dead];
        gone.into_iter().chain(others).all(|total| total <= NUMBER_MAX as u64)
    }
}
