//! The workers that a write has served, and when it has served enough.

use crate::waiters::{BlockedWorker, SERVED_AT_ONCE};
use taskslot_api::blocked::Waiter;
use taskslot_edges::edge;

/// About the most tasks that one write gives to waiting workers. The rest follows in the next round of the event loop.
const TASKS_MAX: usize = edge(250, 2);
/// About the most bytes of payloads that one write gives to waiting workers. Each payload is copied for its worker, and
/// once more for the reply.
const BYTES_MAX: usize = edge(16 << 20, 64);

/// The workers that a write has served.
#[derive(Default)]
pub(super) struct Served {
    /// They are woken once the key is closed.
    pub(super) waiters: Vec<Waiter<BlockedWorker>>,
    /// The number of tasks that they were given. Checks of permissions count as tasks.
    pub(super) tasks: usize,
    /// The bytes of these tasks.
    pub(super) bytes: usize,
    /// Whether the others are served by a job.
    pub(super) has_put_off: bool,
}

impl Served {
    /// Whether other workers have to wait for the next round.
    pub(super) fn is_enough(&self) -> bool {
        self.waiters.len() >= SERVED_AT_ONCE || self.tasks >= TASKS_MAX || self.bytes >= BYTES_MAX
    }
}
