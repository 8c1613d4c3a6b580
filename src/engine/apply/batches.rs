//! Opening and closing batches, and counting their tasks.

use crate::apply::push::{Held, Start};
use crate::apply::transition::Detached;
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::{BatchNumber, Order};
use crate::state::State;
use crate::store::batches::Ended;
use crate::store::log::Position;
use crate::task::{Options, TaskId};
use crate::time::Millis;

impl State {
    pub(crate) fn apply_batch_opened(
        &mut self,
        name: &[u8],
        id: TaskId,
        held: Held,
        options: &Options,
        payloads: &[&[u8]],
    ) -> Applied {
        ensure(payloads.len() == 1, "one callback")?;
        self.batches.can_open(name)?;
        let order = self.next_order;
        self.add_tasks(id, Start::Held(held), options, payloads)?;
        self.batches.open(name, order, held.at)
    }

    pub(crate) fn apply_batch_closed(&mut self, name: &[u8], at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        self.batches.close(name, at)
    }

    /// The number of the batch of this name, for new tasks. Errors: there is none, or it accepts none.
    pub(crate) fn can_enter_batch(&self, name: &[u8]) -> Result<BatchNumber, Invalid> {
        if name.is_empty() {
            return Ok(BatchNumber::NONE);
        }
        let number = self.batches.find(name).ok_or(Invalid("a batch"))?;
        // An ACK that pushes into its own task's batch comes first, so the batch may be complete for a moment.
        ensure(self.batches.get(number).is_some_and(|batch| !batch.is_over), "a batch that is not over")?;
        Ok(number)
    }

    /// Notes the end of a task for its batch and for those that wait for it. Called once for each task, when it is done
    /// or dead, or right before it is removed in another way.
    pub(crate) fn ends(&mut self, task: &Detached, how: Ended) {
        if self.batches.is_empty() && self.dependents.is_empty() {
            return;
        }
        let Some((id, batch)) = self.id_and_batch(task.position) else { return };
        if !batch.is_none() {
            self.batches.end(batch, how);
        }
        self.dependents.end(id, how == Ended::Done);
    }

    /// Takes back the end of a dead task, which lives again or ends otherwise.
    pub(crate) fn revives(&mut self, position: Position) {
        if self.batches.is_empty() && self.dependents.is_empty() {
            return;
        }
        let Some((id, batch)) = self.id_and_batch(position) else { return };
        if !batch.is_none() {
            self.batches.revive(batch);
        }
        self.dependents.revive(id);
    }

    /// Forgets what a task that is removed waited for, and the batch whose callback it was.
    pub(crate) fn forget_waits(&mut self, order: Order) {
        if !self.batches.is_empty() {
            self.batches.forget(order);
        }
        if !self.dependents.is_empty() {
            self.dependents.remove(order);
        }
    }

    fn id_and_batch(&self, position: Position) -> Option<(TaskId, BatchNumber)> {
        self.log.record(position).map(|record| (record.id, record.batch))
    }
}
