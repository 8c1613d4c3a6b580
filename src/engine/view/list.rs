//! Lists of tasks, a bounded number at a time.

use crate::numbers::{GroupNumber, Order, Rank};
use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::store::lane::Which;
use crate::store::level::Level;
use crate::store::log::Place;
use crate::task::{TaskId, TaskState};
use crate::time::{Millis, Now};
use crate::view::task::TaskView;

/// How far a list came: what the next call goes on after. (0, 0) is the start and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub u64, pub u64);

impl Cursor {
    /// Reads a cursor as it is displayed; `None` where it isn't one.
    pub fn parse(text: &[u8]) -> Option<Cursor> {
        if text == b"0" {
            return Some(Cursor::default());
        }
        let TaskId { ms, seq } = TaskId::parse(text)?;
        Some(Cursor(ms, seq))
    }
}

impl Cursor {
    /// Whether it is the start of a list.
    fn is_start(self) -> bool {
        self == Cursor::default()
    }

    /// Of a task in a list by instants. These count from 1, so that no task stands at the start.
    fn at(at: Millis, order: Order) -> Cursor {
        Cursor(at.0.saturating_add(1), order.0)
    }

    /// The same back; `None` at the start.
    fn instant(self) -> Option<(Millis, Order)> {
        (!self.is_start()).then_some((Millis(self.0.saturating_sub(1)), Order(self.1)))
    }

    /// A ready task's: priorities count down from 127, so that a cursor grows.
    fn ready(priority: i8, rank: Rank) -> Cursor {
        Cursor((128 - i64::from(priority)).unsigned_abs(), rank.0)
    }

    /// The priority in a ready task's cursor.
    fn priority(self) -> i8 {
        i8::try_from(128 - i64::try_from(self.0.clamp(1, 256)).unwrap_or(1)).unwrap_or(i8::MIN)
    }

    /// Whether a task of this priority can stand here in a list of a state.
    fn is_for(self, state: TaskState, priority: i8) -> bool {
        state != TaskState::Ready || self.priority() == priority
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cursor(0, 0) => f.write_str("0"),
            Cursor(major, minor) => write!(f, "{major}-{minor}"),
        }
    }
}

/// How much one call lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The most tasks.
    pub count: usize,
    /// The most bytes of what is shown of them, but for the first, about.
    pub bytes: u64,
    /// Whether payloads and results are shown.
    pub with_payload: bool,
}

impl From<usize> for Limit {
    /// So many tasks, whatever they hold.
    fn from(count: usize) -> Limit {
        Limit { count, bytes: u64::MAX, with_payload: false }
    }
}

/// A task in a list looks at this many others at most, so that a filter that fits few doesn't hold the server.
const LIST_LOOKED_AT: usize = 10_000;

impl State {
    /// At most as many tasks of a state after `cursor` as `limit` says, and the cursor to go on with: ready ones in the order of
    /// claims, delayed by due time, leased by id, dead and done by the time they became so. Where groups take turns, ready ones
    /// of a priority come by id, unless `group` asks for the tasks of one group. With `worker`, only the leases of that
    /// worker. A call may return fewer, or none, before the end: it looks at a bounded number of tasks.
    pub fn list(
        &self,
        now: &Now,
        state: TaskState,
        cursor: Cursor,
        limit: impl Into<Limit>,
        worker: Option<&[u8]>,
        group: Option<&[u8]>,
    ) -> (Cursor, Vec<TaskView<'_>>) {
        let (mut shown, mut bytes, mut before) = (Vec::new(), 0u64, cursor);
        let limit = limit.into();
        let group = match group.map(|name| self.groups.find(name)) {
            Some(None) => return (Cursor::default(), shown),
            known => known.flatten(),
        };
        for (looked_at, (at, found)) in self.in_order_of(now, state, cursor, group).enumerate() {
            let is_wanted = match (worker, &found.entry().phase) {
                (None, phase) => phase.state() == state,
                (Some(worker), Phase::Leased { worker: number, .. }) => self.workers.name(*number) == worker,
                _ => false,
            };
            let is_wanted = is_wanted && group.is_none_or(|group| found.record.group == group);
            // Where tasks are looked for by id, those of other priorities come along.
            let is_wanted = is_wanted && at.is_for(state, found.record.options.priority);
            if is_wanted {
                let task = self.view(now, found);
                bytes += task.shown_bytes(limit.with_payload);
                if bytes > limit.bytes && !shown.is_empty() {
                    return (before, shown);
                }
                shown.push(task);
            }
            if shown.len() >= limit.count || looked_at + 1 >= LIST_LOOKED_AT {
                return (at, shown);
            }
            before = at;
        }
        (Cursor::default(), shown)
    }

    /// The tasks of a state after a cursor, each with the cursor that stands for it; of the leased, all tasks by id.
    fn in_order_of<'a>(
        &'a self,
        now: &Now,
        state: TaskState,
        cursor: Cursor,
        group: Option<GroupNumber>,
    ) -> Box<dyn Iterator<Item = (Cursor, Found<'a>)> + 'a> {
        let after = cursor.instant();
        let found = |(at, order)| Some((Cursor::at(at, order), self.locate(order)?));
        match state {
            TaskState::Ready => Box::new(self.ready_after(cursor, group)),
            TaskState::Delayed => Box::new(self.delayed.in_order(*now, after).filter_map(found)),
            TaskState::Dead => {
                let from = after.map_or((Millis(0), Order(0)), |(at, order)| (at, order.next()));
                Box::new(self.dead.range(from..).copied().filter_map(found))
            }
            TaskState::Done => Box::new(self.done.in_order(after).filter_map(found)),
            TaskState::Leased => {
                let from = after.map_or(Order(0), |(_, order)| order.next());
                let all = self.log.tasks_from(from).filter_map(|place| self.at(place));
                Box::new(all.map(|found| (Cursor(1, found.order.0), found)))
            }
        }
    }

    /// Ready tasks after a cursor, level by level.
    fn ready_after(
        &self,
        cursor: Cursor,
        group: Option<GroupNumber>,
    ) -> impl Iterator<Item = (Cursor, Found<'_>)> {
        let first = if cursor.is_start() { i8::MAX } else { cursor.priority() };
        let levels = self.lanes.levels().iter().filter(move |level| level.priority <= first);
        levels.flat_map(move |level| {
            let is_within = !cursor.is_start() && level.priority == first;
            let from = if is_within { Rank(cursor.1).next() } else { Rank::FIRST };
            let tasks = self.in_level(level, from, group);
            let at = move |rank| Cursor::ready(level.priority, rank);
            tasks.filter_map(move |(rank, place)| Some((at(rank), self.at(place)?)))
        })
    }

    /// The tasks of a level from a rank on, in turn: all of them or those of a group. Where groups take turns, and none is
    /// named, all tasks from there on by id, those of other levels and states among them.
    fn in_level<'a>(
        &'a self,
        level: &'a Level,
        from: Rank,
        group: Option<GroupNumber>,
    ) -> impl Iterator<Item = (Rank, Place)> + 'a {
        let is_by_id = group.is_none() && level.has_groups();
        let lane = if is_by_id { None } else { level.lane(group.unwrap_or_default()) };
        let in_turn = lane.into_iter().flat_map(move |lane| lane.in_order(&self.log, from, Which::All));
        let by_id = is_by_id.then(|| self.log.tasks_from(from.order())).into_iter().flatten();
        in_turn.chain(by_id.map(|place| (self.log.order(place).rank(), place)))
    }

    /// Since when the task waits that has been ready for the longest, of those at the head of their lanes; of a bounded
    /// number of lanes.
    pub fn oldest_ready(&self) -> Option<Millis> {
        let since = |place| match self.at(place)?.entry().phase {
            Phase::Ready { since } => Some(since),
            _ => None,
        };
        let lanes = self.lanes.levels().iter().flat_map(|level| level.lanes());
        let heads = lanes
            .take(LIST_LOOKED_AT)
            .filter_map(|(_, lane)| lane.in_order(&self.log, Rank::FIRST, Which::All).next());
        heads.filter_map(|(_, place)| since(place)).min()
    }

    /// At most `count` tasks of a state, but for the leased, as PURGE takes them.
    pub fn some(&self, now: &Now, state: TaskState, count: usize) -> Vec<TaskId> {
        let id = |place| Some(self.log.record(place)?.id);
        let by_order = |orders: &mut dyn Iterator<Item = Order>| -> Vec<TaskId> {
            orders.take(count).filter_map(|order| id(self.log.locate(order)?)).collect()
        };
        match state {
            TaskState::Ready => {
                let lanes = self.lanes.levels().iter().flat_map(|level| level.lanes());
                let places = lanes.flat_map(|(_, lane)| lane.in_order(&self.log, Rank::FIRST, Which::All));
                places.take(count).filter_map(|(_, place)| id(place)).collect()
            }
            TaskState::Delayed => by_order(&mut self.delayed.in_order(*now, None).map(|(_, order)| order)),
            TaskState::Dead => by_order(&mut self.dead.iter().map(|&(_, order)| order)),
            TaskState::Done => by_order(&mut self.done.in_order(None).map(|(_, order)| order)),
            TaskState::Leased => Vec::new(),
        }
    }

    /// When the next delayed task becomes ready.
    pub fn next_delayed(&self, now: &Now) -> Option<Millis> {
        self.delayed.first_due(now)
    }
}
