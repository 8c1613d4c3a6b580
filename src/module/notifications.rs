//! What subscribers of keyspace events are told: class `d` (of modules), off unless `notify-keyspace-events` has it.
//!
//! One event for each kind of thing that a write did to tasks of a queue, however many: who listens looks at the
//! queue then. The names have the type's before them, as those of other modules have, and because the server's own
//! `expired` says that a key has gone. A replica tells them too, of what its primary did.

use std::ffi::CStr;

use taskslot_engine::{Event, Then};

use crate::api::context::notifies;
use crate::api::{Arg, Context};

/// Each kind with its name, in the order in which they are told: what happened before what came of it.
const KINDS: [(u16, &CStr); 10] = [
    (PUSHED, c"task.pushed"),
    (FAILED, c"task.failed"),
    (REQUEUED, c"task.requeued"),
    (STALLED, c"task.stalled"),
    (READY, c"task.ready"),
    (CLAIMED, c"task.claimed"),
    (ACKED, c"task.acked"),
    (DEAD, c"task.dead"),
    (EXPIRED, c"task.expired"),
    (CANCELLED, c"task.cancelled"),
];

const PUSHED: u16 = 1;
const READY: u16 = 1 << 1;
const CLAIMED: u16 = 1 << 2;
const ACKED: u16 = 1 << 3;
const FAILED: u16 = 1 << 4;
const REQUEUED: u16 = 1 << 5;
const STALLED: u16 = 1 << 6;
const DEAD: u16 = 1 << 7;
const EXPIRED: u16 = 1 << 8;
const CANCELLED: u16 = 1 << 9;

/// The kinds of what a write did, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications(u16);

impl Notifications {
    /// Adds what an event did.
    #[inline]
    pub fn add(&mut self, event: &Event) {
        self.0 |= kinds(event);
    }

    /// Tells who listens. The key is closed by now, and no value borrowed: other modules may listen, too.
    #[inline]
    pub fn send(self, ctx: Context<'_>, key: Arg<'_>) {
        if self.0 != 0 && notifies() {
            let told = KINDS.iter().filter(|(kind, _)| self.0 & kind != 0);
            told.for_each(|(_, name)| ctx.notify(name, key));
        }
    }
}

/// What an event did. "Ready" is whatever can be claimed from now on, also a task that was just pushed.
#[inline]
fn kinds(event: &Event) -> u16 {
    match event {
        Event::Pushed { due: None, .. } => PUSHED | READY,
        Event::Pushed { .. } => PUSHED,
        Event::Claimed { .. } => CLAIMED,
        Event::Taken { .. } => CLAIMED | ACKED,
        Event::Acked { .. } => ACKED,
        Event::Failed { then, .. } => FAILED | becomes(Some(then)),
        Event::Requeued { then, .. } => REQUEUED | becomes(Some(then)),
        Event::Stalled { tasks } => {
            tasks.iter().fold(STALLED, |kinds, (_, then)| kinds | becomes(then.as_ref()))
        }
        Event::Unclaimed { .. } | Event::BecameReady { .. } | Event::Retried { .. } => READY,
        Event::Cancelled { .. } => CANCELLED,
        Event::Expired { .. } => EXPIRED,
        Event::Fired { .. } => PUSHED | READY,
        _ => 0,
    }
}

/// What became of a task whose lease ended; it is gone where it was to be cancelled.
fn becomes(then: Option<&Then>) -> u16 {
    match then {
        Some(Then::Ready(_)) => READY,
        Some(Then::Delayed(_)) => 0,
        Some(Then::Dead(_)) => DEAD,
        None => CANCELLED,
    }
}
