//! What can be changed about a task that waits: SET, and the debounce of UNIQUE … POSTPONE.

use std::collections::BTreeSet;

use crate::event::{Event, Then};
use crate::request::{Refusal, Set};
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::edits::is_waiting;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::{Due, Millis, Now};

impl State {
    /// The task that holds a token, while it waits or is leased. `None` if the token is free, or is kept for a task
    /// that has ended.
    pub fn living_holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        let id = self.tokens.holder(at, token)?;
        match self.find(id)?.entry().phase {
            Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Leased { .. } => Some(id),
            Phase::Dead { .. } | Phase::Done { .. } => None,
        }
    }

    /// Whether a task waits: it is ready or delayed. Only such a task can be changed.
    pub fn waits(&self, id: TaskId) -> bool {
        self.find(id).is_some_and(|found| is_waiting(&found.entry().phase))
    }

    /// Changes those of the tasks that wait; `None` if that changes nothing. Errors: `FullBytes`, `FullGroups`.
    pub fn set<'a>(&self, now: Now, ids: &[TaskId], to: &Set<'a>) -> Result<Option<Event<'a>>, Refusal> {
        let then = to.due.map(|due| due.map_or(Then::Ready(now.at), |due| Then::Delayed(due.bounded())));
        let (mut seen, mut chosen, mut is_moved) = (BTreeSet::new(), Vec::new(), false);
        for &id in ids {
            let Some(found) = self.find(id).filter(|found| is_waiting(&found.entry().phase)) else {
                continue;
            };
            if seen.insert(id) && self.would_change(&found, to, then) {
                is_moved |= then.is_some_and(|then| moves(&found, then));
                chosen.push(id);
            }
        }
        if chosen.is_empty() {
            return Ok(None);
        }
        if !self.has_room_for_group(to.group.unwrap_or_default()) {
            return Err(Refusal::FullGroups);
        }
        let Set { priority, group, headers, payload, .. } = *to;
        let growth = chosen.iter().map(|&id| self.edit_growth(id, payload, headers)).sum::<i64>();
        let bytes = self.record_bytes().saturating_sub(self.done_bytes()).saturating_add_signed(growth);
        if growth > 0 && self.settings.limit(Setting::MaxBytes).is_some_and(|max| bytes > max) {
            return Err(Refusal::FullBytes);
        }
        let (then, has_payload) = (then.filter(|_| is_moved), payload.is_some());
        Ok(Some(Event::Edited { ids: chosen, then, priority, group, headers, has_payload, payload }))
    }

    /// Moves a task that waits to another instant: `due`, or at once, but at most `until_ms` after its push. `None` if
    /// it doesn't wait any more, or is due then already.
    pub fn postpone(
        &self,
        now: Now,
        id: TaskId,
        due: Option<Due>,
        until_ms: Option<u64>,
    ) -> Option<Event<'static>> {
        let last = until_ms.map_or(Millis::MAX, |ms| Millis(id.ms).plus(ms));
        let due = due.and_then(|due| due.bounded().no_later_than(last, &now));
        self.set(now, &[id], &Set { due: Some(due), ..Set::default() }).ok().flatten()
    }

    fn would_change(&self, found: &Found, to: &Set, then: Option<Then>) -> bool {
        let key = found.key();
        to.payload.is_some()
            || to.headers.is_some()
            || to.priority.is_some_and(|priority| priority != key.priority)
            || to.group.is_some_and(|name| name != self.groups.name(key.group))
            || then.is_some_and(|then| moves(found, then))
    }
}

/// Whether a waiting task becomes ready or due at another instant. A ready task can't become ready again.
fn moves(found: &Found, then: Then) -> bool {
    match (found.entry().phase, then) {
        (Phase::Delayed { due }, Then::Delayed(other)) => due != other,
        (Phase::Ready { .. }, Then::Ready(_)) => false,
        _ => true,
    }
}
