//! Which tasks an event ends, and how: what somebody who waits for a task's result is told.

use crate::event::{Event, Then};
use crate::task::TaskId;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was acked, with this result if the worker gave one.
    Done(Option<&'a [u8]>),
    /// It reached a limit, or its worker said so; what the last FAIL said stands with the task.
    Dead,
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody claimed it in time.
    Expired,
    /// Somebody purged it.
    Purged,
}

impl Outcome<'_> {
    /// The word that users read.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Done(_) => "done",
            Outcome::Dead => "dead",
            Outcome::Cancelled => "cancelled",
            Outcome::Expired => "expired",
            Outcome::Purged => "purged",
        }
    }
}

impl<'a> Event<'a> {
    /// Gives each task that the event ends to `end`. No arm stands for "all others", so that nobody adds an event
    /// without having said what it ends.
    pub fn ends(&self, end: &mut dyn FnMut(TaskId, Outcome<'a>)) {
        match self {
            Event::Acked { id, end: given, .. } => {
                end(*id, Outcome::Done(given.as_ref().and_then(|given| given.result)));
            }
            Event::Taken { ids, .. } => ids.iter().for_each(|&id| end(id, Outcome::Done(None))),
            Event::Failed { id, then: Then::Dead(_), .. } => end(*id, Outcome::Dead),
            Event::Stalled { tasks } => tasks.iter().for_each(|(id, then)| match then {
                Some(Then::Dead(_)) => end(*id, Outcome::Dead),
                Some(Then::Ready(_) | Then::Delayed(_)) => {}
                None => end(*id, Outcome::Cancelled),
            }),
            Event::Cancelled { id } => end(*id, Outcome::Cancelled),
            Event::Expired { ids, .. } => ids.iter().for_each(|&id| end(id, Outcome::Expired)),
            Event::Purged { ids } => ids.iter().for_each(|&id| end(id, Outcome::Purged)),
            // These were dead or done before: whoever waited has been told.
            Event::Dropped { .. } | Event::Forgotten { .. } => {}
            Event::Pushed { .. }
            | Event::Answered { .. }
            | Event::Term { .. }
            | Event::Clock { .. }
            | Event::Claimed { .. }
            | Event::PassedOver { .. }
            | Event::Unclaimed { .. }
            | Event::Failed { .. }
            | Event::Requeued { .. }
            | Event::Extended { .. }
            | Event::BecameReady { .. }
            | Event::Retried { .. }
            | Event::CancelAsked { .. }
            | Event::Configured { .. }
            | Event::Replaced { .. }
            | Event::Freed { .. }
            | Event::Grouped { .. }
            | Event::Rested { .. }
            | Event::Scheduled { .. }
            | Event::Unscheduled { .. }
            | Event::Fired { .. }
            | Event::Skipped { .. }
            | Event::Replanned { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. } => {}
        }
    }
}
