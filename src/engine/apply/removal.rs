//! Removing tasks, other than by an ACK; also marking leased tasks that are to be cancelled.

use crate::apply::transition::is_leased;
use crate::invalid::{Applied, Invalid, ensure};
use crate::state::State;
use crate::store::batches::Ended;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::Millis;

impl State {
    pub(crate) fn apply_taken(&mut self, id: TaskId, at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        let task = self.detach(id, |phase| matches!(phase, Phase::Ready { .. }))?;
        self.spend(task.key, at);
        self.totals.claimed += 1;
        self.totals.acked += 1;
        if let Phase::Ready { since } = task.entry.phase {
            self.local.stats.taken(since);
        }
        self.ends(&task, Ended::Done);
        self.remove(&task)
    }

    pub(crate) fn apply_cancelled(&mut self, id: TaskId) -> Applied {
        let task = self.detach(id, |phase| !matches!(phase, Phase::Dead { .. } | Phase::Done { .. }))?;
        self.totals.cancelled += 1;
        self.ends(&task, Ended::Cancelled);
        self.remove(&task)
    }

    pub(crate) fn apply_cancel_asked(&mut self, id: TaskId) -> Applied {
        let found = self.find(id).ok_or(Invalid("a task to cancel"))?;
        let (position, mut entry) = (found.position, found.entry());
        let Phase::Leased { cancel, .. } = &mut entry.phase else {
            return Err(Invalid("a leased task to cancel"));
        };
        *cancel = true;
        self.log.set_entry(position, &entry, None);
        Ok(())
    }

    pub(crate) fn apply_dropped(&mut self, id: TaskId) -> Applied {
        let task = self.detach(id, |phase| matches!(phase, Phase::Dead { .. }))?;
        self.totals.dropped += 1;
        self.ends(&task, Ended::Dead);
        self.remove(&task)
    }

    pub(crate) fn apply_forgotten(&mut self, id: TaskId) -> Applied {
        let task = self.detach(id, |phase| matches!(phase, Phase::Done { .. }))?;
        self.totals.forgotten += 1;
        self.remove(&task)
    }

    pub(crate) fn apply_purged(&mut self, id: TaskId) -> Applied {
        let is_waiting = |phase: &Phase| !is_leased(phase) && !matches!(phase, Phase::Done { .. });
        let task = self.detach(id, is_waiting)?;
        self.totals.purged += 1;
        let is_dead = matches!(task.entry.phase, Phase::Dead { .. });
        self.ends(&task, if is_dead { Ended::Dead } else { Ended::Purged });
        self.remove(&task)
    }

    pub(crate) fn apply_expired(&mut self, id: TaskId, at: Millis) -> Applied {
        self.check_expired(at, id)?;
        let task = self.detach(id, |phase| matches!(phase, Phase::Ready { .. }))?;
        self.totals.expired += 1;
        self.ends(&task, Ended::Expired);
        self.remove(&task)
    }
}
