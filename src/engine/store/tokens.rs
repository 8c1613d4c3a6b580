//! The table of UNIQUE tokens and their holders.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::invalid::{Invalid, ensure};
use crate::store::entry::{Entry, Phase};
use crate::task::{Hold, TaskId, Unique};
use crate::time::Millis;

/// The task that holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub id: TaskId,
    /// When the token becomes free by itself; `None` if that depends on the task alone.
    pub until: Option<Millis>,
}

impl Holding {
    pub fn is_over(&self, at: Millis) -> bool {
        self.until.is_some_and(|until| until <= at)
    }
}

/// A token with an end, in its stored form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredToken {
    pub token: ByteBuf,
    pub id: TaskId,
    pub until: Millis,
}

/// Which task holds which UNIQUE token. No two tasks hold the same token at a time.
///
/// A token without an end (no FOR) is held by a living task, as long as its record and entry say so: see
/// [`Unique::is_held_by`]. These follow from the tasks and are not stored. A token with an end is held until that
/// instant. With KEEP it outlives its task. These are stored.
///
/// For decisions (a push, a retry) a token is free as soon as its end has passed. It leaves the table later, when the
/// tick reaches it or another task takes it. The table is a tree, not a hash table: users choose the tokens, and a tree
/// can't be flooded with collisions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    held: BTreeMap<Box<[u8]>, Holding>,
    /// The tokens with an end, ordered by it.
    ends: BTreeSet<(Millis, Box<[u8]>)>,
    /// Bytes of the tokens in both tables.
    bytes: usize,
}

impl Tokens {
    /// How many tokens are in the table, including those whose end has passed.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// The task that holds a token at this instant; `None` if it is free.
    pub fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.held.get(token).filter(|held| !held.is_over(at)).map(|held| held.id)
    }

    /// The entry of a token, whether or not its end has passed.
    pub fn get(&self, token: &[u8]) -> Option<&Holding> {
        self.held.get(token)
    }

    /// Whether one more token would exceed `max`. Tokens whose end has passed don't count, though they may be in the
    /// table.
    pub fn are_full(&self, at: Millis, max: u64) -> bool {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let Some(surplus) = self.len().checked_sub(max) else { return false };
        self.over(at).take(surplus + 1).count() <= surplus
    }

    /// The tokens whose end has passed at `at`, the earliest first.
    pub fn over(&self, at: Millis) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().take_while(move |(until, _)| *until <= at).map(|(_, token)| &**token)
    }

    /// Sets the holder of a token, instead of any other.
    pub fn hold(&mut self, token: &[u8], id: TaskId, until: Option<Millis>) {
        self.forget(token);
        self.held.insert(token.into(), Holding { id, until });
        self.bytes += token.len();
        if let Some(until) = until {
            self.ends.insert((until, token.into()));
            self.bytes += token.len();
        }
    }

    pub fn forget(&mut self, token: &[u8]) {
        let Some((token, held)) = self.held.remove_entry(token) else { return };
        self.bytes -= token.len();
        if let Some(until) = held.until {
            self.bytes -= token.len();
            self.ends.remove(&(until, token));
        }
    }

    /// Removes a token if this task holds it.
    pub fn free(&mut self, token: &[u8], id: TaskId) {
        if self.held.get(token).is_some_and(|held| held.id == id) {
            self.forget(token);
        }
    }

    /// When the first token becomes free by itself.
    pub fn first_end(&self) -> Option<Millis> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The tokens with an end in their stored form. The others follow from the tasks.
    pub fn stored(&self) -> impl Iterator<Item = StoredToken> + '_ {
        self.ends.iter().filter_map(|(until, token)| {
            let held = self.held.get(token)?;
            Some(StoredToken { token: ByteBuf::from(&**token), id: held.id, until: *until })
        })
    }

    /// All tokens in sorted order, with holder and end: what a digest covers.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], TaskId, Millis)> {
        self.held.iter().map(|(token, held)| (&**token, held.id, held.until.unwrap_or_default()))
    }

    /// Whether exactly `holders` tokens have no end, and both tables agree. O(tokens).
    pub fn validate(&self, holders: u64) -> Result<(), Invalid> {
        let endless = self.held.values().filter(|held| held.until.is_none()).count();
        ensure(endless as u64 == holders, "a task for each token without an end")?;
        let ends: BTreeSet<(Millis, Box<[u8]>)> =
            self.with_end().filter_map(|(token, held)| Some((held.until?, token.into()))).collect();
        ensure(ends == self.ends, "an index of all ends of tokens")?;
        let tokens = self.held.keys().chain(self.ends.iter().map(|(_, token)| token));
        ensure(
            self.bytes == tokens.map(|token| token.len()).sum::<usize>(),
            "a correct count of the tokens' bytes",
        )
    }

    /// The tokens with an end, and their holders.
    pub fn with_end(&self) -> impl Iterator<Item = (&[u8], Holding)> {
        let all = self.held.iter().filter(|(_, held)| held.until.is_some());
        all.map(|(token, held)| (&**token, *held))
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        // A token, its holder and its share of a node that is two thirds full; in the second table also its end.
        self.bytes + self.held.len() * 108 + self.ends.len() * 68
    }
}

impl StoredToken {
    /// Bytes of the stored form, approximately.
    pub fn stored_bytes(&self) -> usize {
        self.token.len() + 40
    }
}

impl Unique<'_> {
    /// Whether a task with this entry holds the token, whatever the time. Tokens with an end are not covered here.
    pub(crate) fn is_held_by(&self, entry: &Entry) -> bool {
        let is_over = matches!(entry.phase, Phase::Dead { .. } | Phase::Done { .. });
        match self.hold {
            Hold::End => !is_over,
            // Undoing a hand-off resets the lease number, so it also gives the token back.
            Hold::Start => !is_over && entry.lease.0 == 0,
            Hold::AtMost(_) | Hold::Exactly(_) => false,
        }
    }
}

/// Whether a dead task must hold its token again to be retried.
pub(crate) fn takes_again(at: Millis, unique: &Unique, entry: &Entry) -> bool {
    let revived = Entry { phase: Phase::Ready { since: at }, ..*entry };
    let is_over = unique.hold.until().is_none_or(|until| until <= at);
    unique.is_held_by(&revived) || (!is_over && matches!(unique.hold, Hold::AtMost(_)))
}
