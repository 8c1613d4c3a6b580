//! Lists of tasks, a bounded number per call.

use crate::numbers::{GroupNumber, Order, Rank};
use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::store::lane::Which;
use crate::store::level::Level;
use crate::store::log::Position;
use crate::task::{TaskId, TaskState};
use crate::time::{Millis, Now};
use crate::view::task::TaskView;

/// The position where a list continues. (0, 0) is the start, and also the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub u64, pub u64);

impl Cursor {
    /// Parses a displayed cursor; `None` if it isn't one.
    pub fn parse(text: &[u8]) -> Option<Cursor> {
        if text == b"0" {
            return Some(Cursor::default());
        }
        let TaskId { ms, seq } = TaskId::parse(text)?;
        Some(Cursor(ms, seq))
    }
}

impl Cursor {
    /// Whether this is the start of a list.
    fn is_start(self) -> bool {
        self == Cursor::default()
    }

    /// The cursor of a task in a list ordered by instants. Instants are shifted by 1, so that none is the start.
    fn at(at: Millis, order: Order) -> Cursor {
        Cursor(at.0.saturating_add(1), order.0)
    }

    /// The instant and order number of such a cursor; `None` at the start.
    fn instant(self) -> Option<(Millis, Order)> {
        (!self.is_start()).then_some((Millis(self.0.saturating_sub(1)), Order(self.1)))
    }

    /// The cursor of a ready task. Priorities are counted down from 127, so that cursors ascend.
    fn ready(priority: i8, rank: Rank) -> Cursor {
        Cursor((128 - i64::from(priority)).unsigned_abs(), rank.0)
    }

    /// The priority in the cursor of a ready task.
    fn priority(self) -> i8 {
        i8::try_from(128 - i64::try_from(self.0.clamp(1, 256)).unwrap_or(1)).unwrap_or(i8::MIN)
    }

    /// Whether a cursor of a list of `state` can be that of a task with this priority.
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

/// Bounds for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The most tasks to return.
    pub count: usize,
    /// The most bytes to show, approximately. The first task is returned whatever its size.
    pub bytes: u64,
    /// Whether payloads and results are shown, and count.
    pub with_payload: bool,
}

impl From<usize> for Limit {
    /// Bounds the number of tasks only.
    fn from(count: usize) -> Limit {
        Limit { count, bytes: u64::MAX, with_payload: false }
    }
}

/// The most tasks that one call examines, so that a filter that matches few does not block the server.
const LIST_LOOKED_AT: usize = 10_000;

impl State {
    /// Lists tasks of a state after `cursor`, within `limit`. Returns the cursor to continue with, and the tasks.
    ///
    /// Ready tasks are listed in the order of claims, delayed ones by due time, held and leased ones by id, dead and done ones
    /// by the time they became so. If groups take turns, the ready tasks of a priority are listed by id, unless `group`
    /// asks for one group. With `worker`, only the leases of that worker are listed.
    ///
    /// A call can return fewer tasks than asked for, or none, before the end, because it examines a bounded number of
    /// tasks.
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
            let is_wanted = is_wanted && group.is_none_or(|group| found.record.group() == group);
            // A search by id also visits tasks of other priorities.
            let is_wanted = is_wanted && at.is_for(state, found.record.options().priority);
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

    /// The tasks of a state after a cursor, each with its own cursor. For leased tasks: all tasks by id, to be
    /// filtered.
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
            TaskState::Held => {
                let from = after.map_or(Order(0), |(_, order)| order.next());
                let held = self.held.range(from..).filter_map(|&order| self.locate(order));
                Box::new(held.map(|found| (Cursor(1, found.order.0), found)))
            }
            TaskState::Leased => {
                let from = after.map_or(Order(0), |(_, order)| order.next());
                let all = self.log.tasks_from(from).filter_map(|position| self.at(position));
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
            tasks.filter_map(move |(rank, position)| Some((at(rank), self.at(position)?)))
        })
    }

    /// The tasks of a level from a rank on, in turn: all of them, or those of one group. If groups take turns and none
    /// is named, all tasks from there on by id, including those of other levels and states.
    fn in_level<'a>(
        &'a self,
        level: &'a Level,
        from: Rank,
        group: Option<GroupNumber>,
    ) -> impl Iterator<Item = (Rank, Position)> + 'a {
        let is_by_id = group.is_none() && level.has_groups();
        let lane = if is_by_id { None } else { level.lane(group.unwrap_or_default()) };
        let in_turn = lane.into_iter().flat_map(move |lane| lane.in_order(&self.log, from, Which::All));
        let by_id = is_by_id.then(|| self.log.tasks_from(from.order())).into_iter().flatten();
        in_turn.chain(by_id.map(|position| (self.log.order(position).rank(), position)))
    }

    /// Since when the task that waits longest has been ready. Only the heads of a bounded number of lanes are examined.
    pub fn oldest_ready(&self) -> Option<Millis> {
        let since = |position| match self.at(position)?.entry().phase {
            Phase::Ready { since } => Some(since),
            _ => None,
        };
        let lanes = self.lanes.levels().iter().flat_map(|level| level.lanes());
        let heads = lanes
            .take(LIST_LOOKED_AT)
            .filter_map(|(_, lane)| lane.in_order(&self.log, Rank::FIRST, Which::All).next());
        heads.filter_map(|(_, position)| since(position)).min()
    }

    /// At most `count` tasks of a state, in the order in which PURGE removes them. Leased tasks are never returned.
    pub fn some(&self, now: &Now, state: TaskState, count: usize) -> Vec<TaskId> {
        let id = |position| Some(self.log.record(position)?.id);
        let by_order = |orders: &mut dyn Iterator<Item = Order>| -> Vec<TaskId> {
            orders.take(count).filter_map(|order| id(self.log.locate(order)?)).collect()
        };
        match state {
            TaskState::Ready => {
                let lanes = self.lanes.levels().iter().flat_map(|level| level.lanes());
                let positions = lanes.flat_map(|(_, lane)| lane.in_order(&self.log, Rank::FIRST, Which::All));
                positions.take(count).filter_map(|(_, position)| id(position)).collect()
            }
            TaskState::Delayed => by_order(&mut self.delayed.in_order(*now, None).map(|(_, order)| order)),
            TaskState::Held => by_order(&mut self.held.iter().copied()),
            TaskState::Dead => by_order(&mut self.dead.iter().map(|&(_, order)| order)),
            TaskState::Done => by_order(&mut self.done.in_order(None).map(|(_, order)| order)),
            TaskState::Leased => Vec::new(),
        }
    }

    /// When the next delayed task becomes ready; `None` if there is none.
    pub fn next_delayed(&self, now: &Now) -> Option<Millis> {
        self.delayed.first_due(now)
    }
}
