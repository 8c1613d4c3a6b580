//! The queue that COPY creates.

use crate::apply::transition::is_leased;
use crate::invalid::Invalid;
use crate::state::{Local, State};
use crate::store::batches::Ended;
use crate::store::effect_count::EffectCount;
use crate::store::entry::{Entry, Phase};
use crate::store::schedules::Schedules;
use crate::task::TaskId;

impl State {
    /// A copy of the queue in which no task is leased and no schedule is set. A leased task is ready in the copy, at
    /// its old position in the order, or removed if it was to be cancelled. The copy depends on the queue alone, so a
    /// replica makes the same one.
    pub(crate) fn copied(&self) -> Result<State, Invalid> {
        let mut copy = State { local: Local::default(), effects: EffectCount::default(), ..self.clone() };
        // A schedule in two queues would make every run twice.
        copy.schedules = Schedules::of(self.schedules.zones());
        // A late ACK is only accepted in the queue that gave the lease.
        for (position, entry) in self.log.entries().filter(|(_, entry)| entry.stalled) {
            copy.log.set_entry(position, &Entry { stalled: false, ..entry }, None);
        }
        let leased = self.log.entries().filter(|(_, entry)| is_leased(&entry.phase));
        let ids: Vec<TaskId> =
            leased.filter_map(|(position, _)| Some(self.log.record(position)?.id)).collect();
        for id in ids {
            let mut task = copy.detach(id, is_leased)?;
            if let Phase::Leased { cancel: true, .. } = task.entry.phase {
                copy.totals.cancelled += 1;
                copy.ends(&task, Ended::Cancelled);
                copy.remove(&task)?;
                continue;
            }
            if let Phase::Leased { claimed_at, .. } = task.entry.phase {
                task.entry.phase = Phase::Ready { since: claimed_at };
            }
            copy.attach(&task)?;
        }
        Ok(copy)
    }
}
