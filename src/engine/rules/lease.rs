//! What can happen to a lease: ACK, FAIL, REQUEUE, EXTEND, a stall, or a hand-off that is undone.

use crate::bounds::{ATTEMPTS_MAX, LEASE_MAX_MS};
use crate::event::{End, Event, Then};
use crate::request::{Entropy, Refusal, Retry};
use crate::rules::backoff;
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::entry::{Entry, Phase};
use crate::store::record::Record;
use crate::task::{Handle, LeaseNumber, TaskId};
use crate::time::{Due, Millis, Now};

impl State {
    /// The last deadline that a lease which began at `claimed_at` can have, because of `run-max`.
    pub(crate) fn last_deadline(&self, claimed_at: Millis) -> Millis {
        self.settings.limit(Setting::RunMax).map_or(Millis::MAX, |run_max| claimed_at.plus(run_max))
    }

    /// Undoes a lease that never reached its worker. `None` if the handle's lease is over. If the task was to be
    /// cancelled, it is removed instead.
    pub fn unclaim(&self, now: Now, handle: &Handle) -> Option<Event<'static>> {
        let entry = self.find(handle.id)?.entry.filter(|entry| is_leased_by(entry, handle))?;
        Some(match is_cancel_asked(&entry) {
            true => Event::Cancelled { id: handle.id },
            false => Event::Unclaimed { id: handle.id, at: now.at },
        })
    }

    /// Finishes a task. A late ACK is accepted until the task is claimed again. Errors: `Gone`, `Stale`.
    pub fn ack(&self, now: Now, handle: &Handle) -> Result<Event<'static>, Refusal> {
        self.finish(now, handle, None, None)
    }

    /// Like [`State::ack`], with a result and a retention. Without `retain_ms` the push's applies, otherwise the
    /// queue's. The result must not exceed [`crate::RESULT_MAX_BYTES`]. Errors: `Gone`, `Stale`.
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
        let retain_ms = retain_ms.or_else(|| self.retains_ms(&found.record)).unwrap_or(0);
        let end = (retain_ms > 0 || result.is_some()).then_some(End { at: now.at, retain_ms, result });
        Ok(Event::Acked { id: handle.id, late, end })
    }

    /// How long a task is retained once it is done, if its ACK doesn't say: as its push said, or as the queue's setting
    /// says. `None` if it isn't retained.
    pub(crate) fn retains_ms(&self, record: &Record) -> Option<u64> {
        let own = if record.is_plain() { None } else { record.options().retain_ms };
        own.or_else(|| Some(self.settings.span_ms(Setting::Retain)).filter(|&ms| ms > 0))
    }

    /// Fails an attempt. A task that was to be cancelled is removed instead. Errors: `Gone`, `Stale`.
    pub fn fail<'a>(
        &self,
        now: Now,
        entropy: Entropy,
        handle: &Handle,
        retry: Retry,
        error: &'a [u8],
    ) -> Result<Event<'a>, Refusal> {
        self.fail_at(now, entropy, handle, retry, error, None)
    }

    /// Like [`State::fail`], with how far the task has got: see [`State::progress`].
    pub fn fail_at<'a>(
        &self,
        now: Now,
        entropy: Entropy,
        handle: &Handle,
        retry: Retry,
        error: &'a [u8],
        progress: Option<&'a [u8]>,
    ) -> Result<Event<'a>, Refusal> {
        let found = self.with_lease(now, handle)?;
        let entry = found.entry();
        if is_cancel_asked(&entry) {
            return Ok(Event::Cancelled { id: handle.id });
        }
        let failures = u32::from(entry.failures) + 1;
        let limit = match found.record.options().attempts {
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
        Ok(Event::Failed { id: handle.id, then, error, at: now.at, progress })
    }

    /// Gives a task back, now or later, at its old position in the order or at the back. A task that was to be
    /// cancelled is removed instead. Errors: `Gone`, `Stale`.
    pub fn requeue(
        &self,
        now: Now,
        handle: &Handle,
        delay_ms: Option<u64>,
        back: bool,
    ) -> Result<Event<'static>, Refusal> {
        self.requeue_at(now, handle, delay_ms, back, None)
    }

    /// Like [`State::requeue`], with how far the task has got: see [`State::progress`].
    pub fn requeue_at<'a>(
        &self,
        now: Now,
        handle: &Handle,
        delay_ms: Option<u64>,
        back: bool,
        progress: Option<&'a [u8]>,
    ) -> Result<Event<'a>, Refusal> {
        let found = self.with_lease(now, handle)?;
        if is_cancel_asked(&found.entry()) {
            return Ok(Event::Cancelled { id: handle.id });
        }
        let then = match delay_ms {
            Some(ms) if ms > 0 => Then::Delayed(Due::Clock(now.at.plus(ms))),
            _ => Then::Ready(now.at),
        };
        Ok(Event::Requeued { id: handle.id, then, back, progress })
    }

    /// Extends a lease up to `run-max`; never shortens it. Errors: `Gone`, `Stale`, `CancelAsked`.
    pub fn extend(
        &self,
        now: Now,
        handle: &Handle,
        lease_ms: Option<u32>,
    ) -> Result<Event<'static>, Refusal> {
        self.progress(now, handle, lease_ms, None)
    }

    /// Like [`State::extend`], with the worker's progress. An empty text removes it, `None` leaves it. It must not
    /// exceed [`crate::PROGRESS_MAX_BYTES`]. Errors: `Gone`, `Stale`, `CancelAsked`.
    pub fn progress<'a>(
        &self,
        now: Now,
        handle: &Handle,
        lease_ms: Option<u32>,
        progress: Option<&'a [u8]>,
    ) -> Result<Event<'a>, Refusal> {
        let entry = self.with_lease(now, handle)?.entry();
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

    /// Ends a lease as a stall before its deadline, because its connection closed. `None` if the task isn't leased.
    pub fn abandon(&self, now: Now, entropy: Entropy, id: TaskId) -> Option<Event<'static>> {
        let found = self.find(id)?;
        let entry = found.entry.filter(|entry| matches!(entry.phase, Phase::Leased { .. }))?;
        Some(Event::Stalled { tasks: vec![(id, self.stalled(now, entropy, &entry))] })
    }

    /// Tasks whose leases are tied to a connection, at most `limit`.
    pub fn tied_to(&self, holder: u64, limit: usize) -> Vec<TaskId> {
        self.local.ties.of(holder, limit)
    }

    /// What becomes of a task whose lease ended without an answer; `None` if it was to be cancelled and is removed.
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

    /// The task of a handle whose lease is current. Errors: `Gone` if there is nothing left to work on, otherwise
    /// `Stale`.
    pub(crate) fn with_lease(&self, now: Now, handle: &Handle) -> Result<Found<'_>, Refusal> {
        let found = self.find(handle.id).ok_or(Refusal::Gone)?;
        match found.entry() {
            entry if has_lease(now, &entry, handle) => Ok(found),
            // Retained or not, there is nothing left to work on.
            Entry { phase: Phase::Done { .. }, .. } => Err(Refusal::Gone),
            _ => Err(Refusal::Stale),
        }
    }
}

/// Whether the handle's lease is the task's current one and has not ended.
fn has_lease(now: Now, entry: &Entry, handle: &Handle) -> bool {
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
