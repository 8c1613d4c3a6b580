//! What administrators do to tasks: cancel them, and retry dead, delayed or held ones.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::request::Refusal;
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::Now;

/// How many dead tasks one retry of the oldest examines. Some may be unable to come back, because another task holds
/// their token.
const RETRY_LOOKED_AT: usize = 10_000;

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
