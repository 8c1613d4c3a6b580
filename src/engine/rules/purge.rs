//! Which tasks an administrator removes: those of a state, those that are named, those that are old.

use std::collections::BTreeSet;

use taskslot_edges::{edge, rare};

use crate::event::Event;
use crate::numbers::{GroupNumber, Order, Rank};
use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::store::lane::Which;
use crate::store::searches::{Place, Sought, Stopped};
use crate::task::{TaskId, TaskState};
use crate::time::{Millis, Now};

/// How many tasks one search examines.
pub const LOOKED_AT: usize = edge(10_000, 60);

impl State {
    /// Removes at most `count` tasks of a state, or with `older_ms` those that have been in it for at least so long; a
    /// delayed or held task, since its push. Leased tasks are never removed.
    ///
    /// Of held tasks it removes fewer if they wait for many: see [`crate::WAITS_MAX`].
    ///
    /// Old ready and delayed tasks are searched, a bounded number per call. If the search could not look at all of
    /// them, it also returns where it stopped, for [`crate::Queue::note_search`].
    pub fn purge(
        &self,
        now: &Now,
        state: TaskState,
        older_ms: Option<u64>,
        count: usize,
    ) -> (Option<Event<'static>>, Option<Stopped>) {
        let (ids, stopped) = match older_ms {
            None => (self.first_of(now, state, count), None),
            Some(older_ms) => self.old_of(now, state, older_ms, count),
        };
        (removal(state, ids), stopped)
    }

    /// Removes tasks by their ids, with `older_ms` only those that have been in their state for so long. Leased tasks are
    /// never removed. One event for done tasks, one for the others.
    pub fn purge_ids(&self, now: &Now, ids: &[TaskId], older_ms: Option<u64>) -> Vec<Event<'static>> {
        let (mut done, mut others, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for &id in ids {
            let Some(found) = self.find(id).filter(|_| seen.insert(id)) else { continue };
            if !since(&found).is_some_and(|since| is_old(now, since, older_ms.unwrap_or(0))) {
                continue;
            }
            let is_done = matches!(found.entry().phase, Phase::Done { .. });
            if is_done { done.push(id) } else { others.push(id) }
        }
        removal(TaskState::Done, done).into_iter().chain(removal(TaskState::Ready, others)).collect()
    }

    fn first_of(&self, now: &Now, state: TaskState, count: usize) -> Vec<TaskId> {
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
            TaskState::Held => by_order(&mut self.within_waits(self.held.iter().copied())),
            TaskState::Dead => by_order(&mut self.dead.iter().map(|&(_, order)| order)),
            TaskState::Done => by_order(&mut self.done.in_order(None).map(|(_, order)| order)),
            TaskState::Leased => Vec::new(),
        }
    }

    fn old_of(
        &self,
        now: &Now,
        state: TaskState,
        older_ms: u64,
        count: usize,
    ) -> (Vec<TaskId>, Option<Stopped>) {
        let is_old = |since| is_old(now, since, older_ms);
        let by_age = |ages: &mut dyn Iterator<Item = Place>| -> Vec<TaskId> {
            let old = ages.take_while(|&(at, _)| is_old(at)).take(count);
            old.filter_map(|(_, order)| Some(self.locate(order)?.record.id)).collect()
        };
        match state {
            TaskState::Held => {
                // A task is held from its push on, so they are in order of age.
                let pushed = |order: Order| Some((since(&self.locate(order)?)?, order));
                let held = self.within_waits(self.held.iter().copied());
                (by_age(&mut held.filter_map(pushed)), None)
            }
            TaskState::Dead => (by_age(&mut self.dead.iter().copied()), None),
            TaskState::Done => (by_age(&mut self.done.in_order(None)), None),
            TaskState::Leased => (Vec::new(), None),
            TaskState::Ready | TaskState::Delayed => {
                // No task has been in a state for longer than since its push.
                let from = |after: Option<Place>| {
                    let first = after.map_or(Order(0), |(_, order)| order.next());
                    let pushed = self.log.tasks_from(first).filter_map(|position| self.at(position));
                    let old = pushed.take_while(|found| is_old(Millis(found.record.id.ms)));
                    old.map(|found| ((Millis(0), found.order), found))
                };
                let is_wanted = |found: &Found<'_>| {
                    found.entry().phase.state() == state && since(found).is_some_and(is_old)
                };
                self.search(Sought { state, group: GroupNumber::NONE }, from, is_wanted, count)
            }
        }
    }

    /// Looks for at most `count` tasks, where the same search has stopped before, then from the first on. `from` gives the
    /// tasks behind a place, each with its own. Also returns where it stopped, if that has changed.
    pub(crate) fn search<'a, I: Iterator<Item = (Place, Found<'a>)>>(
        &'a self,
        sought: Sought,
        from: impl Fn(Option<Place>) -> I,
        mut is_wanted: impl FnMut(&Found<'a>) -> bool,
        count: usize,
    ) -> (Vec<TaskId>, Option<Stopped>) {
        let (mut ids, start) = (Vec::new(), self.local.searches.place(sought));
        let before = start.into_iter().flat_map(|start| from(None).take_while(move |(at, _)| *at <= start));
        for (looked_at, (at, found)) in from(start).chain(before).enumerate() {
            if is_wanted(&found) {
                ids.push(found.record.id);
            }
            if ids.len() >= count {
                return (ids, None);
            }
            if looked_at + 1 >= LOOKED_AT {
                rare!("a search stops before the end");
                return (ids, Some(Stopped { sought, at: Some(at) }));
            }
        }
        if start.is_some() {
            rare!("a search that began in the middle has seen all tasks");
        }
        (ids, start.map(|_| Stopped { sought, at: None }))
    }
}

/// The removal of tasks; `None` if there are none. A done task is already counted as acked, so it doesn't count as purged
/// too.
fn removal(state: TaskState, ids: Vec<TaskId>) -> Option<Event<'static>> {
    match state {
        _ if ids.is_empty() => None,
        TaskState::Done => Some(Event::Forgotten { ids }),
        _ => Some(Event::Purged { ids }),
    }
}

/// Since when a task counts as being in its state; `None` for a leased task, which is never removed.
fn since(found: &Found<'_>) -> Option<Millis> {
    match found.entry().phase {
        Phase::Ready { since } | Phase::Held { since, .. } => Some(since),
        Phase::Delayed { .. } => Some(Millis(found.record.id.ms)),
        Phase::Dead { at } | Phase::Done { at, .. } => Some(at),
        Phase::Leased { .. } => None,
    }
}

/// Whether something has lasted for at least `older_ms`.
fn is_old(now: &Now, since: Millis, older_ms: u64) -> bool {
    since.plus(older_ms) <= now.at || older_ms == 0
}
