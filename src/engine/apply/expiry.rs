//! Tasks that may expire, from when they are ready to their first claim.

use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::state::State;
use crate::store::entry::Entry;
use crate::store::expiry::expires;
use crate::store::log::Place;
use crate::task::TaskId;
use crate::time::{Due, Millis};

impl State {
    /// Since when a task is ready that was delayed. With a time to live that is when it was due, though the tick may have
    /// come later; an instant of the wall clock says nothing on ours, so there it is when the tick came.
    pub(crate) fn ready_since(&self, place: Place, due: Due, at: Millis) -> Millis {
        let has_ttl = self.log.record(place).is_some_and(|record| record.options.ttl_ms.is_some());
        match due {
            Due::Clock(due) if has_ttl => due.min(at),
            _ => at,
        }
    }

    /// A task is ready, in its place and with its entry: it may expire from now on.
    pub(crate) fn index_expiry(&mut self, place: Place, order: Order, entry: Option<&Entry>) {
        // What comes back from a worker needs no look at its record.
        if entry.is_some_and(|entry| entry.deliveries > 0) {
            return;
        }
        let record = self.log.record(place);
        if let Some(expires) = record.and_then(|record| expires(&record, entry)) {
            self.expiry.insert(expires, order);
        }
    }

    /// A task is ready no more.
    pub(crate) fn forget_expiry(&mut self, place: Place, order: Order, entry: Option<&Entry>) {
        if self.expiry.len() == 0 {
            return;
        }
        let record = self.log.record(place);
        if let Some(expires) = record.and_then(|record| expires(&record, entry)) {
            self.expiry.remove(expires, order);
        }
    }

    /// Whether nobody claimed a task in time. Errors: it isn't ready, was claimed, or has time left.
    pub(crate) fn check_expired(&self, at: Millis, id: TaskId) -> Result<(), Invalid> {
        let expires = self.find(id).and_then(|found| found.expires());
        ensure(expires.is_some_and(|expires| expires <= at), "a task whose time to live is over")
    }
}
