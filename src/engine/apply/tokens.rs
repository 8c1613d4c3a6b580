//! Taking and freeing UNIQUE tokens.

use serde_bytes::ByteBuf;

use crate::invalid::{Invalid, ensure};
use crate::state::State;
use crate::store::entry::Entry;
use crate::store::log::Position;
use crate::store::tokens::takes_again;
use crate::task::{Hold, TaskId, Unique};
use crate::time::Millis;

impl State {
    /// Gives a token to a task that was just pushed. It must be free at `at`; an entry whose time has passed is
    /// replaced.
    pub(crate) fn take_token(&mut self, at: Millis, id: TaskId, unique: &Unique) -> Result<(), Invalid> {
        ensure(self.tokens.holder(at, unique.token).is_none(), "a token that nobody holds")?;
        self.tokens.hold(unique.token, id, unique.hold.until());
        Ok(())
    }

    /// Frees the token of a task that is dead, done or removed, unless KEEP keeps it.
    pub(crate) fn let_go(&mut self, position: Position) {
        self.free_if(position, |hold| !matches!(hold, Hold::Exactly(_)));
    }

    /// Frees the token of a task that is claimed, if it was held until the start only (UNTIL start).
    pub(crate) fn let_go_at_start(&mut self, position: Position) {
        self.free_if(position, |hold| hold == Hold::Start);
    }

    fn free_if(&mut self, position: Position, is_free: impl Fn(Hold) -> bool) {
        if self.tokens.len() == 0 {
            return;
        }
        let Some(record) = self.log.record(position) else { return };
        if let Some(unique) = record.options().unique.filter(|unique| is_free(unique.hold)) {
            self.tokens.free(unique.token, record.id);
        }
    }

    /// Gives a dead task that is ready again its token, if it still wants it. Errors: another task holds it.
    pub(crate) fn take_again(
        &mut self,
        at: Millis,
        position: Position,
        entry: &Entry,
    ) -> Result<(), Invalid> {
        let Some(record) = self.log.record(position) else { return Ok(()) };
        let Some(unique) = record.options().unique.filter(|unique| takes_again(at, unique, entry)) else {
            return Ok(());
        };
        let holder = self.tokens.holder(at, unique.token);
        ensure(holder.is_none_or(|id| id == record.id), "a token that nobody else holds")?;
        self.tokens.hold(unique.token, record.id, unique.hold.until());
        Ok(())
    }

    /// Undoes the effect of a hand-off on a token that is held until the start. If the hand-off was the first claim and
    /// the token is still free, the task gets it back. The entry's lease is reset too, because it decides who holds
    /// such a token.
    pub(crate) fn give_token_back(&mut self, at: Millis, position: Position, entry: &mut Entry) {
        let Some(record) = self.log.record(position).filter(|_| entry.deliveries == 0) else { return };
        let unique = record.options().unique.filter(|unique| unique.hold == Hold::Start);
        let Some(unique) = unique.filter(|unique| self.tokens.holder(at, unique.token).is_none()) else {
            return;
        };
        (entry.lease, entry.nonce, entry.lease_ms) = Default::default();
        self.tokens.hold(unique.token, record.id, None);
    }

    /// Frees tokens whose time has passed. Errors: one whose time has not.
    pub(crate) fn apply_freed(&mut self, at: Millis, tokens: &[ByteBuf]) -> Result<(), Invalid> {
        tokens.iter().try_for_each(|token| {
            let held = self.tokens.get(token);
            ensure(held.is_some_and(|held| held.is_over(at)), "a token whose time has passed")?;
            self.tokens.forget(token);
            Ok(())
        })
    }
}
