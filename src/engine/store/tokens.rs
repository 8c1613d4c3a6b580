//! Which task holds which UNIQUE token, so that no token is held by two tasks at a time.
//!
//! A token without an end of its own (no FOR) is held by a living task whose record and entry say so: see
//! [`Unique::is_held_by`]; the table follows from the tasks, and isn't stored. One with an end is held until that
//! instant by whoever it is noted for, which with KEEP may be a task that is gone: those are stored. An end that has
//! passed frees its token at once for whoever decides (a push, a retry), and takes it out of the table when the next
//! task takes it or when the tick comes to it. An order, not a hash, finds a token: users choose the bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::event::Event;
use crate::mismatch::{Mismatch, ensure};
use crate::queue::{Found, Queue};
use crate::rules::decide::Refusal;
use crate::settings::Setting;
use crate::store::entry::{Entry, Phase};
use crate::store::log::Place;
use crate::task::{Hold, NAME_MAX_BYTES, TaskId, Unique};
use crate::time::Millis;

/// Tokens that one event frees.
const STEP_TOKENS: usize = 128;

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    id: TaskId,
    /// When that ends by itself.
    until: Option<Millis>,
}

impl Held {
    fn is_over(&self, at: Millis) -> bool {
        self.until.is_some_and(|until| until <= at)
    }
}

/// A token with an end, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredToken {
    token: ByteBuf,
    id: TaskId,
    until: Millis,
}

/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    held: BTreeMap<Box<[u8]>, Held>,
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
    fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.held.get(token).filter(|held| !held.is_over(at)).map(|held| held.id)
    }

    /// Whether one token more would be too many. What is over doesn't count, though it may still be in the table.
    fn are_full(&self, at: Millis, max: u64) -> bool {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let Some(surplus) = self.len().checked_sub(max) else { return false };
        self.over(at).take(surplus + 1).count() <= surplus
    }

    /// The tokens whose end has passed, by when.
    fn over(&self, at: Millis) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().take_while(move |(until, _)| *until <= at).map(|(_, token)| &**token)
    }

    /// Notes a holder in place of any other.
    fn hold(&mut self, token: &[u8], id: TaskId, until: Option<Millis>) {
        self.forget(token);
        self.held.insert(token.into(), Held { id, until });
        self.bytes += token.len();
        if let Some(until) = until {
            self.ends.insert((until, token.into()));
            self.bytes += token.len();
        }
    }

    fn forget(&mut self, token: &[u8]) {
        let Some((token, held)) = self.held.remove_entry(token) else { return };
        self.bytes -= token.len();
        if let Some(until) = held.until {
            self.bytes -= token.len();
            self.ends.remove(&(until, token));
        }
    }

    /// Forgets a token that this task holds; one of another's stays.
    fn free(&mut self, token: &[u8], id: TaskId) {
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
    fn is_held_by(&self, entry: &Entry) -> bool {
        let is_over = matches!(entry.phase, Phase::Dead { .. } | Phase::Done { .. });
        match self.hold {
            Hold::End => !is_over,
            // A hand-off that is undone takes the lease's number back with it, if it gives the token back.
            Hold::Start => !is_over && entry.lease.0 == 0,
            Hold::AtMost(_) | Hold::Exactly(_) => false,
        }
    }
}

// What decides.
impl Queue {
    /// Who holds a token at this instant. With KEEP it may be a task that is gone.
    pub fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.tokens.holder(at, token)
    }

    /// How many tokens are held, those included whose time is over and that nobody has come to free yet.
    pub fn tokens(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// Whether a new task may take a token. Errors: `Held`, `FullTokens`.
    pub(crate) fn may_take(&self, at: Millis, unique: &Unique) -> Result<(), Refusal> {
        if let Some(id) = self.tokens.holder(at, unique.token) {
            return Err(Refusal::Held(id));
        }
        let is_full = |max| self.tokens.are_full(at, max);
        match self.settings.limit(Setting::TokensMax).is_some_and(is_full) {
            true => Err(Refusal::FullTokens),
            false => Ok(()),
        }
    }

    /// Whether a dead task can be ready again: its token, if it still has one, is free, and not among `taken`, which
    /// learns of it.
    pub(crate) fn may_retry<'a>(
        &'a self,
        at: Millis,
        found: &Found<'a>,
        taken: &mut BTreeSet<&'a [u8]>,
    ) -> bool {
        let Some(unique) = found.record.options.unique.filter(|_| is_dead(found)) else { return true };
        if !takes_again(at, &unique, &found.entry()) {
            return true;
        }
        let is_free = self.tokens.holder(at, unique.token).is_none_or(|id| id == found.record.id);
        is_free && taken.insert(unique.token)
    }

    /// Tokens whose time is over, at most as many as one step frees.
    pub(crate) fn ended_tokens(&self, at: Millis) -> Option<Event<'static>> {
        let tokens: Vec<ByteBuf> = self.tokens.over(at).take(STEP_TOKENS).map(ByteBuf::from).collect();
        (!tokens.is_empty()).then_some(Event::Freed { at, tokens })
    }

    /// Whether a task holds a token of its own at this instant.
    pub(crate) fn holds_token(&self, at: Millis, found: &Found) -> bool {
        let token = found.record.options.unique.map(|unique| unique.token);
        token.is_some_and(|token| self.tokens.holder(at, token) == Some(found.record.id))
    }
}

fn is_dead(found: &Found) -> bool {
    matches!(found.entry().phase, Phase::Dead { .. })
}

/// Whether a dead task that is retried wants its token again.
fn takes_again(at: Millis, unique: &Unique, entry: &Entry) -> bool {
    let revived = Entry { phase: Phase::Ready { since: at }, ..*entry };
    let is_over = unique.hold.until().is_none_or(|until| until <= at);
    unique.is_held_by(&revived) || (!is_over && matches!(unique.hold, Hold::AtMost(_)))
}

// What applies.
impl Queue {
    /// A task that was just pushed takes its token; that of another whose time is over at `at` moves to it.
    pub(crate) fn take_token(&mut self, at: Millis, id: TaskId, unique: &Unique) -> Result<(), Mismatch> {
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
    pub(crate) fn take_again(&mut self, at: Millis, place: Place, entry: &Entry) -> Result<(), Mismatch> {
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
    pub(crate) fn apply_freed(&mut self, at: Millis, tokens: &[ByteBuf]) -> Result<(), Mismatch> {
        tokens.iter().try_for_each(|token| {
            let held = self.tokens.held.get(&token[..]);
            ensure(held.is_some_and(|held| held.is_over(at)), "a token whose time is over")?;
            self.tokens.forget(token);
            Ok(())
        })
    }
}

// What loads and checks.
impl Queue {
    /// A task that was loaded has the token that follows from it.
    pub(crate) fn index_token(&mut self, place: Place) -> Result<(), Mismatch> {
        let found = self.log.record(place).and_then(|record| Some((record, record.options.unique?)));
        let Some((record, unique)) = found else { return Ok(()) };
        let entry = self.log.entry(place);
        if entry.is_none_or(|entry| unique.is_held_by(&entry)) && unique.hold.until().is_none() {
            ensure(!self.tokens.held.contains_key(unique.token), "a token of its own")?;
            self.tokens.hold(unique.token, record.id, None);
        }
        Ok(())
    }

    /// Adds a token that doesn't follow from the tasks.
    pub(crate) fn load_token(&mut self, stored: &StoredToken) -> Result<(), Mismatch> {
        let StoredToken { token, id, until } = stored;
        ensure((1..=NAME_MAX_BYTES).contains(&token.len()) && *until <= Millis::MAX, "a token's bounds")?;
        ensure(!self.tokens.held.contains_key(&token[..]), "each token once")?;
        self.tokens.hold(token, *id, Some(*until));
        Ok(())
    }

    /// Whether a task's token is in the table as it has to be: 1 where the task says that it holds one, else 0.
    pub(crate) fn validate_token(&self, found: &Found) -> Result<u64, Mismatch> {
        let unique = found.record.options.unique;
        let Some(unique) = unique.filter(|unique| unique.is_held_by(&found.entry())) else { return Ok(0) };
        let held = Held { id: found.record.id, until: None };
        ensure(self.tokens.held.get(unique.token) == Some(&held), "a token for every task that holds one")?;
        Ok(1)
    }

    /// Whether the table holds nothing but the tokens of `holders` tasks that [`Queue::validate_token`] counted and those
    /// with an end, each of a task that has it, or kept for one that is gone.
    pub(crate) fn validate_tokens(&self, holders: u64) -> Result<(), Mismatch> {
        let held = self.tokens.held.iter().map(|(token, held)| (&**token, *held));
        let (with_end, endless): (Vec<_>, Vec<_>) = held.partition(|(_, held)| held.until.is_some());
        ensure(endless.len() as u64 == holders, "a task for every token")?;
        let end = |(token, held): &(&[u8], Held)| Some((held.until?, (*token).into()));
        let ends: BTreeSet<(Millis, Box<[u8]>)> = with_end.iter().filter_map(end).collect();
        ensure(ends == self.tokens.ends, "ends of tokens are indexed")?;
        let bytes = |tokens: &[(&[u8], Held)]| tokens.iter().map(|(token, _)| token.len()).sum::<usize>();
        ensure(self.tokens.bytes == 2 * bytes(&with_end) + bytes(&endless), "bytes of tokens are counted")?;
        for (token, held) in with_end {
            let Some(found) = self.find(held.id) else {
                ensure(held.id <= self.last_id, "a token of a task that there was")?;
                continue;
            };
            let unique = found.record.options.unique.filter(|unique| unique.token == token);
            let unique = unique.filter(|unique| unique.hold.until() == held.until);
            let unique = unique.ok_or(Mismatch("a task's own token"))?;
            let is_kept = matches!(unique.hold, Hold::Exactly(_));
            let is_done = matches!(found.entry().phase, Phase::Done { .. });
            ensure(is_kept || !(is_dead(&found) || is_done), "the token of a task that is over is free")?;
        }
        Ok(())
    }
}
