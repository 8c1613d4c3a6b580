//! Keeping the index of tasks that can expire, from when a task becomes ready to its first claim.

use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::state::State;
use crate::store::entry::Entry;
use crate::store::expiry::expires;
use crate::store::log::Position;
use crate::task::TaskId;
use crate::time::{Due, Millis};

impl State {
    /// The instant from which a task that was delayed counts as ready. Normally that is when the tick made it ready.
    /// With a time to live it is when the task was due, since the tick may have come later. If the task was due at an
    /// instant of the wall clock, the tick's time is used.
    pub(crate) fn ready_since(&self, position: Position, due: Due, at: Millis) -> Millis {
        let has_ttl = self.log.record(position).is_some_and(|record| record.options().ttl_ms.is_some());
        match due {
            Due::Clock(due) if has_ttl => due.min(at),
            _ => at,
        }
    }

    /// Indexes a task that became ready, if it can expire. Its record must already be in the log, with its entry.
    pub(crate) fn index_expiry(&mut self, position: Position, order: Order, entry: Option<&Entry>) {
        // A task that comes back from a worker never expires, so its record need not be read.
        if entry.is_some_and(|entry| entry.deliveries > 0) {
            return;
        }
        let record = self.log.record(position);
        if let Some(expires) = record.and_then(|record| expires(&record, entry)) {
            self.expiry.insert(expires, order);
        }
    }

    /// Removes a task that is no longer ready from the index.
    pub(crate) fn forget_expiry(&mut self, position: Position, order: Order, entry: Option<&Entry>) {
        if self.expiry.len() == 0 {
            return;
        }
        let record = self.log.record(position);
        if let Some(expires) = record.and_then(|record| expires(&record, entry)) {
            self.expiry.remove(expires, order);
        }
    }

    /// Checks that a task has expired. Errors: it isn't ready, was claimed, or has time left.
    pub(crate) fn check_expired(&self, at: Millis, id: TaskId) -> Result<(), Invalid> {
        let expires = self.find(id).and_then(|found| found.expires());
        ensure(expires.is_some_and(|expires| expires <= at), "a task whose time to live has passed")
    }
}
