//! UNIQUE tokens: which task can take one, and when one becomes free.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::request::Refusal;
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::edits::is_waiting;
use crate::store::entry::Phase;
use crate::store::tokens::takes_again;
use crate::task::{TaskId, Unique};
use crate::time::Millis;

use serde_bytes::ByteBuf;
use taskslot_edges::{edge, rare};

/// How many tokens one event frees.
pub const STEP_TOKENS: usize = edge(128, 2);

impl State {
    /// The task that holds a token at this instant; `None` if the token is free. With KEEP the task may no longer
    /// exist.
    pub fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.tokens.holder(at, token)
    }

    /// How many tokens are in the table. This includes tokens whose time has passed but that are not freed yet.
    pub fn tokens(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// Checks that a new task can take a token, when another task leaves this token in the same effect. Errors: `Held`,
    /// `FullTokens`.
    pub(crate) fn may_take(&self, at: Millis, unique: &Unique, left: Option<&[u8]>) -> Result<(), Refusal> {
        if let Some(id) = self.tokens.holder(at, unique.token).filter(|_| left != Some(unique.token)) {
            return Err(Refusal::Held(id));
        }
        let is_full = |max: u64| self.tokens.are_full(at, max.saturating_add(left.is_some().into()));
        match self.settings.limit(Setting::TokensMax).is_some_and(is_full) {
            true => Err(Refusal::FullTokens),
            false => Ok(()),
        }
    }

    /// Whether a task can be retried: the token that a dead task would hold again is free, and is not among `taken`, to
    /// which it is added.
    pub(crate) fn may_retry<'a>(
        &'a self,
        at: Millis,
        found: &Found<'a>,
        taken: &mut BTreeSet<&'a [u8]>,
    ) -> bool {
        let Some(unique) = found.record.options().unique.filter(|_| is_dead(found)) else { return true };
        if !takes_again(at, &unique, &found.entry()) {
            return true;
        }
        let is_free = self.tokens.holder(at, unique.token).is_none_or(|id| id == found.record.id);
        is_free && taken.insert(unique.token)
    }

    /// Frees tokens whose time has passed, at most as many as one step allows.
    pub(crate) fn ended_tokens(&self, at: Millis) -> Option<Event<'static>> {
        let tokens: Vec<ByteBuf> = self.tokens.over(at).take(STEP_TOKENS).map(ByteBuf::from).collect();
        if tokens.len() == STEP_TOKENS {
            rare!("as many tokens are freed as one step frees");
        }
        (!tokens.is_empty()).then_some(Event::Freed { at, tokens })
    }

    /// Whether a task holds its own token at this instant.
    pub(crate) fn holds_token(&self, at: Millis, found: &Found) -> bool {
        let token = found.record.options().unique.map(|unique| unique.token);
        token.is_some_and(|token| self.tokens.holder(at, token) == Some(found.record.id))
    }

    /// Replaces the payload and the headers of a waiting task; `None` if it doesn't wait (any more). Errors:
    /// `FullBytes`.
    pub fn replace<'a>(
        &self,
        id: TaskId,
        headers: &'a [u8],
        payload: &'a [u8],
    ) -> Result<Option<Event<'a>>, Refusal> {
        self.replace_beside(id, headers, payload, 0)
    }

    /// The same, when another task leaves `left` bytes in the same effect.
    pub(crate) fn replace_beside<'a>(
        &self,
        id: TaskId,
        headers: &'a [u8],
        payload: &'a [u8],
        left: u64,
    ) -> Result<Option<Event<'a>>, Refusal> {
        let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));
        let Some(found) = found.filter(|found| found.record.options().unique.is_some()) else {
            return Ok(None);
        };
        let before = self.edits.bytes_of(found.order);
        let added = (payload.len() + headers.len()) as u64;
        let others = self.record_bytes().saturating_sub(before + self.done_bytes() + left);
        let bytes = others.saturating_add(added);
        if self.settings.limit(Setting::MaxBytes).is_some_and(|max| bytes > max) {
            return Err(Refusal::FullBytes);
        }
        Ok(Some(Event::Replaced { id, headers, payload }))
    }
}

pub(crate) fn is_dead(found: &Found) -> bool {
    matches!(found.entry().phase, Phase::Dead { .. })
}
