//! The index of delayed tasks.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::numbers::Order;
use crate::time::{Due, Millis, Now, earlier};

/// Delayed tasks, by the time they become ready.
///
/// There are two sets, one per clock. A task delayed by a span is due on the queue's clock. A task with an instant is
/// due on the wall clock, so it follows that clock when it is corrected. Each delayed task is in exactly one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delayed {
    clock: BTreeSet<(Millis, Order)>,
    wall: BTreeSet<(Millis, Order)>,
}

impl Delayed {
    /// How many tasks are delayed.
    pub fn len(&self) -> u64 {
        (self.clock.len() + self.wall.len()) as u64
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        (self.clock.len() + self.wall.len()) * 24
    }

    fn side(&mut self, due: Due) -> &mut BTreeSet<(Millis, Order)> {
        match due {
            Due::Clock(_) => &mut self.clock,
            Due::Wall(_) => &mut self.wall,
        }
    }

    pub fn insert(&mut self, due: Due, order: Order) {
        let is_new = self.side(due).insert((due.instant(), order));
        debug_assert!(is_new, "a delayed task is indexed once");
    }

    pub fn remove(&mut self, due: Due, order: Order) {
        let is_there = self.side(due).remove(&(due.instant(), order));
        debug_assert!(is_there, "a delayed task is indexed once");
    }

    /// When the first task is due, on the queue's clock; `None` if no task is delayed.
    pub fn first_due(&self, now: &Now) -> Option<Millis> {
        let clock = self.clock.first().map(|&(at, _)| at);
        let wall = self.wall.first().map(|&(at, _)| now.wall_on_clock(at));
        earlier(clock, wall)
    }

    /// Tasks by due time on the queue's clock: those after the given one, or all.
    pub fn in_order(
        &self,
        now: Now,
        after: Option<(Millis, Order)>,
    ) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut clock = self.clock.range((start, Bound::Unbounded)).copied().peekable();
        let start =
            after.map_or(Bound::Unbounded, |(at, order)| Bound::Excluded((now.clock_on_wall(at), order)));
        let on_clock = move |&(at, order): &(Millis, Order)| (now.wall_on_clock(at), order);
        let mut wall = self.wall.range((start, Bound::Unbounded)).map(on_clock).peekable();
        std::iter::from_fn(move || match (clock.peek(), wall.peek()) {
            (Some(c), Some(w)) if w < c => wall.next(),
            (None, _) => wall.next(),
            _ => clock.next(),
        })
    }

    /// Tasks from the last due time to the first: those before the given one, or all.
    pub fn in_reverse(
        &self,
        now: Now,
        before: Option<(Millis, Order)>,
    ) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let mut clock = self.clock.range((Bound::Unbounded, end)).rev().copied().peekable();
        let end =
            before.map_or(Bound::Unbounded, |(at, order)| Bound::Excluded((now.clock_on_wall(at), order)));
        let on_clock = move |&(at, order): &(Millis, Order)| (now.wall_on_clock(at), order);
        let mut wall = self.wall.range((Bound::Unbounded, end)).rev().map(on_clock).peekable();
        std::iter::from_fn(move || if wall.peek() > clock.peek() { wall.next() } else { clock.next() })
    }

    /// All tasks with their due times as stored, for `check`.
    pub fn all(&self) -> impl Iterator<Item = (Due, Order)> + '_ {
        let clock = self.clock.iter().map(|&(at, order)| (Due::Clock(at), order));
        clock.chain(self.wall.iter().map(|&(at, order)| (Due::Wall(at), order)))
    }
}
