//! Delayed tasks that become ready, and dead, delayed or held tasks that are retried.

use crate::invalid::{Applied, Invalid, ensure};
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::Millis;

impl State {
    pub(crate) fn apply_became_ready(&mut self, id: TaskId, at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        self.can_draw()?;
        let task = self.detach(id, |phase| matches!(phase, Phase::Delayed { .. }))?;
        let Phase::Delayed { due } = task.entry.phase else {
            return Err(Invalid("a delayed task"));
        };
        let since = self.ready_since(task.position, due, at);
        self.attach_at_back(task, since)
    }

    pub(crate) fn apply_retried(&mut self, id: TaskId, at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        self.can_draw()?;
        let found = self.find(id).ok_or(Invalid("a living task"))?;
        let (position, entry) = (found.position, found.entry());
        if matches!(entry.phase, Phase::Dead { .. }) {
            self.take_again(at, position, &entry)?;
        }
        let mut task = self.detach(id, |phase| {
            matches!(phase, Phase::Delayed { .. } | Phase::Held { .. } | Phase::Dead { .. })
        })?;
        if matches!(task.entry.phase, Phase::Dead { .. }) {
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
