//! A lane: the ready tasks of one priority and one group, first in, first out by rank.
//!
//! Tasks that were never touched lie in `fresh` as runs of order numbers: their rank is their number, so a plain
//! queue is one run and pays nothing per task. A run may cover numbers that are not (or no longer) fresh tasks, but
//! never a fresh task of another lane; the log tells which is which. Tasks that came back lie in `returned`, by rank.
//! The first number of the first run is always a fresh task, so that nobody walks twice over numbers whose tasks are
//! gone.

use std::collections::BTreeMap;

use crate::entry::Order;
use crate::log::{Log, Place};
use crate::mismatch::{Mismatch, ensure};
use crate::runs::Runs;

/// What a lane should hold, sorted: fresh tasks, and those that came back with their ranks. For `check`.
pub(crate) type LaneTasks = (Vec<Order>, Vec<(Order, Order)>);

/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    fresh: Runs,
    fresh_tasks: u64,
    returned: BTreeMap<Order, Order>,
}

impl Lane {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fresh_tasks == 0 && self.returned.is_empty()
    }

    /// Bytes taken from the allocator beside the lane's own, about.
    pub fn memory(&self) -> usize {
        self.fresh.memory() + self.returned.len() * 24
    }

    /// A task that was just pushed is ready. Numbers only grow. `extend` says that no other lane got a fresh task
    /// since this one's last.
    pub fn push_fresh(&mut self, order: Order, extend: bool) {
        self.fresh.append(order, extend);
        self.fresh_tasks += 1;
    }

    /// A fresh task is touched or gone: it must still be in the log as fresh, since the log says what a run covers.
    pub fn take_fresh(&mut self, order: Order, log: &Log) {
        self.fresh_tasks = self.fresh_tasks.saturating_sub(1);
        if self.fresh_tasks == 0 {
            self.fresh = Runs::default();
        } else if self.fresh.head.is_some_and(|head| head.start == order) {
            self.fresh.advance(order.next());
            while let Some(head) = self.fresh.head {
                let first = log.first_fresh_in(head.start, head.end);
                self.fresh.advance(first.unwrap_or(head.end));
                if first.is_some() {
                    break;
                }
            }
        }
    }

    /// A task came back; false where another holds its turn.
    pub fn put_returned(&mut self, rank: Order, order: Order) -> bool {
        let held = self.returned.contains_key(&rank);
        if !held {
            self.returned.insert(rank, order);
        }
        !held
    }

    /// A task that had come back leaves.
    pub fn take_returned(&mut self, rank: Order) {
        self.returned.remove(&rank);
    }

    /// The tasks in the order of claims, each with its rank, from the rank `from` on.
    pub fn in_order<'a>(&'a self, log: &'a Log, from: Order) -> impl Iterator<Item = (Order, Place)> + 'a {
        let fresh = self.fresh.iter().filter(move |run| run.end > from);
        let mut fresh = fresh.flat_map(move |run| log.fresh_in(run.start.max(from), run.end)).peekable();
        let mut returned = self.returned.range(from..).peekable();
        std::iter::from_fn(move || {
            let first = fresh.peek().map(|&place| log.order(place));
            match returned.peek() {
                Some(&(&rank, &order)) if first.is_none_or(|first| rank < first) => {
                    returned.next();
                    Some((rank, log.locate(order)?))
                }
                _ => Some((first?, fresh.next()?)),
            }
        })
    }

    /// Whether the lane holds just these tasks: the ranks of fresh ones and those that came back, each sorted.
    pub fn validate(&self, fresh: &[Order], returned: &[(Order, Order)], log: &Log) -> Result<(), Mismatch> {
        let runs = self.fresh.iter().flat_map(|run| log.fresh_in(run.start, run.end));
        let covered = runs.map(|place| log.order(place));
        ensure(covered.eq(fresh.iter().copied()), "runs cover their lane's fresh tasks")?;
        let head = self.fresh.head.map(|head| head.start);
        ensure(head == fresh.first().copied(), "a run begins with a fresh task")?;
        ensure(self.fresh_tasks == fresh.len() as u64, "fresh tasks are counted")?;
        let back = self.returned.iter().map(|(rank, order)| (*rank, *order));
        ensure(back.eq(returned.iter().copied()), "returned tasks have their turns")
    }
}
