//! Done tasks that are kept.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::numbers::Order;
use crate::time::Millis;

/// Done tasks that are kept for a while: who is the oldest, whose time is over first, and which of them go.
///
/// They are bounded by age (each by its own RETAIN), by count (`retain-max`) and by bytes: while the queue holds more
/// than `max-bytes`, and where a push needs the room, the oldest go. So a push is never refused for the bytes or the number of what is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// By when they became so.
    by_age: BTreeSet<(Millis, Order)>,
    /// By when their time is over.
    by_end: BTreeSet<(Millis, Order)>,
    /// Bytes of their records; those of their results are counted with the results.
    bytes: u64,
}

impl Done {
    /// How many tasks are done and kept.
    pub fn len(&self) -> u64 {
        self.by_age.len() as u64
    }

    /// Bytes of their records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        (self.by_age.len() + self.by_end.len()) * 24
    }

    /// A task is done since `at` and kept until `until`; its record takes so many bytes.
    pub fn insert(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.insert((at, order));
        self.by_end.insert((until, order));
        self.bytes += bytes as u64;
    }

    /// A task that was inserted so isn't kept any more.
    pub fn remove(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.remove(&(at, order));
        self.by_end.remove(&(until, order));
        debug_assert!(
            self.bytes >= bytes as u64 && self.by_age.len() == self.by_end.len(),
            "done tasks are counted"
        );
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// Tasks by when they became done, after the given one or from the first.
    pub fn in_order(&self, after: Option<(Millis, Order)>) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_age.range((start, Bound::Unbounded)).copied()
    }

    /// When the first one's time is over.
    pub fn first_end(&self) -> Option<Millis> {
        self.by_end.first().map(|&(until, _)| until)
    }

    /// Tasks whose time is over by now, by when.
    pub fn over(&self, now: Millis) -> impl Iterator<Item = Order> + '_ {
        let over = self.by_end.iter().take_while(move |(until, _)| *until <= now);
        over.map(|&(_, order)| order)
    }

    /// Whether it holds just these, each as (since, until, number), and so many bytes. For `check`.
    pub fn holds(&self, done: &[(Millis, Millis, Order)], bytes: u64) -> bool {
        let by_age: BTreeSet<_> = done.iter().map(|&(at, _, order)| (at, order)).collect();
        let by_end: BTreeSet<_> = done.iter().map(|&(_, until, order)| (until, order)).collect();
        self.by_age == by_age && self.by_end == by_end && self.bytes == bytes
    }
}
