//! What administrators do to tasks: cancel them, and retry dead, delayed or held ones.

use std::collections::BTreeSet;
use std::ops::Bound;

use taskslot_edges::edge;

use crate::event::Event;
use crate::request::Refusal;
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::searches::{Place, Sought, Stopped};
use crate::task::{TaskId, TaskState};
use crate::time::Now;

/// How many dead tasks one retry of the oldest examines. Some may be unable to come back, because another task holds
/// their token.
const RETRY_LOOKED_AT: usize = edge(10_000, 8);

impl State {
    /// Cancels a task. A waiting task is removed. A leased task is marked, and its worker learns of it by EXTEND.
    /// Errors: `Gone` if there is nothing to cancel.
    pub fn cancel(&self, id: TaskId) -> Result<Event<'static>, Refusal> {
        match self.find(id).ok_or(Refusal::Gone)?.entry().phase {
            Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. } => Ok(Event::Cancelled { id }),
            Phase::Leased { .. } => Ok(Event::CancelAsked { id }),
            Phase::Dead { .. } | Phase::Done { .. } => Err(Refusal::Gone),
        }
    }

    /// Makes the dead, delayed or held tasks among `ids` ready, except those whose token another task holds; `None` if there
    /// are none.
    pub fn retry(&self, now: Now, ids: &[TaskId]) -> Option<Event<'static>> {
        let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
        for &id in ids {
            let Some(found) = self.find(id).filter(|_| !chosen.contains(&id)) else { continue };
            let is_retriable = matches!(
                found.entry().phase,
                Phase::Dead { .. } | Phase::Delayed { .. } | Phase::Held { .. }
            );
            if is_retriable && self.may_retry(now.at, &found, &mut taken) {
                chosen.push(id);
            }
        }
        (!chosen.is_empty()).then_some(Event::Retried { ids: chosen, at: now.at })
    }

    /// Makes the oldest dead tasks of a group ready, at most `count`, except those whose token another task holds;
    /// `None` if it finds none. It examines a bounded number of dead tasks. If there are more, it also returns where it
    /// stopped, for [`crate::Queue::note_search`]: the same search goes on there.
    pub fn retry_group(
        &self,
        now: Now,
        group: &[u8],
        count: usize,
    ) -> (Option<Event<'static>>, Option<Stopped>) {
        let Some(group) = self.groups.find(group) else { return (None, None) };
        let mut taken = BTreeSet::new();
        let from = |after: Option<Place>| {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let dead = self.dead.range((start, Bound::Unbounded));
            dead.filter_map(|&place| Some((place, self.locate(place.1)?)))
        };
        let sought = Sought { state: TaskState::Dead, group };
        let (ids, stopped) = self.search(
            sought,
            from,
            |found| found.record.group() == group && self.may_retry(now.at, found, &mut taken),
            count,
        );
        ((!ids.is_empty()).then_some(Event::Retried { ids, at: now.at }), stopped)
    }

    /// Makes the oldest dead tasks ready, at most `count`, except those whose token another task holds; `None` if there
    /// are none.
    pub fn retry_oldest(&self, now: Now, count: usize) -> Option<Event<'static>> {
        let mut taken = BTreeSet::new();
        let dead = self.dead.iter().take(RETRY_LOOKED_AT).filter_map(|&(_, order)| self.locate(order));
        let dead = dead.filter(|found| self.may_retry(now.at, found, &mut taken));
        let ids: Vec<TaskId> = dead.map(|found| found.record.id).take(count).collect();
        (!ids.is_empty()).then_some(Event::Retried { ids, at: now.at })
    }
}
