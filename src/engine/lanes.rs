//! The order of ready tasks: a lane per priority, and in a lane first in, first out by rank.
//!
//! A lane has two parts. Tasks that were never touched lie in `fresh` as runs of order numbers: their rank is
//! their number, so a plain queue is one run and pays nothing per task. A run may cover numbers that are not
//! (or no longer) fresh tasks, but never a fresh task of another lane; the log tells which is which. Tasks that
//! came back lie in `returned`, by rank. The first number of a lane's first run is always a fresh task, so that
//! nobody walks twice over numbers whose tasks are gone.

use std::collections::{BTreeMap, VecDeque};

use crate::apply::{Mismatch, ensure};
use crate::entry::Order;
use crate::log::{Log, Place};
use crate::page::PAGE_SLOTS;
use crate::varint;

/// Numbers from `start` up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: Order,
    end: Order,
}

/// A queue of runs: the first and the last as they are, those between as varints (gap, length).
#[derive(Debug, Clone, Default)]
struct Runs {
    head: Option<Run>,
    middle: VecDeque<u8>,
    /// Where the last run of the middle ends.
    middle_end: Order,
    tail: Option<Run>,
}

impl Runs {
    /// Appends a number; `extend` says that all numbers since the last run's end may be covered too.
    fn append(&mut self, order: Order, extend: bool) {
        let last = self.tail.as_mut().or(self.head.as_mut());
        match last {
            // A run that covered a long gap would be slow to walk.
            Some(run) if extend && order.0 - run.end.0 <= PAGE_SLOTS => run.end = order.next(),
            Some(_) => {
                if let Some(run) = self.tail {
                    self.code(run);
                }
                self.tail = Some(Run { start: order, end: order.next() });
            }
            None => self.head = Some(Run { start: order, end: order.next() }),
        }
    }

    fn code(&mut self, run: Run) {
        let base = if self.middle.is_empty() {
            self.head.map_or(Order(0), |head| head.end)
        } else {
            self.middle_end
        };
        let mut coded = Vec::with_capacity(4);
        varint::put(&mut coded, run.start.0.saturating_sub(base.0));
        varint::put(&mut coded, run.end.0 - run.start.0);
        self.middle.extend(coded);
        self.middle_end = run.end;
    }

    /// Drops the numbers below `start` from the front.
    fn advance(&mut self, start: Order) {
        while let Some(head) = self.head.as_mut() {
            if start < head.end {
                head.start = head.start.max(start);
                return;
            }
            let mut bytes = self.middle.iter();
            let next = decode(&mut bytes, head.end);
            let left = bytes.len();
            self.middle.drain(..self.middle.len() - left);
            self.head = next.or_else(|| self.tail.take());
        }
    }

    /// The runs, first to last.
    fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        let mut bytes = self.middle.iter();
        let mut base = self.head.map_or(Order(0), |head| head.end);
        let middle = std::iter::from_fn(move || {
            let run = decode(&mut bytes, base)?;
            base = run.end;
            Some(run)
        });
        self.head.into_iter().chain(middle).chain(self.tail)
    }
}

fn decode<'a>(bytes: &mut impl Iterator<Item = &'a u8>, base: Order) -> Option<Run> {
    let start = Order(base.0 + varint::get_from(bytes)?);
    Some(Run { start, end: Order(start.0 + varint::get_from(bytes)?) })
}

#[derive(Debug, Clone)]
struct Lane {
    priority: i8,
    fresh: Runs,
    fresh_tasks: u64,
    returned: BTreeMap<Order, Order>,
}

/// Where a ready task stands: what a list remembers to go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub priority: i8,
    pub rank: Order,
}

/// All lanes, the highest priority first. A lane that was used stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The lane of the last fresh task: its last run may be extended over what came between.
    last: Option<i8>,
    ready: u64,
}

impl Lanes {
    /// How many tasks are ready.
    pub fn ready(&self) -> u64 {
        self.ready
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        let lane = |lane: &Lane| lane.fresh.middle.capacity() + lane.returned.len() * 24;
        self.lanes.capacity() * size_of::<Lane>() + self.lanes.iter().map(lane).sum::<usize>()
    }

    fn lane(&mut self, priority: i8) -> Option<&mut Lane> {
        let at = match self.lanes.binary_search_by(|lane| priority.cmp(&lane.priority)) {
            Ok(at) => at,
            Err(at) => {
                let fresh = Runs::default();
                self.lanes.insert(at, Lane { priority, fresh, fresh_tasks: 0, returned: BTreeMap::new() });
                at
            }
        };
        self.lanes.get_mut(at)
    }

    /// A task that was just pushed is ready. Numbers only grow.
    pub fn push_fresh(&mut self, priority: i8, order: Order) {
        let extend = self.last == Some(priority);
        if let Some(lane) = self.lane(priority) {
            lane.fresh.append(order, extend);
            lane.fresh_tasks += 1;
        }
        self.last = Some(priority);
        self.ready += 1;
    }

    /// A fresh task is touched or gone: it must still be in the log as fresh, since the log says what a run covers.
    pub fn take_fresh(&mut self, priority: i8, order: Order, log: &Log) {
        let Some(lane) = self.lane(priority) else { return };
        lane.fresh_tasks -= 1;
        if lane.fresh_tasks == 0 {
            lane.fresh = Runs::default();
        } else if lane.fresh.head.is_some_and(|head| head.start == order) {
            lane.fresh.advance(order.next());
            while let Some(head) = lane.fresh.head {
                let first = log.first_fresh_in(head.start, head.end);
                lane.fresh.advance(first.unwrap_or(head.end));
                if first.is_some() {
                    break;
                }
            }
        }
        self.ready -= 1;
    }

    /// A task came back; false where another holds its turn.
    pub fn put_returned(&mut self, turn: Turn, order: Order) -> bool {
        let free = self.lane(turn.priority).is_some_and(|lane| {
            let held = lane.returned.contains_key(&turn.rank);
            if !held {
                lane.returned.insert(turn.rank, order);
            }
            !held
        });
        self.ready += u64::from(free);
        free
    }

    /// A task that had come back leaves.
    pub fn take_returned(&mut self, turn: Turn) {
        let was = self.lane(turn.priority).is_some_and(|lane| lane.returned.remove(&turn.rank).is_some());
        self.ready -= u64::from(was);
    }

    /// Ready tasks in the order of claims, after the given turn or from the first.
    pub fn in_order<'a>(
        &'a self,
        log: &'a Log,
        after: Option<Turn>,
    ) -> impl Iterator<Item = (Turn, Place)> + 'a {
        let lanes = self.lanes.iter().filter(|lane| lane.fresh_tasks > 0 || !lane.returned.is_empty());
        lanes.filter(move |lane| after.is_none_or(|after| lane.priority <= after.priority)).flat_map(
            move |lane| {
                let from = match after {
                    Some(after) if after.priority == lane.priority => after.rank.next(),
                    _ => Order(0),
                };
                lane.in_order(log, from)
            },
        )
    }

    /// The first task of each lane that has any.
    pub fn heads<'a>(&'a self, log: &'a Log) -> impl Iterator<Item = Place> + 'a {
        self.lanes.iter().filter_map(move |lane| lane.in_order(log, Order(0)).next()).map(|(_, place)| place)
    }

    /// Whether the lanes hold just the tasks that the log says are ready.
    pub fn validate(&self, fresh: &[Turn], returned: &[(Turn, Order)], log: &Log) -> Result<(), Mismatch> {
        for lane in &self.lanes {
            let mine = fresh.iter().filter(|turn| turn.priority == lane.priority).map(|turn| turn.rank);
            let runs = lane.fresh.iter().flat_map(|run| log.fresh_in(run.start, run.end));
            ensure(
                runs.map(|place| log.order(place)).eq(mine.clone()),
                "runs cover their lane's fresh tasks",
            )?;
            ensure(
                lane.fresh.head.map(|head| head.start) == mine.clone().next(),
                "a run begins with a fresh task",
            )?;
            ensure(lane.fresh_tasks == mine.count() as u64, "fresh tasks are counted")?;
            let back = returned.iter().filter(|(turn, _)| turn.priority == lane.priority);
            let mut back: Vec<_> = back.map(|(turn, order)| (turn.rank, *order)).collect();
            back.sort_unstable();
            ensure(lane.returned.iter().map(|(r, o)| (*r, *o)).eq(back), "returned tasks have their turns")?;
        }
        ensure(self.ready == (fresh.len() + returned.len()) as u64, "ready tasks are counted")
    }
}

impl Lane {
    fn in_order<'a>(&'a self, log: &'a Log, from: Order) -> impl Iterator<Item = (Turn, Place)> + 'a {
        let turn = move |rank| Turn { priority: self.priority, rank };
        let fresh = self.fresh.iter().filter(move |run| run.end > from);
        let mut fresh = fresh.flat_map(move |run| log.fresh_in(run.start.max(from), run.end)).peekable();
        let mut returned = self.returned.range(from..).peekable();
        std::iter::from_fn(move || {
            let first = fresh.peek().map(|&place| log.order(place));
            match returned.peek() {
                Some(&(&rank, &order)) if first.is_none_or(|first| rank < first) => {
                    returned.next();
                    Some((turn(rank), log.locate(order)?))
                }
                _ => Some((turn(first?), fresh.next()?)),
            }
        })
    }
}
