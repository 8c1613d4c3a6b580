//! Lists of tasks in the opposite order.

use crate::numbers::{GroupNumber, Order, Rank};
use crate::state::State;
use crate::store::level::Level;
use crate::store::log::Position;
use crate::task::TaskState;
use crate::time::{Millis, Now};
use crate::view::list::{Cursor, Listed};

impl State {
    /// The tasks of a state before a cursor, the last first. For leased tasks: more than these, by id, to be filtered.
    pub(super) fn in_reverse_of<'a>(
        &'a self,
        now: &Now,
        state: TaskState,
        cursor: Cursor,
        group: Option<GroupNumber>,
    ) -> Box<dyn Iterator<Item = Listed<'a>> + 'a> {
        let before = cursor.instant();
        let found = |(at, order)| (Cursor::at(at, order), self.locate(order));
        match state {
            TaskState::Ready => Box::new(self.ready_before(cursor, group)),
            TaskState::Delayed => Box::new(self.delayed.in_reverse(*now, before).map(found)),
            TaskState::Dead => {
                let end = before.unwrap_or((Millis(u64::MAX), Order(u64::MAX)));
                Box::new(self.dead.range(..end).rev().copied().map(found))
            }
            TaskState::Done => Box::new(self.done.in_reverse(before).map(found)),
            TaskState::Held => {
                let end = before.map_or(Order(u64::MAX), |(_, order)| order);
                let held = self.held.range(..end).rev();
                Box::new(held.map(|&order| (Cursor(1, order.0), self.locate(order))))
            }
            TaskState::Leased => {
                let end = before.map_or(Order(u64::MAX), |(_, order)| order);
                Box::new(self.log.leases_back(end).map(|found| self.lease_listed(found)))
            }
        }
    }

    /// Ready tasks before a cursor, level by level, the lowest priority first.
    fn ready_before(&self, cursor: Cursor, group: Option<GroupNumber>) -> impl Iterator<Item = Listed<'_>> {
        let first = if cursor.is_start() { i8::MIN } else { cursor.priority() };
        let levels = self.lanes.levels().iter().rev().filter(move |level| level.priority >= first);
        levels.flat_map(move |level| {
            let is_within = !cursor.is_start() && level.priority == first;
            let before = if is_within { Rank(cursor.1) } else { Rank(u64::MAX) };
            let tasks = self.back_in_level(level, before, group);
            tasks.map(move |(rank, position)| {
                (Cursor::ready(level.priority, rank), position.and_then(|position| self.at(position)))
            })
        })
    }

    /// The tasks of a level below a rank, the last first: all of them, or those of one group. If groups take turns and
    /// none is named, all tasks before that by id, including those of other levels and states.
    fn back_in_level<'a>(
        &'a self,
        level: &'a Level,
        before: Rank,
        group: Option<GroupNumber>,
    ) -> impl Iterator<Item = (Rank, Option<Position>)> + 'a {
        let is_by_id = group.is_none() && level.has_groups();
        let lane = if is_by_id { None } else { level.lane(group.unwrap_or_default()) };
        let in_turn = lane.into_iter().flat_map(move |lane| lane.in_reverse(&self.log, before));
        let by_id = is_by_id.then(|| self.log.tasks_back(Order(0), before.order())).into_iter().flatten();
        in_turn.chain(by_id.map(|position| (self.log.order(position).rank(), Some(position))))
    }
}
