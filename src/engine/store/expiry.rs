//! Tasks that expire if nobody claims them.

use std::collections::BTreeSet;

use crate::numbers::Order;
use crate::store::entry::{Entry, Phase};
use crate::store::record::Record;
use crate::time::Millis;

/// Ready tasks that nobody has claimed yet and that are gone if nobody does in time (TTL), by when.
///
/// The instant follows from the task: so long after it was ready first, while no delivery counts. A task is here
/// if and only if that holds. The tick removes those whose instant has come, and so does a claim before it takes anything.
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
    pub fn is_behind(&self, at: Millis) -> bool {
        self.first().is_some_and(|first| first <= at)
    }

    pub fn insert(&mut self, at: Millis, order: Order) {
        self.tasks.insert((at, order));
    }

    pub fn remove(&mut self, at: Millis, order: Order) {
        self.tasks.remove(&(at, order));
    }

    /// Tasks that should be gone by now, by when.
    pub fn over(&self, now: Millis) -> impl Iterator<Item = Order> + '_ {
        let over = self.tasks.iter().take_while(move |(expires, _)| *expires <= now);
        over.map(|&(_, order)| order)
    }

    /// Whether it holds just these. For `check`.
    pub fn holds(&self, tasks: &BTreeSet<(Millis, Order)>) -> bool {
        self.tasks == *tasks
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        // They come in order, mostly, which leaves the set's nodes half full.
        self.tasks.len() * 37
    }
}

/// When a task is to go, if it may.
pub(crate) fn expires(record: &Record, entry: Option<&Entry>) -> Option<Millis> {
    let ttl_ms = record.options.ttl_ms?;
    let since = match entry {
        None => Millis(record.id.ms),
        Some(Entry { phase: Phase::Ready { since }, deliveries: 0, .. }) => *since,
        Some(_) => return None,
    };
    Some(since.plus(ttl_ms))
}
