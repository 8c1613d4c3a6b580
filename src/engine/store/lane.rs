//! The ready tasks of one priority and one group.

use std::collections::BTreeMap;

use taskslot_edges::rare;

use crate::invalid::{Invalid, ensure};
use crate::numbers::{Order, Rank};
use crate::store::log::{Log, Position};
use crate::store::runs::Runs;

/// What a lane should contain, sorted. For `check`.
#[derive(Debug, Default)]
pub(crate) struct LaneTasks {
    pub fresh: Vec<Order>,
    /// With their ranks, like the suspects.
    pub returned: Vec<(Rank, Order)>,
    pub suspects: Vec<(Rank, Order)>,
}

/// A choice among the tasks of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All of them.
    All,
    /// Those that are not suspects.
    Sound,
}

/// The ready tasks of one priority and one group, first in, first out by rank.
///
/// Tasks that were never touched are in `fresh`, as runs of order numbers. Their rank is their number, so a plain queue
/// is one run and costs nothing per task. A run can cover numbers that are not fresh tasks (any more), but never a
/// fresh task of another lane; the log knows which number is which. Tasks that came back are in `returned`, by rank.
/// Suspects are kept apart, because not every worker can get them and a claim should not scan past them.
///
/// The first number of the first run is always a fresh task, so that no claim scans removed numbers twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    fresh: Runs,
    fresh_tasks: u64,
    returned: BTreeMap<Rank, Order>,
    /// Boxed, so that a lane without suspects pays eight bytes.
    suspects: Option<Box<Suspects>>,
}

/// Suspects that came back, by rank.
#[derive(Debug, Clone, Default)]
struct Suspects(BTreeMap<Rank, Order>);

impl Lane {
    /// Whether the lane has no tasks.
    pub fn is_empty(&self) -> bool {
        !self.has(Which::All)
    }

    /// Whether the lane has such tasks.
    pub fn has(&self, which: Which) -> bool {
        let is_sound = self.fresh_tasks > 0 || !self.returned.is_empty();
        is_sound || (which == Which::All && self.suspects.is_some())
    }

    /// Bytes taken from the allocator beyond the struct itself, approximately.
    pub fn memory(&self) -> usize {
        let suspects = self.suspects.as_ref().map_or(0, |suspects| suspects.0.len());
        self.fresh.memory() + (self.returned.len() + suspects) * 24
    }

    /// Adds a task that was just pushed; order numbers only grow. `extend` is true if no other lane got a fresh task
    /// since the last one of this lane, so the last run can be extended.
    pub fn push_fresh(&mut self, order: Order, extend: bool) {
        self.fresh.append(order, extend);
        self.fresh_tasks += 1;
    }

    /// Removes a fresh task that is touched or removed. The log must still list it as fresh: it decides what a run
    /// covers.
    pub fn take_fresh(&mut self, order: Order, position: Position, log: &Log) {
        debug_assert!(
            self.fresh_tasks > 0 && self.fresh.head.is_some_and(|head| head.start <= order),
            "it is in a run"
        );
        self.fresh_tasks = self.fresh_tasks.saturating_sub(1);
        if self.fresh_tasks == 0 {
            self.fresh = Runs::default();
        } else if self.fresh.head.is_some_and(|head| head.start == order) {
            self.fresh.advance(order.next());
            while let Some(head) = self.fresh.head {
                if head.start == order.next() && log.fresh_after(position, head.end).is_some() {
                    break;
                }
                let first = log.first_fresh_in(head.start, head.end);
                self.fresh.advance(first.unwrap_or(head.end));
                if first.is_some() {
                    break;
                }
                rare!("a run ends without another fresh task");
            }
        }
        debug_assert!(
            self.fresh.head.is_some() == (self.fresh_tasks > 0),
            "runs end with the last fresh task"
        );
    }

    /// Adds a task that came back; false if another task has this rank.
    pub fn put_returned(&mut self, rank: Rank, order: Order, is_suspect: bool) -> bool {
        let suspects = self.suspects.as_ref();
        let is_taken = self.returned.contains_key(&rank) || suspects.is_some_and(|s| s.0.contains_key(&rank));
        match is_suspect {
            _ if is_taken => rare!("a task comes back to a rank that is taken"),
            true => _ = self.suspects.get_or_insert_default().0.insert(rank, order),
            false => _ = self.returned.insert(rank, order),
        }
        !is_taken
    }

    /// Removes a task that had come back.
    pub fn take_returned(&mut self, rank: Rank, is_suspect: bool) {
        if !is_suspect {
            let taken = self.returned.remove(&rank);
            debug_assert!(taken.is_some(), "it has its turn");
        } else if let Some(suspects) = &mut self.suspects {
            suspects.0.remove(&rank);
            self.suspects.take_if(|suspects| suspects.0.is_empty());
        }
    }

    /// The tasks in claim order from the rank `from` on, each with its rank.
    pub fn in_order<'a>(
        &'a self,
        log: &'a Log,
        mut from: Rank,
        which: Which,
    ) -> impl Iterator<Item = (Rank, Position)> + 'a {
        // The first tasks are mostly fresh and one after the other in a page. Then there is nothing to search and to
        // compare.
        let is_fresh = self.returned.is_empty() && (self.suspects.is_none() || which == Which::Sound);
        let first = self.fresh.head.filter(|head| is_fresh && from <= head.start.rank());
        let mut near = first.map(|head| (head, None));
        let mut others = None;
        std::iter::from_fn(move || {
            if let Some((head, before)) = near {
                let position = match before {
                    None => log.locate(head.start),
                    Some(before) => log.fresh_after(before, head.end),
                };
                near = position.map(|position| (head, Some(position)));
                if let Some(position) = position {
                    let rank = log.order(position).rank();
                    from = rank.next();
                    return Some((rank, position));
                }
            }
            others.get_or_insert_with(|| self.merged(log, from, which)).next()
        })
    }

    /// The same, for any tasks.
    fn merged<'a>(
        &'a self,
        log: &'a Log,
        from: Rank,
        which: Which,
    ) -> impl Iterator<Item = (Rank, Position)> + 'a {
        let suspects = self.suspects.iter().filter(move |_| which == Which::All);
        let mut suspects = suspects.flat_map(move |suspects| suspects.0.range(from..)).peekable();
        let fresh = self.fresh.iter().filter(move |run| run.end > from.order());
        let mut fresh =
            fresh.flat_map(move |run| log.fresh_in(run.start.max(from.order()), run.end)).peekable();
        let mut returned = self.returned.range(from..).peekable();
        std::iter::from_fn(move || {
            let first = fresh.peek().map(|&position| log.order(position).rank());
            let back = returned.peek().map(|&(&rank, _)| rank);
            let suspect = suspects.peek().map(|&(&rank, _)| rank);
            let next = first.into_iter().chain(back).chain(suspect).min()?;
            let order = match Some(next) {
                next if next == first => return Some((first?, fresh.next()?)),
                next if next == back => returned.next()?.1,
                _ => suspects.next()?.1,
            };
            Some((next, log.locate(*order)?))
        })
    }

    /// The tasks in the opposite order, from those below the rank `before` on. The tasks that were never touched are
    /// searched in the log, where they can be far apart: a `None` stands for a task in between that is not one of them,
    /// so that the caller can stop there. Tasks of other lanes are not left out.
    pub fn in_reverse<'a>(
        &'a self,
        log: &'a Log,
        before: Rank,
    ) -> impl Iterator<Item = (Rank, Option<Position>)> + 'a {
        let bounds = self.fresh.head.map(|head| head.start).zip(self.fresh.end());
        let (from, end) = bounds.unwrap_or_default();
        let mut fresh = log.tasks_back(from, end.min(before.order())).peekable();
        let mut returned = self.returned.range(..before).rev().peekable();
        let suspects = self.suspects.iter().flat_map(move |suspects| suspects.0.range(..before).rev());
        let mut suspects = suspects.peekable();
        std::iter::from_fn(move || {
            let first = fresh.peek().map(|&position| log.order(position).rank());
            let back = returned.peek().map(|&(&rank, _)| rank);
            let suspect = suspects.peek().map(|&(&rank, _)| rank);
            let next = first.max(back).max(suspect)?;
            // A task that kept its rank has the number of its own place in the log. It comes before that place.
            let order = match Some(next) {
                next if next == back => returned.next()?.1,
                next if next == suspect => suspects.next()?.1,
                _ => {
                    let position = fresh.next()?;
                    return Some((next, Some(position).filter(|&position| log.entry(position).is_none())));
                }
            };
            Some((next, log.locate(*order)))
        })
    }

    /// Whether the lane contains exactly these tasks.
    pub fn validate(&self, tasks: &LaneTasks, log: &Log) -> Result<(), Invalid> {
        let LaneTasks { fresh, returned, suspects } = tasks;
        let runs = self.fresh.iter().flat_map(|run| log.fresh_in(run.start, run.end));
        let covered = runs.map(|position| log.order(position));
        ensure(covered.eq(fresh.iter().copied()), "runs that cover their lane's fresh tasks")?;
        let head = self.fresh.head.map(|head| head.start);
        ensure(head == fresh.first().copied(), "runs that begin with a fresh task")?;
        ensure(self.fresh_tasks == fresh.len() as u64, "a correct count of fresh tasks")?;
        let back = self.returned.iter().map(|(rank, order)| (*rank, *order));
        ensure(back.eq(returned.iter().copied()), "returned tasks by rank")?;
        let stored = self.suspects.iter().flat_map(|suspects| &suspects.0);
        let stored = stored.map(|(rank, order)| (*rank, *order));
        ensure(stored.eq(suspects.iter().copied()), "suspects by rank")?;
        ensure(self.suspects.is_some() != suspects.is_empty(), "no empty table of suspects")
    }
}
