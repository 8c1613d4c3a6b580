//! Tokens that are taken and freed.

use serde_bytes::ByteBuf;

use crate::invalid::{Invalid, ensure};
use crate::state::State;
use crate::store::entry::Entry;
use crate::store::log::Place;
use crate::store::tokens::takes_again;
use crate::task::{Hold, TaskId, Unique};
use crate::time::Millis;

impl State {
    /// A task that was just pushed takes its token; that of another whose time is over at `at` moves to it.
    pub(crate) fn take_token(&mut self, at: Millis, id: TaskId, unique: &Unique) -> Result<(), Invalid> {
        ensure(self.tokens.holder(at, unique.token).is_none(), "a token that nobody holds")?;
        self.tokens.hold(unique.token, id, unique.hold.until());
        Ok(())
    }

    /// A task is dead or gone: its token is free, unless it is kept.
    pub(crate) fn let_go(&mut self, place: Place) {
        self.free_if(place, |hold| !matches!(hold, Hold::Exactly(_)));
    }

    /// A task is claimed: a token that was held until then is free.
    pub(crate) fn let_go_at_start(&mut self, place: Place) {
        self.free_if(place, |hold| hold == Hold::Start);
    }

    fn free_if(&mut self, place: Place, is_free: impl Fn(Hold) -> bool) {
        if self.tokens.len() == 0 {
            return;
        }
        let Some(record) = self.log.record(place) else { return };
        if let Some(unique) = record.options.unique.filter(|unique| is_free(unique.hold)) {
            self.tokens.free(unique.token, record.id);
        }
    }

    /// A dead task is ready again, and has its token again if it still wants it.
    pub(crate) fn take_again(&mut self, at: Millis, place: Place, entry: &Entry) -> Result<(), Invalid> {
        let Some(record) = self.log.record(place) else { return Ok(()) };
        let Some(unique) = record.options.unique.filter(|unique| takes_again(at, unique, entry)) else {
            return Ok(());
        };
        let holder = self.tokens.holder(at, unique.token);
        ensure(holder.is_none_or(|id| id == record.id), "a token that nobody else holds")?;
        self.tokens.hold(unique.token, record.id, unique.hold.until());
        Ok(())
    }

    /// A hand-off was undone. If it was the first and its token is still free, both are as if it had never been: the
    /// entry's lease too, by which a token until the start is told to be held or not.
    pub(crate) fn give_token_back(&mut self, at: Millis, place: Place, entry: &mut Entry) {
        let Some(record) = self.log.record(place).filter(|_| entry.deliveries == 0) else { return };
        let unique = record.options.unique.filter(|unique| unique.hold == Hold::Start);
        let Some(unique) = unique.filter(|unique| self.tokens.holder(at, unique.token).is_none()) else {
            return;
        };
        (entry.lease, entry.nonce, entry.lease_ms) = Default::default();
        self.tokens.hold(unique.token, record.id, None);
    }

    /// Tokens whose time is over at `at` are free.
    pub(crate) fn apply_freed(&mut self, at: Millis, tokens: &[ByteBuf]) -> Result<(), Invalid> {
        tokens.iter().try_for_each(|token| {
            let held = self.tokens.get(token);
            ensure(held.is_some_and(|held| held.is_over(at)), "a token whose time is over")?;
            self.tokens.forget(token);
            Ok(())
        })
    }
}
