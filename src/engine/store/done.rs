//! The index of done tasks that are retained.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::numbers::Order;
use crate::time::Millis;

/// Done tasks that are retained for a while, by the time they were done and by the time their retention ends.
///
/// They are bounded by age (each by its own RETAIN), by count (`retain-max`) and by bytes. The oldest are removed while
/// the queue exceeds `max-bytes`, and when a push needs the room. So done tasks never cause a push to be refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// By the time they were done.
    by_age: BTreeSet<(Millis, Order)>,
    /// By the time their retention ends.
    by_end: BTreeSet<(Millis, Order)>,
    /// Bytes of their records. The bytes of their results are counted in the table of results.
    bytes: u64,
}

impl Done {
    /// How many done tasks are retained.
    pub fn len(&self) -> u64 {
        self.by_age.len() as u64
    }

    /// Bytes of their records, without results.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        (self.by_age.len() + self.by_end.len()) * 24
    }

    /// Adds a task that was done at `at` and is retained until `until`. `bytes` is the size of its record.
    pub fn insert(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.insert((at, order));
        self.by_end.insert((until, order));
        self.bytes += bytes as u64;
    }

    /// Removes a task. The arguments must be those of its insertion.
    pub fn remove(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.remove(&(at, order));
        self.by_end.remove(&(until, order));
        debug_assert!(
            self.bytes >= bytes as u64 && self.by_age.len() == self.by_end.len(),
            "done tasks are counted"
        );
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// Tasks by the time they were done: those after the given one, or all.
    pub fn in_order(&self, after: Option<(Millis, Order)>) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_age.range((start, Bound::Unbounded)).copied()
    }

    /// Tasks from the one that was done last to the first: those before the given one, or all.
    pub fn in_reverse(&self, before: Option<(Millis, Order)>) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_age.range((Bound::Unbounded, end)).rev().copied()
    }

    /// When the first retention ends.
    pub fn first_end(&self) -> Option<Millis> {
        self.by_end.first().map(|&(until, _)| until)
    }

    /// Tasks whose retention has ended at `now`, the earliest end first.
    pub fn over(&self, now: Millis) -> impl Iterator<Item = Order> + '_ {
        let over = self.by_end.iter().take_while(move |(until, _)| *until <= now);
        over.map(|&(_, order)| order)
    }

    /// Whether the index contains exactly these tasks, each as (done at, retained until, order number), with this many
    /// bytes. For `check`.
    pub fn holds(&self, done: &[(Millis, Millis, Order)], bytes: u64) -> bool {
        let by_age: BTreeSet<_> = done.iter().map(|&(at, _, order)| (at, order)).collect();
        let by_end: BTreeSet<_> = done.iter().map(|&(_, until, order)| (until, order)).collect();
        self.by_age == by_age && self.by_end == by_end && self.bytes == bytes
    }
}
