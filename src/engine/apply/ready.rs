//! Delayed tasks that become ready, and dead, delayed or held tasks that are retried.

use crate::invalid::{Applied, Invalid};
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::Millis;

impl State {
    pub(crate) fn apply_became_ready(&mut self, id: TaskId, at: Millis) -> Applied {
        let task = self.detach(id, |phase| matches!(phase, Phase::Delayed { .. }))?;
        let Phase::Delayed { due } = task.entry.phase else {
            return Err(Invalid("a delayed task"));
        };
        let since = self.ready_since(task.position, due, at);
        self.attach_at_back(task, since)
    }

    pub(crate) fn apply_retried(&mut self, id: TaskId, at: Millis) -> Applied {
        let mut task = self.detach(id, |phase| {
            matches!(phase, Phase::Delayed { .. } | Phase::Held { .. } | Phase::Dead { .. })
        })?;
        if matches!(task.entry.phase, Phase::Dead { .. }) {
            self.take_again(at, task.position, &task.entry)?;
            task.entry.failures = 0;
            task.entry.stalls = 0;
            self.attempts.forget(task.order);
        }
        if let Phase::Held { .. } = task.entry.phase {
            self.release(&task);
        }
        self.totals.retried += 1;
        self.attach_at_back(task, at)
    }
}
