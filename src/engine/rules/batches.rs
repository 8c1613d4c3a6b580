//! Batches: what one accepts, and when its callback becomes ready.

use crate::bounds::STEP_TASKS;
use crate::event::{Event, Release};
use crate::numbers::BatchNumber;
use crate::request::{Push, Refusal};
use crate::state::State;
use crate::store::batches::{BATCHES_MAX, Batch};
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::{Now, When};

impl State {
    /// Opens a batch. The push is that of its callback, which becomes ready as `when` says once the batch is closed and
    /// all of its tasks have ended. `None` if a batch of this name exists. Errors: those of a push, and `FullBatches`.
    pub fn open_batch<'a>(
        &self,
        now: Now,
        name: &'a [u8],
        when: When,
        push: &Push<'a>,
    ) -> Result<Option<Event<'a>>, Refusal> {
        if self.batches.find(name).is_some() {
            return Ok(None);
        }
        if self.batches.len() >= BATCHES_MAX {
            return Err(Refusal::FullBatches);
        }
        if self.batches.last >= BatchNumber::MAX {
            return Err(Refusal::Exhausted);
        }
        let Event::Pushed { first: id, options, payloads, .. } = self.push(now, push)? else {
            return Ok(None);
        };
        Ok(Some(Event::BatchOpened {
            name,
            id,
            at: now.at,
            when: when.bounded(),
            options: Box::new(options),
            payloads,
        }))
    }

    /// Closes a batch: its callback becomes ready once all of its tasks have ended. `None` if it is closed. Errors:
    /// `UnknownBatch`.
    pub fn close_batch<'a>(&self, now: Now, name: &'a [u8]) -> Result<Option<Event<'a>>, Refusal> {
        let batch = self.batches.named(name).ok_or(Refusal::UnknownBatch)?;
        Ok(batch.closed_at.is_none().then_some(Event::BatchClosed { name, at: now.at }))
    }

    /// Removes a batch with its callback. Its tasks live on and count nowhere. A callback that is leased is cancelled,
    /// and the batch is removed when it ends. `None` if there is no such batch, or that was done before.
    pub fn delete_batch(&self, name: &[u8]) -> Option<Event<'static>> {
        let found = self.locate(self.batches.named(name)?.callback)?;
        let id = found.record.id;
        match found.entry().phase {
            Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. } => Some(Event::Cancelled { id }),
            Phase::Leased { cancel, .. } => (!cancel).then_some(Event::CancelAsked { id }),
            Phase::Dead { .. } => Some(Event::Purged { ids: vec![id] }),
            Phase::Done { .. } => Some(Event::Forgotten { ids: vec![id] }),
        }
    }

    /// Checks that a task can be pushed into the batch of this name; empty for none. Errors: `UnknownBatch`,
    /// `ClosedBatch`.
    pub(crate) fn may_enter_batch(&self, name: &[u8]) -> Result<(), Refusal> {
        if name.is_empty() {
            return Ok(());
        }
        match self.batches.named(name) {
            None => Err(Refusal::UnknownBatch),
            Some(batch) if batch.accepts() => Ok(()),
            Some(_) => Err(Refusal::ClosedBatch),
        }
    }

    /// Lets the callbacks of complete batches go; a bounded number.
    pub(crate) fn complete_batches(&self, now: Now) -> Option<Event<'static>> {
        if !self.batches.has_complete() {
            return None;
        }
        let release = |batch: &Batch| self.release_of(&now, batch.callback);
        let tasks: Vec<(TaskId, Release)> =
            self.batches.complete().take(STEP_TASKS).filter_map(release).collect();
        (!tasks.is_empty()).then_some(Event::Told { parent: None, at: now.at, tasks })
    }
}
