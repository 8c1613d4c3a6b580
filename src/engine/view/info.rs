//! What is shown of a queue as a whole.

use crate::queue::Queue;
use crate::state::State;
use crate::store::stats::{Figures, Times};
use crate::time::Millis;

impl State {
    /// The bytes of the queue that users see: all tasks and all remembered requests. Requests don't count towards
    /// `max-bytes`: they have a bound of their own, and a full queue would otherwise have to wait for them to be
    /// forgotten.
    pub fn bytes(&self) -> u64 {
        self.record_bytes() + self.requests.bytes()
    }

    /// Bytes of remembered requests.
    pub fn request_bytes(&self) -> u64 {
        self.requests.bytes()
    }

    /// Bytes taken from the allocator: exact for the tasks, estimated for the smaller tables.
    pub fn memory(&self) -> usize {
        size_of::<Queue>()
            + self.log.memory()
            + self.lanes.memory()
            + self.groups.memory()
            + self.workers.memory()
            + self.requests.memory()
            + self.local.ties.memory()
            + self.local.stats.memory()
            + self.schedules.memory()
            + if self.is_plain() { 0 } else { self.memory_of_few() }
    }

    fn memory_of_few(&self) -> usize {
        self.delayed.memory()
            + self.done.memory()
            + (self.dead.len() + self.held.len()) * 24
            + self.errors.memory()
            + self.attempts.memory()
            + self.results.memory()
            + self.progress.memory()
            + self.tokens.memory()
            + self.edits.memory()
            + self.expiry.memory()
            + self.batches.memory()
            + self.dependents.memory()
    }

    /// How many blocks freeing the queue releases, approximately. It decides whether the queue is freed in the
    /// background.
    pub fn free_effort(&self) -> usize {
        let sets = self.dead.len() + self.expiry.len() + self.held.len();
        let indexed = self.delayed.len() + self.done.len() + (sets + self.dependents.waits()) as u64;
        let texts = self.errors.len() + self.attempts.len() + self.results.len() + self.progress.len();
        let named = self.tokens.len() + self.edits.len() + self.schedules.len() + self.groups.len();
        let related = self.batches.len() + self.dependents.len();
        self.log.pages() + indexed as usize / 8 + texts + named + related
    }

    /// Recent rates, waiting times and run times, as far as this node has observed them.
    pub fn figures(&self, now: Millis) -> Figures {
        self.local.stats.figures(now)
    }

    /// All waiting and run times since this node began to watch the queue; `None` if it has seen no task yet.
    pub fn times(&self) -> Option<&Times> {
        self.local.stats.times()
    }
}
