//! Ready tasks that nobody has claimed yet and that are gone if nobody does in time (TTL), by when.
//!
//! The instant follows from the task: so long after it was ready first, while no delivery counts. A task is here
//! if and only if that holds. The tick removes those whose instant has come, and so does a claim before it takes anything.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::mismatch::{Mismatch, ensure};
use crate::queue::{Found, Queue};
use crate::store::entry::{Entry, Order, Phase};
use crate::store::log::Place;
use crate::store::page::Record;
use crate::task::TaskId;
use crate::time::{Due, Millis};

/// Tasks that one event removes.
const STEP_TASKS: usize = 128;
/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiry {
    tasks: BTreeSet<(Millis, Order)>,
}

impl Expiry {
    /// How many tasks may expire.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// When the first task is to go.
    pub fn first(&self) -> Option<Millis> {
        self.tasks.first().map(|&(at, _)| at)
    }

    /// Whether a task that should be gone is still there.
    fn is_behind(&self, at: Millis) -> bool {
        self.first().is_some_and(|first| first <= at)
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        // They come in order, mostly, which leaves the set's nodes half full.
        self.tasks.len() * 37
    }
}

/// When a task is to go, if it may.
fn expires(record: &Record, entry: Option<&Entry>) -> Option<Millis> {
    let ttl_ms = record.options.ttl_ms?;
    let since = match entry {
        None => Millis(record.id.ms),
        Some(Entry { phase: Phase::Ready { since }, deliveries: 0, .. }) => *since,
        Some(_) => return None,
    };
    Some(since.plus(ttl_ms))
}

impl Found<'_> {
    /// When the task is to go if nobody claims it: of one that is ready, and was never claimed.
    pub fn expires(&self) -> Option<Millis> {
        expires(&self.record, self.entry.as_ref())
    }
}

impl Queue {
    /// Whether there are ready tasks whose time to live is over and that nobody has removed yet. Nothing is claimed before
    /// they are.
    pub fn is_behind(&self, at: Millis) -> bool {
        self.expiry.is_behind(at)
    }

    /// Ready tasks whose time to live is over, at most as many as one step removes.
    pub(crate) fn expired_tasks(&self, at: Millis) -> Option<Event<'static>> {
        let expired = self.expiry.tasks.iter().take_while(|(expires, _)| *expires <= at).take(STEP_TASKS);
        let id = |order: Order| Some(self.log.record(self.log.locate(order)?)?.id);
        let ids: Vec<TaskId> = expired.filter_map(|&(_, order)| id(order)).collect();
        (!ids.is_empty()).then_some(Event::Expired { at, ids })
    }

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
            self.expiry.tasks.insert((expires, order));
        }
    }

    /// A task is ready no more.
    pub(crate) fn forget_expiry(&mut self, place: Place, order: Order, entry: Option<&Entry>) {
        if self.expiry.tasks.is_empty() {
            return;
        }
        let record = self.log.record(place);
        if let Some(expires) = record.and_then(|record| expires(&record, entry)) {
            self.expiry.tasks.remove(&(expires, order));
        }
    }

    /// Whether nobody claimed a task in time. Errors: it isn't ready, was claimed, or has time left.
    pub(crate) fn check_expired(&self, at: Millis, id: TaskId) -> Result<(), Mismatch> {
        let expires = self.find(id).and_then(|found| found.expires());
        ensure(expires.is_some_and(|expires| expires <= at), "a task whose time to live is over")
    }

    /// Whether the index holds just these.
    pub(crate) fn validate_expiry(&self, expected: BTreeSet<(Millis, Order)>) -> Result<(), Mismatch> {
        ensure(self.expiry.tasks == expected, "tasks that may expire are indexed")
    }
}
