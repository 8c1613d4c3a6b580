//! How often what happened to a queue, since it came to be.

use serde::{Deserialize, Serialize};

use crate::bounds::NUMBER_MAX;

/// How often what happened, since the queue came to be. They are stored and equal on every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
// Else a damaged name would pass for a total of an older version.
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Tasks that came in.
    pub pushed: u64,
    /// Deliveries, NOACK included.
    pub claimed: u64,
    /// Tasks finished, NOACK included.
    pub acked: u64,
    /// Those of them finished after their lease was over.
    pub late: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Leases that ended without an answer.
    pub stalled: u64,
    /// Tasks given back.
    pub requeued: u64,
    /// Dead or delayed tasks made ready by RETRY.
    pub retried: u64,
    /// Times a task became dead.
    pub dead: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Tasks removed by PURGE.
    pub purged: u64,
    /// Dead tasks removed for being too old or too many.
    pub dropped: u64,
    // What follows came with version 2 of the stored form.
    /// Tasks that nobody claimed within their TTL.
    #[serde(default)]
    pub expired: u64,
    /// Done tasks that were kept and are no longer. They are counted as acked before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten: u64,
}

/// A total that most queues never see isn't stored, nor part of a digest, until it is needed.
fn is_zero(total: &u64) -> bool {
    *total == 0
}

impl Totals {
    /// How many totals there are.
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

    /// The totals, in the order of their names.
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

    /// Whether no counter is so large that it could overflow while any server lives.
    pub(crate) fn are_valid(&self) -> bool {
        let t = self;
        let gone = [t.acked, t.late, t.cancelled, t.purged, t.dropped, t.expired, t.forgotten];
        let others = [t.pushed, t.claimed, t.failed, t.stalled, t.requeued, t.retried, t.dead];
        gone.into_iter().chain(others).all(|total| total <= NUMBER_MAX as u64)
    }
}
