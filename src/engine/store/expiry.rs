//! The index of tasks that expire if nobody claims them in time.

use std::collections::BTreeSet;

use crate::numbers::Order;
use crate::store::entry::{Entry, Phase};
use crate::store::record::Record;
use crate::time::Millis;

/// Ready tasks with a time to live (TTL), by the time they expire.
///
/// A task's TTL counts from the moment it first became ready and ends at its first claim. A task is in this index
/// exactly while it is ready, has a TTL and was never delivered. The tick removes expired tasks, and so does a claim
/// before it takes anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiry {
    tasks: BTreeSet<(Millis, Order)>,
}

impl Expiry {
    /// How many tasks can expire.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// When the first task expires; `None` if none can.
    pub fn first(&self) -> Option<Millis> {
        self.tasks.first().map(|&(at, _)| at)
    }

    /// Whether a task that has expired at `at` is still in the queue.
    pub fn is_behind(&self, at: Millis) -> bool {
        self.first().is_some_and(|first| first <= at)
    }

    pub fn insert(&mut self, at: Millis, order: Order) {
        self.tasks.insert((at, order));
    }

    pub fn remove(&mut self, at: Millis, order: Order) {
        self.tasks.remove(&(at, order));
    }

    /// Tasks that have expired at `now`, the earliest first.
    pub fn over(&self, now: Millis) -> impl Iterator<Item = Order> + '_ {
        let over = self.tasks.iter().take_while(move |(expires, _)| *expires <= now);
        over.map(|&(_, order)| order)
    }

    /// Whether the index contains exactly these tasks. For `check`.
    pub fn holds(&self, tasks: &BTreeSet<(Millis, Order)>) -> bool {
        self.tasks == *tasks
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        // Most are inserted in ascending order, which leaves the nodes of the set half full.
        self.tasks.len() * 37
    }
}

/// When a task expires; `None` if it has no TTL, is not ready or was delivered before.
pub(crate) fn expires(record: &Record, entry: Option<&Entry>) -> Option<Millis> {
    let ttl_ms = record.options().ttl_ms?;
    let since = match entry {
        None => Millis(record.id.ms),
        Some(Entry { phase: Phase::Ready { since }, deliveries: 0, .. }) => *since,
        Some(_) => return None,
    };
    Some(since.plus(ttl_ms.get()))
}
