//! Lists of tasks, a bounded number per call.

use taskslot_edges::{edge, rare};

use crate::glob::Glob;
use crate::numbers::{GroupNumber, Order, Rank};
use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::store::lane::Which;
use crate::store::level::Level;
use crate::store::log::Position;
use crate::store::record::Record;
use crate::task::{Headers, TaskId, TaskState};
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
    pub(super) fn is_start(self) -> bool {
        self == Cursor::default()
    }

    /// The cursor of a task in a list ordered by instants. Instants are shifted by 1, so that none is the start.
    pub(super) fn at(at: Millis, order: Order) -> Cursor {
        Cursor(at.0.saturating_add(1), order.0)
    }

    /// The instant and order number of such a cursor; `None` at the start.
    pub(super) fn instant(self) -> Option<(Millis, Order)> {
        (!self.is_start()).then_some((Millis(self.0.saturating_sub(1)), Order(self.1)))
    }

    /// The cursor of a ready task. Priorities are counted down from 127, so that cursors ascend.
    pub(super) fn ready(priority: i8, rank: Rank) -> Cursor {
        Cursor((128 - i64::from(priority)).unsigned_abs(), rank.0)
    }

    /// The priority in the cursor of a ready task.
    pub(super) fn priority(self) -> i8 {
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
pub const LIST_LOOKED_AT: usize = edge(10_000, 32);
/// The most bytes that one call compares with a pattern of up to 63 bytes, about a millisecond; of a longer pattern
/// fewer. The task that reaches it is still compared: see [`crate::COMPARED_MAX_BYTES`].
const LIST_COMPARED: usize = edge(256 << 10, 256);

/// Which tasks are listed, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// The state of the tasks.
    pub state: TaskState,
    /// Where to continue.
    pub cursor: Cursor,
    /// How much one call returns.
    pub limit: Limit,
    /// Only the leases of this worker.
    pub worker: Option<&'a [u8]>,
    /// Only tasks of this group.
    pub group: Option<&'a [u8]>,
    /// Whether the order is reversed. A cursor continues in the order in which it was given.
    pub is_reversed: bool,
    /// Only tasks with a text that matches a pattern.
    pub pattern: Option<Pattern<'a>>,
}

/// A pattern for a text of a task.
#[derive(Debug, Clone, Copy)]
pub enum Pattern<'a> {
    /// For the payload.
    Payload(&'a Glob),
    /// For the value of the header with this name. A task without that header doesn't match.
    Header(&'a [u8], &'a Glob),
}

impl Pattern<'_> {
    fn matches(self, record: &Record<'_>, work: &mut usize) -> bool {
        match self {
            Pattern::Payload(glob) => glob.matches(record.payload, work),
            Pattern::Header(_, _) if record.is_plain() => false,
            Pattern::Header(name, glob) => {
                let headers = record.options().headers;
                *work += headers.len();
                let pairs = Headers(headers).pairs();
                pairs.into_iter().any(|(known, value)| known == name && glob.matches(value, work))
            }
        }
    }
}

/// A task on the way through a list, with its own cursor; `None` for one that only has been looked at.
pub(super) type Listed<'a> = (Cursor, Option<Found<'a>>);

impl State {
    /// Lists tasks of a state after `cursor`, within `limit`: [`State::list_as`] without its other choices.
    pub fn list(
        &self,
        now: &Now,
        state: TaskState,
        cursor: Cursor,
        limit: impl Into<Limit>,
        worker: Option<&[u8]>,
        group: Option<&[u8]>,
    ) -> (Cursor, Vec<TaskView<'_>>) {
        let limit = limit.into();
        self.list_as(now, &Listing { state, cursor, limit, worker, group, is_reversed: false, pattern: None })
    }

    /// Lists tasks. Returns the cursor to continue with, and the tasks.
    ///
    /// Ready tasks are listed in the order of claims, delayed ones by due time, held and leased ones by id, dead and done ones
    /// by the time they became so. If groups take turns, the ready tasks of a priority are listed by id, unless one
    /// group is asked for.
    ///
    /// A call can return fewer tasks than asked for, or none, before the end, because it examines a bounded number of
    /// tasks, and compares a bounded number of bytes with a pattern.
    pub fn list_as(&self, now: &Now, listing: &Listing<'_>) -> (Cursor, Vec<TaskView<'_>>) {
        let Listing { cursor, limit, pattern, .. } = *listing;
        let (mut shown, mut bytes, mut before) = (Vec::new(), 0u64, cursor);
        let group = match listing.group.map(|name| self.groups.find(name)) {
            Some(None) => return (Cursor::default(), shown),
            known => known.flatten(),
        };
        let mut compared = 0;
        for (looked_at, (at, found)) in self.in_order_of(now, listing, group).enumerate() {
            let wanted = found.filter(|found| self.is_listed(listing, group, at, found));
            let matching = wanted
                .filter(|found| pattern.is_none_or(|pattern| pattern.matches(&found.record, &mut compared)));
            if let Some(found) = matching {
                let task = self.view(now, found);
                bytes += task.shown_bytes(limit.with_payload);
                if bytes > limit.bytes && !shown.is_empty() {
                    rare!("the next task does not fit into a list");
                    return (before, shown);
                }
                shown.push(task);
            }
            let is_enough = looked_at + 1 >= LIST_LOOKED_AT || compared >= LIST_COMPARED;
            if compared >= LIST_COMPARED {
                rare!("a list has compared enough bytes");
            } else if is_enough {
                rare!("a list has examined enough tasks");
            }
            if shown.len() >= limit.count || is_enough {
                return (at, shown);
            }
            before = at;
        }
        (Cursor::default(), shown)
    }

    /// Whether a task is one of those to list, whatever its texts are.
    fn is_listed(
        &self,
        listing: &Listing<'_>,
        group: Option<GroupNumber>,
        at: Cursor,
        found: &Found<'_>,
    ) -> bool {
        let is_wanted = match (listing.worker, &found.entry().phase) {
            (None, phase) => phase.state() == listing.state,
            (Some(worker), Phase::Leased { worker: number, .. }) => self.workers.name(*number) == worker,
            _ => false,
        };
        // A search by id also visits tasks of other priorities.
        is_wanted
            && group.is_none_or(|group| found.record.group() == group)
            && at.is_for(listing.state, found.record.options().priority)
    }

    fn in_order_of<'a>(
        &'a self,
        now: &Now,
        listing: &Listing<'_>,
        group: Option<GroupNumber>,
    ) -> Box<dyn Iterator<Item = Listed<'a>> + 'a> {
        let &Listing { state, cursor, is_reversed, .. } = listing;
        if is_reversed {
            return self.in_reverse_of(now, state, cursor, group);
        }
        self.forward(now, state, cursor, group)
    }

    /// The tasks of a state after a cursor, each with its own cursor. For leased tasks: more than these, by id, to be
    /// filtered.
    fn forward<'a>(
        &'a self,
        now: &Now,
        state: TaskState,
        cursor: Cursor,
        group: Option<GroupNumber>,
    ) -> Box<dyn Iterator<Item = Listed<'a>> + 'a> {
        let after = cursor.instant();
        let found = |(at, order)| (Cursor::at(at, order), self.locate(order));
        match state {
            TaskState::Ready => Box::new(self.ready_after(cursor, group)),
            TaskState::Delayed => Box::new(self.delayed.in_order(*now, after).map(found)),
            TaskState::Dead => {
                let from = after.map_or((Millis(0), Order(0)), |(at, order)| (at, order.next()));
                Box::new(self.dead.range(from..).copied().map(found))
            }
            TaskState::Done => Box::new(self.done.in_order(after).map(found)),
            TaskState::Held => {
                let from = after.map_or(Order(0), |(_, order)| order.next());
                let held = self.held.range(from..);
                Box::new(held.map(|&order| (Cursor(1, order.0), self.locate(order))))
            }
            TaskState::Leased => {
                let from = after.map_or(Order(0), |(_, order)| order.next());
                Box::new(self.log.leases_from(from).map(|found| self.lease_listed(found)))
            }
        }
    }

    /// A task that may be leased, or a page without leases, as an item of a list.
    pub(super) fn lease_listed(&self, (order, position): (Order, Option<Position>)) -> Listed<'_> {
        (Cursor(1, order.0), position.and_then(|position| self.at(position)))
    }

    /// Ready tasks after a cursor, level by level.
    fn ready_after(&self, cursor: Cursor, group: Option<GroupNumber>) -> impl Iterator<Item = Listed<'_>> {
        let first = if cursor.is_start() { i8::MAX } else { cursor.priority() };
        let levels = self.lanes.levels().iter().filter(move |level| level.priority <= first);
        levels.flat_map(move |level| {
            let is_within = !cursor.is_start() && level.priority == first;
            let from = if is_within { Rank(cursor.1).next() } else { Rank::FIRST };
            let tasks = self.in_level(level, from, group);
            let at = move |rank| Cursor::ready(level.priority, rank);
            tasks.map(move |(rank, position)| (at(rank), self.at(position)))
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

    /// When the next delayed task becomes ready; `None` if there is none.
    pub fn next_delayed(&self, now: &Now) -> Option<Millis> {
        self.delayed.first_due(now)
    }
}
