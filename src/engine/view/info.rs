//! What is shown of a queue as a whole.

use crate::queue::Queue;
use crate::state::State;
use crate::store::stats::Figures;
use crate::time::Millis;

impl State {
    /// Bytes of all tasks, and of what is remembered of requests: what users see as the queue's bytes. What is remembered
    /// doesn't count for `max-bytes`, since it is bounded by itself and a full queue would have to wait for its end.
    pub fn bytes(&self) -> u64 {
        self.record_bytes() + self.requests.bytes()
    }

    /// Bytes that are remembered of requests.
    pub fn request_bytes(&self) -> u64 {
        self.requests.bytes()
    }

    /// Bytes taken from the allocator: exact for the tasks, estimated for what is small beside them.
    pub fn memory(&self) -> usize {
        size_of::<Queue>()
            + self.log.memory()
            + self.lanes.memory()
            + self.groups.memory()
            + self.delayed.memory()
            + self.dead.len() * 24
            + self.errors.memory()
            + self.done.memory()
            + self.results.memory()
            + self.progress.memory()
            + self.workers.memory()
            + self.requests.memory()
            + self.local.ties.memory()
            + self.local.stats.memory()
            + self.schedules.memory()
            + self.tokens.memory()
            + self.bodies.memory()
            + self.expiry.memory()
    }

    /// Blocks that freeing the queue gives back, about: what decides whether it is freed in the background.
    pub fn free_effort(&self) -> usize {
        let indexed = self.delayed.len() + self.done.len() + (self.dead.len() + self.expiry.len()) as u64;
        let texts = self.errors.len() + self.results.len() + self.progress.len();
        let named = self.tokens.len() + self.bodies.len() + self.schedules.len() + self.groups.len();
        self.log.pages() + indexed as usize / 8 + texts + named
    }

    /// How fast tasks come and go lately, and how long they wait and run, as far as this node knows.
    pub fn figures(&self, now: Millis) -> Figures {
        self.local.stats.figures(now)
    }
}
