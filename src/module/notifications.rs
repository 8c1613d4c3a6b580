//! Keyspace events for subscribers. They are of class `d` (modules), which is off unless `notify-keyspace-events` has it.
//!
//! A write sends one event for each kind of change to the tasks of a queue, however many tasks it concerns. A subscriber then
//! looks at the queue. The names begin with `task.`, as other modules do with their types, and because the server's own
//! `expired` means that a key has expired. Replicas send the events too.

use std::ffi::CStr;

use taskslot_engine::Kinds;

use taskslot_api::context::notifies;
use taskslot_api::{Arg, Context};

/// Each kind with its name, in the order in which they are sent: causes before their consequences.
const NAMES: [(Kinds, &CStr); 10] = [
    (Kinds::PUSHED, c"task.pushed"),
    (Kinds::FAILED, c"task.failed"),
    (Kinds::REQUEUED, c"task.requeued"),
    (Kinds::STALLED, c"task.stalled"),
    (Kinds::READY, c"task.ready"),
    (Kinds::CLAIMED, c"task.claimed"),
    (Kinds::ACKED, c"task.acked"),
    (Kinds::DEAD, c"task.dead"),
    (Kinds::EXPIRED, c"task.expired"),
    (Kinds::CANCELLED, c"task.cancelled"),
];

/// The kinds of changes that a write made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications(Kinds);

impl Notifications {
    /// Adds the kinds of changes of an event.
    #[inline]
    pub fn add(&mut self, kinds: Kinds) {
        self.0 = self.0.and(kinds);
    }

    /// Sends the events. The key must be closed and no value borrowed, because other modules can listen and call us.
    #[inline]
    pub fn send(self, ctx: Context<'_>, key: Arg<'_>) {
        if !self.0.is_empty() && notifies() {
            let kinds = NAMES.iter().filter(|(kind, _)| self.0.has(*kind));
            kinds.for_each(|(_, name)| ctx.notify(name, key));
        }
    }
}
