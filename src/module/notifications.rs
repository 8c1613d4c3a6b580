//! What subscribers of keyspace events are told: class `d` (of modules), off unless `notify-keyspace-events` has it.
//!
//! One event for each kind of thing that a write did to tasks of a queue, however many: who listens looks at the
//! queue then. The names have the type's before them, as those of other modules have, and because the server's own
//! `expired` says that a key has gone. A replica tells them too, of what its primary did.

use std::ffi::CStr;

use taskslot_engine::Kinds;

use taskslot_api::context::notifies;
use taskslot_api::{Arg, Context};

/// Each kind with its name, in the order in which they are told: what happened before what came of it.
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

/// The kinds of what a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications(Kinds);

impl Notifications {
    /// Adds what an event did.
    #[inline]
    pub fn add(&mut self, kinds: Kinds) {
        self.0 = self.0.and(kinds);
    }

    /// Tells who listens. The key is closed by now, and no value borrowed: other modules may listen, too.
    #[inline]
    pub fn send(self, ctx: Context<'_>, key: Arg<'_>) {
        if !self.0.is_empty() && notifies() {
            let kinds = NAMES.iter().filter(|(kind, _)| self.0.has(*kind));
            kinds.for_each(|(_, name)| ctx.notify(name, key));
        }
    }
}
