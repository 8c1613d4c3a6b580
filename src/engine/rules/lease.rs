//! A lease, from its worker's answer to its end: acked, failed, given back, kept for longer, or stalled.

use crate::bounds::{ATTEMPTS_MAX, LEASE_MAX_MS};
use crate::event::{End, Event, Then};
use crate::request::{Entropy, Refusal, Retry};
use crate::rules::backoff;
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::entry::{Entry, Phase};
use crate::task::{Handle, LeaseNumber, Options, TaskId};
use crate::time::{Due, Millis, Now};

impl State {
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
    /// result, no more than [`crate::RESULT_MAX_BYTES`] may be given. Errors: as of [`State::ack`].
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
    /// [`crate::PROGRESS_MAX_BYTES`] may be given. Errors: as of [`State::extend`].
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
        self.local.ties.of(holder, limit)
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

    /// The task of a handle that holds it now.
    pub(crate) fn held(&self, now: Now, handle: &Handle) -> Result<Found<'_>, Refusal> {
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
