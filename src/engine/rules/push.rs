//! Pushes: what a queue accepts. Also requests that are sent again (REQUEST).

use crate::event::Event;
use crate::pause::Gate;
use crate::request::{Answer, Push, Refusal};
use crate::rules::step::Left;
use crate::settings::Setting;
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::requests::REQUEST_KEPT_MS;
use crate::task::{Handle, TaskId};
use crate::time::{Due, Now};

impl State {
    /// Accepts tasks; with a UNIQUE token exactly one. Errors: `Paused`, `Held`, `FullTokens`, `UnknownBatch`,
    /// `ClosedBatch`, `FullLen`, `FullBytes`, `FullGroups`, `Exhausted`.
    pub fn push<'a>(&self, now: Now, push: &Push<'a>) -> Result<Event<'a>, Refusal> {
        self.push_beside(now, push, &Left::default())
    }

    /// Accepts tasks, when another task leaves this in the same effect.
    #[inline]
    pub(crate) fn push_beside<'a>(
        &self,
        now: Now,
        push: &Push<'a>,
        left: &Left,
    ) -> Result<Event<'a>, Refusal> {
        if !self.paused(now.at, Gate::In).is_open() {
            return Err(Refusal::Paused);
        }
        push.options.unique.map_or(Ok(()), |unique| self.may_take(now.at, &unique, left.token))?;
        self.may_enter_batch(push.options.batch)?;
        let count = push.payloads.len() as u64;
        let len = self.len().saturating_sub(left.tasks);
        if self.settings.limit(Setting::MaxLen).is_some_and(|max| len.saturating_add(count) > max) {
            return Err(Refusal::FullLen);
        }
        if let Some(max) = self.settings.limit(Setting::MaxBytes) {
            let added: u64 =
                push.payloads.iter().map(|p| (p.len() + push.options.headers.len()) as u64).sum();
            // Done tasks make way: see `make_room`.
            let bytes = self.record_bytes().saturating_sub(self.done_bytes() + left.bytes);
            if bytes.saturating_add(added) > max {
                return Err(Refusal::FullBytes);
            }
        }
        if !self.has_room_for_group(push.options.group, left.groups) {
            return Err(Refusal::FullGroups);
        }
        let first = if now.at.0 > self.last_id.ms {
            TaskId { ms: now.at.0, seq: 0 }
        } else {
            self.last_id.nth(1).ok_or(Refusal::Exhausted)?
        };
        first.nth(count).ok_or(Refusal::Exhausted)?;
        let count = u32::try_from(count).map_err(|_| Refusal::Exhausted)?;
        let due = push.due.map(Due::bounded);
        Ok(Event::Pushed { first, count, due, options: push.options, payloads: push.payloads })
    }

    /// The reply to a push with this token in the last five minutes: its first id and number of tasks.
    pub fn recall_push(&self, now: Now, token: &[u8]) -> Option<(TaskId, u32)> {
        self.requests.push(now.at, token)
    }

    /// The leases of an earlier claim with this token that are still held; `None` if there are none.
    pub fn recall_claim(&self, now: Now, token: &[u8]) -> Option<Vec<Handle>> {
        let handles = self.requests.claim(now.at, token)?;
        let is_held = |handle: &&Handle| self.with_lease(now, handle).is_ok();
        let held: Vec<Handle> = handles.iter().filter(is_held).copied().collect();
        (!held.is_empty()).then_some(held)
    }

    /// Remembers the reply to a request for five minutes, and that of a claim at least until its leases end.
    pub fn answered<'a>(&self, now: Now, token: &'a [u8], answer: Answer) -> Event<'a> {
        let mut kept_until = now.at.plus(REQUEST_KEPT_MS);
        if let Answer::Claimed { handles } = &answer {
            let deadlines = handles.iter().filter_map(|handle| match self.find(handle.id)?.entry?.phase {
                Phase::Leased { deadline, .. } => Some(deadline),
                _ => None,
            });
            kept_until = deadlines.max().unwrap_or_default().max(kept_until);
        }
        Event::Answered { token, at: now.at, kept_until, answer }
    }
}
