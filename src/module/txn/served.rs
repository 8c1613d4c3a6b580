//! Who was served in a write, and how much of it is enough.

use crate::waiters::BlockedWorker;
use taskslot_api::blocked::Waiter;

/// Tasks that one write gives to waiting workers, about: the others' turn comes with the next round of the server.
const TASKS_MAX: usize = 250;
/// Payloads that one write gives to waiting workers, in bytes, about: each is copied for its worker and once more for the
/// reply.
const BYTES_MAX: usize = 16 << 20;

/// Who was served in a write.
#[derive(Default)]
pub(super) struct Served {
    /// They are woken when the key is closed.
    pub(super) waiters: Vec<Waiter<BlockedWorker>>,
    /// How many tasks they were given, and how many bytes of payloads.
    pub(super) tasks: usize,
    pub(super) bytes: usize,
}

impl Served {
    /// Whether the others' turn comes later.
    pub(super) fn is_enough(&self) -> bool {
        self.tasks >= TASKS_MAX || self.bytes >= BYTES_MAX
    }
}
