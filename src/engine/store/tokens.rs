//! Who holds which UNIQUE token.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::invalid::{Invalid, ensure};
use crate::store::entry::{Entry, Phase};
use crate::task::{Hold, TaskId, Unique};
use crate::time::Millis;

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub id: TaskId,
    /// When that ends by itself.
    pub until: Option<Millis>,
}

impl Holding {
    pub fn is_over(&self, at: Millis) -> bool {
        self.until.is_some_and(|until| until <= at)
    }
}

/// A token with an end, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredToken {
    pub token: ByteBuf,
    pub id: TaskId,
    pub until: Millis,
}

/// Which task holds which UNIQUE token, so that no token is held by two tasks at a time.
///
/// A token without an end of its own (no FOR) is held by a living task whose record and entry say so: see
/// [`Unique::is_held_by`]; the table follows from the tasks, and isn't stored. One with an end is held until that
/// instant by whoever it is noted for, which with KEEP may be a task that is gone: those are stored. An end that has
/// passed frees its token at once for whoever decides (a push, a retry), and takes it out of the table when the next
/// task takes it or when the tick comes to it. An order, not a hash, finds a token: users choose the bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    held: BTreeMap<Box<[u8]>, Holding>,
    /// Those with an end, by when.
    ends: BTreeSet<(Millis, Box<[u8]>)>,
    /// Bytes of the tokens in both.
    bytes: usize,
}

impl Tokens {
    /// How many are in the table.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Who holds a token at this instant.
    pub fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.held.get(token).filter(|held| !held.is_over(at)).map(|held| held.id)
    }

    /// What is noted of a token, over or not.
    pub fn get(&self, token: &[u8]) -> Option<&Holding> {
        self.held.get(token)
    }

    /// Whether one token more would be too many. What is over doesn't count, though it may still be in the table.
    pub fn are_full(&self, at: Millis, max: u64) -> bool {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let Some(surplus) = self.len().checked_sub(max) else { return false };
        self.over(at).take(surplus + 1).count() <= surplus
    }

    /// The tokens whose end has passed, by when.
    pub fn over(&self, at: Millis) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().take_while(move |(until, _)| *until <= at).map(|(_, token)| &**token)
    }

    /// Notes a holder in place of any other.
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

    /// Forgets a token that this task holds; one of another's stays.
    pub fn free(&mut self, token: &[u8], id: TaskId) {
        if self.held.get(token).is_some_and(|held| held.id == id) {
            self.forget(token);
        }
    }

    /// When the first token is free by itself.
    pub fn first_end(&self) -> Option<Millis> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Those that can't be told from the tasks, as they are stored.
    pub fn stored(&self) -> impl Iterator<Item = StoredToken> + '_ {
        self.ends.iter().filter_map(|(until, token)| {
            let held = self.held.get(token)?;
            Some(StoredToken { token: ByteBuf::from(&**token), id: held.id, until: *until })
        })
    }

    /// All tokens and their holders, in order: what a digest sees.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], TaskId, Millis)> {
        self.held.iter().map(|(token, held)| (&**token, held.id, held.until.unwrap_or_default()))
    }

    /// Whether nothing is held without an end but by `holders` tasks, and both tables say the same. O(tokens).
    pub fn validate(&self, holders: u64) -> Result<(), Invalid> {
        let endless = self.held.values().filter(|held| held.until.is_none()).count();
        ensure(endless as u64 == holders, "a task for every token")?;
        let ends: BTreeSet<(Millis, Box<[u8]>)> =
            self.with_end().filter_map(|(token, held)| Some((held.until?, token.into()))).collect();
        ensure(ends == self.ends, "ends of tokens are indexed")?;
        let tokens = self.held.keys().chain(self.ends.iter().map(|(_, token)| token));
        ensure(self.bytes == tokens.map(|token| token.len()).sum::<usize>(), "bytes of tokens are counted")
    }

    /// The tokens with an end, and who holds them.
    pub fn with_end(&self) -> impl Iterator<Item = (&[u8], Holding)> {
        let all = self.held.iter().filter(|(_, held)| held.until.is_some());
        all.map(|(token, held)| (&**token, *held))
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        // A token, who holds it and its place in a node that is two thirds full; in the second table its end.
        self.bytes + self.held.len() * 108 + self.ends.len() * 68
    }
}

impl StoredToken {
    /// Bytes of the stored form, about.
    pub fn stored_bytes(&self) -> usize {
        self.token.len() + 40
    }
}

impl Unique<'_> {
    /// Whether a task holds this token as long as its entry is so, whatever the time.
    pub(crate) fn is_held_by(&self, entry: &Entry) -> bool {
        let is_over = matches!(entry.phase, Phase::Dead { .. } | Phase::Done { .. });
        match self.hold {
            Hold::End => !is_over,
            // A hand-off that is undone takes the lease's number back with it, if it gives the token back.
            Hold::Start => !is_over && entry.lease.0 == 0,
            Hold::AtMost(_) | Hold::Exactly(_) => false,
        }
    }
}

/// Whether a dead task that is retried wants its token again.
pub(crate) fn takes_again(at: Millis, unique: &Unique, entry: &Entry) -> bool {
    let revived = Entry { phase: Phase::Ready { since: at }, ..*entry };
    let is_over = unique.hold.until().is_none_or(|until| until <= at);
    unique.is_held_by(&revived) || (!is_over && matches!(unique.hold, Hold::AtMost(_)))
}
