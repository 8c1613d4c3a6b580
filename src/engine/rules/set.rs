//! What can be changed about a task that waits: SET, and the debounce of UNIQUE … POSTPONE.

use std::collections::BTreeSet;

use crate::event::{Event, Then};
use crate::request::{Refusal, Set};
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::edits::is_waiting;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::{Millis, Now, When};

impl State {
    /// The task that holds a token, while it waits or is leased. `None` if the token is free, or is kept for a task
    /// that has ended.
    pub fn living_holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        let id = self.tokens.holder(at, token)?;
        match self.find(id)?.entry().phase {
            Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. } | Phase::Leased { .. } => {
                Some(id)
            }
            Phase::Dead { .. } | Phase::Done { .. } => None,
        }
    }

    /// Whether a task waits: it is ready, delayed or held. Only such a task can be changed.
    pub fn waits(&self, id: TaskId) -> bool {
        self.find(id).is_some_and(|found| is_waiting(&found.entry().phase))
    }

    /// Changes those of the tasks that wait; `None` if that changes nothing. Errors: `FullBytes`, `FullGroups`.
    pub fn set<'a>(&self, now: Now, ids: &[TaskId], to: &Set<'a>) -> Result<Option<Event<'a>>, Refusal> {
        let then =
            |when: When| when.due(&now).map_or(Then::Ready(now.at), |due| Then::Delayed(due.bounded()));
        self.edit(ids, to.when.map(then), to)
    }

    /// Changes when a waiting task is due: as `when` says from now on, but at most `until_ms` after its push. For a held
    /// task it says so from the end of its wait, without that bound. `None` if it doesn't wait any more, or nothing
    /// changes.
    pub fn postpone(
        &self,
        now: Now,
        id: TaskId,
        when: When,
        until_ms: Option<u64>,
    ) -> Option<Event<'static>> {
        let last = until_ms.map_or(Millis::MAX, |ms| Millis(id.ms).plus(ms));
        let due = when.due(&now).and_then(|due| due.bounded().no_later_than(last, &now));
        let then = due.map_or(Then::Ready(now.at), Then::Delayed);
        self.edit(&[id], Some(then), &Set { when: Some(when), ..Set::default() }).ok().flatten()
    }

    /// Changes those of the tasks that wait. `then` is when they become ready, unless they are held.
    fn edit<'a>(
        &self,
        ids: &[TaskId],
        then: Option<Then>,
        to: &Set<'a>,
    ) -> Result<Option<Event<'a>>, Refusal> {
        let when = to.when.map(When::bounded);
        let (mut seen, mut chosen) = (BTreeSet::new(), Vec::new());
        // Whether ready or delayed tasks move, and held ones.
        let (mut is_moved, mut are_held) = (false, false);
        for &id in ids {
            let Some(found) = self.find(id).filter(|found| is_waiting(&found.entry().phase)) else {
                continue;
            };
            let moves = moves(&found, then, when);
            if seen.insert(id) && (moves || self.would_change(&found, to)) {
                let is_held = matches!(found.entry().phase, Phase::Held { .. });
                is_moved |= moves && !is_held;
                are_held |= moves && is_held;
                chosen.push(id);
            }
        }
        if chosen.is_empty() {
            return Ok(None);
        }
        if !self.has_room_for_group(to.group.unwrap_or_default(), 0) {
            return Err(Refusal::FullGroups);
        }
        let Set { priority, group, headers, payload, .. } = *to;
        let growth = chosen.iter().map(|&id| self.edit_growth(id, payload, headers)).sum::<i64>();
        let bytes = self.record_bytes().saturating_sub(self.done_bytes()).saturating_add_signed(growth);
        if growth > 0 && self.settings.limit(Setting::MaxBytes).is_some_and(|max| bytes > max) {
            return Err(Refusal::FullBytes);
        }
        let (then, when) = (then.filter(|_| is_moved), when.filter(|_| are_held));
        let has_payload = payload.is_some();
        Ok(Some(Event::Edited { ids: chosen, then, when, priority, group, headers, has_payload, payload }))
    }

    /// Whether a change of a task's payload, headers, priority or group changes anything.
    fn would_change(&self, found: &Found, to: &Set) -> bool {
        let key = found.key();
        to.payload.is_some()
            || to.headers.is_some()
            || to.priority.is_some_and(|priority| priority != key.priority)
            || to.group.is_some_and(|name| name != self.groups.name(key.group))
    }
}

/// Whether a waiting task becomes ready or due at another instant, `then`, or if it is held as `when` says. A ready task
/// can't become ready again.
fn moves(found: &Found, then: Option<Then>, when: Option<When>) -> bool {
    match found.entry().phase {
        Phase::Ready { .. } => matches!(then, Some(Then::Delayed(_))),
        Phase::Delayed { due } => then.is_some_and(|then| then != Then::Delayed(due)),
        Phase::Held { when: before, .. } => when.is_some_and(|when| when != before),
        Phase::Leased { .. } | Phase::Dead { .. } | Phase::Done { .. } => false,
    }
}
