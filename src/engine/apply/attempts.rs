//! What is noted of an attempt as it ends: its error and its progress, and of the last one who made it and when.

use crate::bounds::{ERROR_MAX_BYTES, PROGRESS_MAX_BYTES};
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::{Order, WorkerNumber};
use crate::settings::Setting;
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::last_attempt::LastAttempt;
use crate::store::task_errors::{TaskError, TaskErrors};
use crate::task::TaskId;
use crate::time::Millis;

/// An attempt whose lease is about to end. It must be noted before the lease ends, since that can be the last use of
/// the worker's name.
pub(crate) struct Attempt {
    order: Order,
    number: u32,
    claimed_at: Millis,
    worker: WorkerNumber,
}

impl State {
    /// The present attempt on a task. Errors: it isn't leased.
    pub(crate) fn attempt(&self, id: TaskId) -> Result<Attempt, Invalid> {
        let found = self.find(id).ok_or(Invalid("a living task"))?;
        let (order, entry) = (found.order, found.entry());
        let Phase::Leased { claimed_at, worker, .. } = entry.phase else {
            return Err(Invalid("a leased task"));
        };
        Ok(Attempt { order, number: entry.deliveries, claimed_at, worker })
    }

    /// Adds the error of an attempt to those of its task. Without a text it takes the place of an older error, but adds
    /// nothing to a task without errors.
    pub(crate) fn note_error(&mut self, attempt: &Attempt, at: Millis, text: &[u8]) {
        let before = TaskErrors::stored(self.errors.get(attempt.order).unwrap_or_default());
        if text.is_empty() && before.is_empty() {
            return;
        }
        let text = text.get(..ERROR_MAX_BYTES).unwrap_or(text);
        let worker = self.workers.name(attempt.worker);
        let error = TaskError { attempt: attempt.number, at, worker, text };
        match before.and(&error, self.errors_kept()) {
            Some(errors) => _ = self.errors.set(attempt.order, errors),
            None => self.errors.forget(attempt.order),
        }
    }

    /// How many errors of a task are kept: the setting `errors-kept`.
    pub(crate) fn errors_kept(&self) -> usize {
        usize::try_from(self.settings.span_ms(Setting::ErrorsKept)).unwrap_or(1)
    }

    /// Notes the last attempt of a task that is about to be dead or done. Errors: the instant is out of bounds.
    pub(crate) fn note_last(&mut self, attempt: &Attempt, ended_at: Millis) -> Applied {
        ensure(ended_at <= Millis::MAX, "an instant")?;
        let Attempt { order, claimed_at, worker, .. } = *attempt;
        let (run_ms, worker) = (ended_at.since(claimed_at), self.workers.name(worker));
        self.attempts.set(order, LastAttempt { claimed_at, run_ms, worker }.stored());
        Ok(())
    }

    /// Notes the last attempt of a task that is about to be done. After a late ACK it is not known any more, unless the
    /// task is still leased or died of the stall.
    pub(crate) fn note_ack(&mut self, id: TaskId, at: Millis) -> Applied {
        if let Ok(attempt) = self.attempt(id) {
            return self.note_last(&attempt, at);
        }
        let order = self.find(id).map(|found| found.order);
        let last = order.and_then(|order| Some((order, LastAttempt::read(self.attempts.get(order)?)?)));
        if let Some((order, last)) = last {
            let stored = LastAttempt { run_ms: at.since(last.claimed_at), ..last }.stored();
            self.attempts.set(order, stored);
        }
        Ok(())
    }

    /// Notes what a worker said about how far a task has got. Empty removes it, `None` leaves it.
    pub(crate) fn note_progress(&mut self, order: Order, progress: Option<&[u8]>) {
        match progress {
            None => {}
            Some([]) => self.progress.forget(order),
            Some(text) => _ = self.progress.set(order, text),
        }
    }
}

/// Checks the length of a progress.
pub(crate) fn check_progress(progress: Option<&[u8]>) -> Applied {
    ensure(progress.is_none_or(|text| text.len() <= PROGRESS_MAX_BYTES), "the length of a progress")
}
