//! The verbs: each reads the queue and the time and says what happens, as an [`Event`]. None changes anything.

use std::collections::BTreeSet;

use crate::event::{End, Event, Gate, Then};
use crate::queue::{Found, Queue};
use crate::rules::backoff;
use crate::settings::Setting;
use crate::store::entry::{Entry, Phase};
use crate::store::requests::{Answer, REQUEST_KEPT_MS};
use crate::task::{ATTEMPTS_MAX, Handle, LEASE_MAX_MS, LeaseNumber, Options, TaskId};
use crate::time::{Due, Millis, Now};

/// A source of random bits. Only a primary draws; what it drew travels in events.
pub type Entropy<'a> = &'a mut dyn FnMut() -> u32;

/// How far a promoted primary's lease numbers run ahead of those of the one before it: 19 hours of microseconds, more than
/// any clock is wrong.
pub const PROMOTION_STEP: u64 = 1 << 36;
/// A primary that starts again may have lost its last claims: it skips the numbers of this many microseconds (16 s), and a
/// random part of as many more, since it may have lost those of a start before. Thousands of starts are less than one
/// promotion, so its numbers stay below a successor's.
const RESTART_STEP: u64 = 1 << 24;
/// Lease numbers follow the clock up to here, the year 2253; from there on each is the last and one, so that a clock that was
/// set far ahead doesn't use them up.
pub(crate) const CLOCK_NUMBER_MAX: u64 = LeaseNumber::MAX.0 - (1 << 46);
/// Dead tasks that one retry of the oldest looks at, since others may hold their tokens.
const RETRY_LOOKED_AT: usize = 10_000;

/// The time in which one node is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// A random number, not 0.
    pub id: u64,
    /// How it began.
    pub beginning: Beginning,
}

/// How a node became the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It started as one.
    Start,
    /// It was a replica before. Another primary may still believe in itself.
    Promotion,
}

/// Why a verb does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `max-len` is reached.
    FullLen,
    /// `max-bytes` is reached.
    FullBytes,
    /// `groups-max` is reached.
    FullGroups,
    /// `tokens-max` is reached.
    FullTokens,
    /// This task holds the token.
    Held(TaskId),
    /// The gate is closed.
    Paused,
    /// There is nothing left to work on: the task is finished or removed.
    Gone,
    /// The task lives on without this lease.
    Stale,
    /// Somebody asked to cancel the task.
    CancelAsked,
    /// Ids or lease numbers have come to their end.
    Exhausted,
}

/// What a push asks for.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// When the tasks become ready; `None` for now.
    pub due: Option<Due>,
    /// What holds for each task.
    pub options: Options<'a>,
    /// One for each task, at least one.
    pub payloads: &'a [&'a [u8]],
}

/// What a worker says of a failed attempt's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// As the backoff says.
    Backoff,
    /// After this many ms.
    After(u64),
    /// Never.
    Dead,
}

impl Queue {
    /// Lets tasks in; with a token only one. Errors: `Paused`, `Held`, `FullTokens`, `FullLen`, `FullBytes`,
    /// `FullGroups`, `Exhausted`.
    pub fn push<'a>(&self, now: Now, push: &Push<'a>) -> Result<Event<'a>, Refusal> {
        if self.paused(now.at, Gate::In).is_some() {
            return Err(Refusal::Paused);
        }
        push.options.unique.map_or(Ok(()), |unique| self.may_take(now.at, &unique))?;
        let count = push.payloads.len() as u64;
        if self.settings.limit(Setting::MaxLen).is_some_and(|max| self.len().saturating_add(count) > max) {
            return Err(Refusal::FullLen);
        }
        if let Some(max) = self.settings.limit(Setting::MaxBytes) {
            let added: u64 =
                push.payloads.iter().map(|p| (p.len() + push.options.headers.len()) as u64).sum();
            // What is done gives way: see `make_room`.
            let bytes = self.record_bytes().saturating_sub(self.done_bytes());
            if bytes.saturating_add(added) > max {
                return Err(Refusal::FullBytes);
            }
        }
        if !self.has_room_for_group(push.options.group) {
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

    /// What a push with this token was answered in the last five minutes.
    pub fn recall_push(&self, now: Now, token: &[u8]) -> Option<(TaskId, u32)> {
        self.requests.push(now.at, token)
    }

    /// The leases that a claim with this token got and that are still held; `None` where none is.
    pub fn recall_claim(&self, now: Now, token: &[u8]) -> Option<Vec<Handle>> {
        let handles = self.requests.claim(now.at, token)?;
        let is_held = |handle: &&Handle| self.held(now, handle).is_ok();
        let held: Vec<Handle> = handles.iter().filter(is_held).copied().collect();
        (!held.is_empty()).then_some(held)
    }

    /// Remembers what a request was answered.
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

    /// What a primary says before its first change of a queue; `None` where the term is its own. The lease number is a
    /// fencing token: no primary that was replaced, lives on or starts again gives one that is as high as its successor's.
    pub fn begin_term(&self, now: Now, term: Term) -> Option<Event<'static>> {
        if self.term == term.id {
            return None;
        }
        let (last, clock) = (self.last_lease.0, now.lease_number(CLOCK_NUMBER_MAX));
        let floor = match term.beginning {
            // A queue that nobody has changed yet has nothing to lose.
            Beginning::Start if self.term == 0 && last == 0 => 0,
            Beginning::Start => last.max(clock).saturating_add(RESTART_STEP + term.id % RESTART_STEP),
            // The clock's number is ahead by as much already.
            Beginning::Promotion => last.saturating_add(PROMOTION_STEP).max(clock),
        };
        let most = LeaseNumber::MAX.0;
        Some(Event::Term { term: term.id, floor: LeaseNumber(floor.min(most)), clocks: None })
    }

    /// The last deadline that a lease which began at `claimed_at` can have.
    pub(crate) fn last_deadline(&self, claimed_at: Millis) -> Millis {
        self.settings.limit(Setting::RunMax).map_or(Millis::MAX, |run_max| claimed_at.plus(run_max))
    }

    /// Undoes a lease that never reached its worker; `None` where it isn't held any more.
    /// A task that was to be cancelled is gone after it.
    pub fn unclaim(&self, now: Now, handle: &Handle) -> Option<Event<'static>> {
        let entry = self.find(handle.id)?.entry.filter(|entry| is_leased_by(entry, handle))?;
        Some(match is_cancel_asked(&entry) {
            true => Event::Cancelled { id: handle.id },
            false => Event::Unclaimed { id: handle.id, at: now.at },
        })
    }

    /// Finishes a task, also after its lease was over but before it is claimed again. Errors: `Gone`, `Stale`.
    pub fn ack(&self, now: Now, handle: &Handle) -> Result<Event<'static>, Refusal> {
        self.finish(now, handle, None, None)
    }

    /// An ack that leaves a result, and says how long the task is kept; else its push says, else the queue. Of the
    /// result, no more than [`crate::RESULT_MAX_BYTES`] may be given. Errors: as of [`Queue::ack`].
    pub fn finish<'a>(
        &self,
        now: Now,
        handle: &Handle,
        retain_ms: Option<u64>,
        result: Option<&'a [u8]>,
    ) -> Result<Event<'a>, Refusal> {
        let found = self.find(handle.id).ok_or(Refusal::Gone)?;
        let entry = found.entry();
        let late = match entry.phase {
            Phase::Leased { deadline, .. } => now.is_over(deadline),
            Phase::Done { .. } => return Err(Refusal::Gone),
            _ if entry.stalled => true,
            _ => return Err(Refusal::Stale),
        };
        if !is_last_lease(&entry, handle) {
            return Err(Refusal::Stale);
        }
        let retain_ms = retain_ms.or_else(|| self.retain_ms(&found.record.options)).unwrap_or(0);
        let end = (retain_ms > 0 || result.is_some()).then_some(End { at: now.at, retain_ms, result });
        Ok(Event::Acked { id: handle.id, late, end })
    }

    /// How long a task is kept once it is done, where its ack doesn't say: its push does, else the queue's setting.
    /// `None` where neither says anything.
    pub fn retain_ms(&self, options: &Options<'_>) -> Option<u64> {
        options.retain_ms.or_else(|| Some(self.settings.span_ms(Setting::Retain)).filter(|&ms| ms > 0))
    }

    /// Says that an attempt failed. Errors: `Gone`, `Stale`. A task that was to be cancelled is gone after it.
    pub fn fail<'a>(
        &self,
        now: Now,
        entropy: Entropy,
        handle: &Handle,
        retry: Retry,
        error: &'a [u8],
    ) -> Result<Event<'a>, Refusal> {
        let found = self.held(now, handle)?;
        let entry = found.entry();
        if is_cancel_asked(&entry) {
            return Ok(Event::Cancelled { id: handle.id });
        }
        let failures = u32::from(entry.failures) + 1;
        let limit = match found.record.options.attempts {
            Some(attempts) => u64::try_from(attempts).ok(),
            None => self.settings.limit(Setting::Attempts),
        };
        let is_over = limit.is_some_and(|limit| u64::from(failures) >= limit.min(ATTEMPTS_MAX as u64));
        let then = match retry {
            Retry::Dead => Then::Dead(now.at),
            _ if is_over => Then::Dead(now.at),
            Retry::After(ms) => Then::Delayed(Due::Clock(now.at.plus(ms.max(1)))),
            Retry::Backoff => {
                let delay_ms = backoff::delay_ms(&self.settings, failures, entropy());
                Then::Delayed(Due::Clock(now.at.plus(delay_ms)))
            }
        };
        Ok(Event::Failed { id: handle.id, then, error })
    }

    /// Gives a task back, now or later, to its place or to the back. Errors: `Gone`, `Stale`. A task that was to
    /// be cancelled is gone after it.
    pub fn requeue(
        &self,
        now: Now,
        handle: &Handle,
        delay_ms: Option<u64>,
        back: bool,
    ) -> Result<Event<'static>, Refusal> {
        let found = self.held(now, handle)?;
        if is_cancel_asked(&found.entry()) {
            return Ok(Event::Cancelled { id: handle.id });
        }
        let then = match delay_ms {
            Some(ms) if ms > 0 => Then::Delayed(Due::Clock(now.at.plus(ms))),
            _ => Then::Ready(now.at),
        };
        Ok(Event::Requeued { id: handle.id, then, back })
    }

    /// Keeps a lease for longer, never for shorter, at most to `run-max`. Errors: `Gone`, `Stale`, `CancelAsked`.
    pub fn extend(
        &self,
        now: Now,
        handle: &Handle,
        lease_ms: Option<u32>,
    ) -> Result<Event<'static>, Refusal> {
        self.progress(now, handle, lease_ms, None)
    }

    /// The same, and says how far the worker has come; an empty text takes back what it said. Of it, no more than
    /// [`crate::PROGRESS_MAX_BYTES`] may be given. Errors: as of [`Queue::extend`].
    pub fn progress<'a>(
        &self,
        now: Now,
        handle: &Handle,
        lease_ms: Option<u32>,
        progress: Option<&'a [u8]>,
    ) -> Result<Event<'a>, Refusal> {
        let entry = self.held(now, handle)?.entry();
        let Phase::Leased { deadline, claimed_at, cancel, .. } = entry.phase else {
            return Err(Refusal::Stale);
        };
        if cancel {
            return Err(Refusal::CancelAsked);
        }
        let asked = now.at.plus(u64::from(lease_ms.unwrap_or(entry.lease_ms)).min(LEASE_MAX_MS));
        let deadline = asked.min(self.last_deadline(claimed_at)).max(deadline);
        Ok(Event::Extended { id: handle.id, deadline, progress })
    }

    /// Ends a lease as a stall, whatever its deadline: its connection closed. `None` where it isn't held.
    pub fn abandon(&self, now: Now, entropy: Entropy, id: TaskId) -> Option<Event<'static>> {
        let found = self.find(id)?;
        let entry = found.entry.filter(|entry| matches!(entry.phase, Phase::Leased { .. }))?;
        Some(Event::Stalled { tasks: vec![(id, self.stalled(now, entropy, &entry))] })
    }

    /// The tasks whose leases hang on a connection, at most `limit`.
    pub fn tied_to(&self, holder: u64, limit: usize) -> Vec<TaskId> {
        self.ties.of(holder, limit)
    }

    /// What becomes of a task whose lease ended without an answer; `None` where it was to be cancelled.
    pub(crate) fn stalled(&self, now: Now, entropy: Entropy, entry: &Entry) -> Option<Then> {
        if is_cancel_asked(entry) {
            return None;
        }
        let stalls = u32::from(entry.stalls) + 1;
        let limit = self.settings.limit(Setting::Stalls);
        Some(match stalls {
            _ if limit.is_some_and(|limit| u64::from(stalls) >= limit) => Then::Dead(now.at),
            1 => Then::Ready(now.at),
            _ => {
                let delay_ms = backoff::full_jitter_ms(&self.settings, stalls - 1, entropy());
                Then::Delayed(Due::Clock(now.at.plus(delay_ms)))
            }
        })
    }

    /// Cancels a task: gone, or if a worker has it, marked for the worker to learn. Errors: `Gone` where there is
    /// nothing to cancel.
    pub fn cancel(&self, id: TaskId) -> Result<Event<'static>, Refusal> {
        match self.find(id).ok_or(Refusal::Gone)?.entry().phase {
            Phase::Ready { .. } | Phase::Delayed { .. } => Ok(Event::Cancelled { id }),
            Phase::Leased { .. } => Ok(Event::CancelAsked { id }),
            Phase::Dead { .. } | Phase::Done { .. } => Err(Refusal::Gone),
        }
    }

    /// Makes dead or delayed tasks among `ids` ready, but for those whose token another holds; `None` where none is.
    pub fn retry(&self, now: Now, ids: &[TaskId]) -> Option<Event<'static>> {
        let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
        for &id in ids {
            let Some(found) = self.find(id).filter(|_| !chosen.contains(&id)) else { continue };
            let is_retriable = matches!(found.entry().phase, Phase::Dead { .. } | Phase::Delayed { .. });
            if is_retriable && self.may_retry(now.at, &found, &mut taken) {
                chosen.push(id);
            }
        }
        (!chosen.is_empty()).then_some(Event::Retried { ids: chosen, at: now.at })
    }

    /// Makes the oldest dead tasks ready, at most `count`, but for those whose token another holds; `None` where none
    /// is dead.
    pub fn retry_oldest(&self, now: Now, count: usize) -> Option<Event<'static>> {
        let mut taken = BTreeSet::new();
        let dead = self.dead.iter().take(RETRY_LOOKED_AT).filter_map(|&(_, order)| self.locate(order));
        let dead = dead.filter(|found| self.may_retry(now.at, found, &mut taken));
        let ids: Vec<TaskId> = dead.map(|found| found.record.id).take(count).collect();
        (!ids.is_empty()).then_some(Event::Retried { ids, at: now.at })
    }

    /// The tasks that have been dead for the longest, at most `count`.
    pub(crate) fn oldest_dead(&self, count: usize) -> impl Iterator<Item = TaskId> + '_ {
        self.dead.iter().take(count).filter_map(|&(_, order)| Some(self.locate(order)?.record.id))
    }

    /// The task of a handle that holds it now.
    fn held(&self, now: Now, handle: &Handle) -> Result<Found<'_>, Refusal> {
        let found = self.find(handle.id).ok_or(Refusal::Gone)?;
        match found.entry() {
            entry if is_held(now, &entry, handle) => Ok(found),
            // Kept or not, there is nothing left to work on.
            Entry { phase: Phase::Done { .. }, .. } => Err(Refusal::Gone),
            _ => Err(Refusal::Stale),
        }
    }
}

/// Whether the handle's lease is the task's present one, and isn't over.
fn is_held(now: Now, entry: &Entry, handle: &Handle) -> bool {
    match entry.phase {
        Phase::Leased { deadline, .. } => !now.is_over(deadline) && is_last_lease(entry, handle),
        _ => false,
    }
}

fn is_last_lease(entry: &Entry, handle: &Handle) -> bool {
    entry.lease == handle.lease && entry.nonce == handle.nonce && entry.lease != LeaseNumber(0)
}

fn is_leased_by(entry: &Entry, handle: &Handle) -> bool {
    matches!(entry.phase, Phase::Leased { .. }) && is_last_lease(entry, handle)
}

fn is_cancel_asked(entry: &Entry) -> bool {
    matches!(entry.phase, Phase::Leased { cancel: true, .. })
}
