//! What follows from an event, for all who don't change the queue: notifications, who may claim now, whose wait is over.

use serde_bytes::ByteBuf;

use crate::event::{Event, Lease, Then};
use crate::task::TaskId;

/// What follows from an event: one answer to all that is asked of it outside the queue. It borrows from the event and
/// allocates nothing.
///
/// [`Event::changes`] makes it, in the only match of its kind. No arm there stands for "all others", so that nobody adds
/// an event without saying what follows from it.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'e> {
    /// What kinds of things happened to tasks.
    pub kinds: Kinds,
    /// The tasks there were before that the event is about.
    pub tasks: Tasks<'e>,
    /// Whose tasks may be claimable now.
    pub ready: Ready<'e>,
    /// The payloads that travel beside the event.
    pub payloads: &'e [&'e [u8]],
    /// How each of the tasks ended; of stalled ones each says that for itself.
    outcome: Option<Outcome<'e>>,
}

/// What kinds of things an event did to tasks, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Nothing that anybody is notified of.
    pub const NONE: Kinds = Kinds(0);
    /// Tasks came in.
    pub const PUSHED: Kinds = Kinds(1);
    /// Tasks can be claimed from now on, those that were just pushed among them.
    pub const READY: Kinds = Kinds(1 << 1);
    /// Tasks were handed out.
    pub const CLAIMED: Kinds = Kinds(1 << 2);
    /// Tasks were finished.
    pub const ACKED: Kinds = Kinds(1 << 3);
    /// An attempt failed.
    pub const FAILED: Kinds = Kinds(1 << 4);
    /// A worker gave a task back.
    pub const REQUEUED: Kinds = Kinds(1 << 5);
    /// Leases ended without an answer.
    pub const STALLED: Kinds = Kinds(1 << 6);
    /// Tasks became dead.
    pub const DEAD: Kinds = Kinds(1 << 7);
    /// Nobody claimed tasks in time.
    pub const EXPIRED: Kinds = Kinds(1 << 8);
    /// Tasks were cancelled.
    pub const CANCELLED: Kinds = Kinds(1 << 9);

    /// Both.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Whether one of the others is among these.
    #[inline]
    pub const fn has(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What becomes of a task whose lease ended: it is gone where it was to be cancelled.
    fn of(then: Option<&Then>) -> Kinds {
        match then {
            Some(Then::Ready(_)) => Kinds::READY,
            Some(Then::Delayed(_)) => Kinds::NONE,
            Some(Then::Dead(_)) => Kinds::DEAD,
            None => Kinds::CANCELLED,
        }
    }
}

/// Tasks of an event, as it names them.
#[derive(Debug, Clone, Copy)]
pub enum Tasks<'e> {
    /// None.
    None,
    /// One.
    One(TaskId),
    /// Some.
    Some(&'e [TaskId]),
    /// Those that were leased.
    Leased(&'e [Lease]),
    /// Those whose leases ended, and what becomes of each.
    Stalled(&'e [(TaskId, Option<Then>)]),
}

impl<'e> Tasks<'e> {
    /// Their ids.
    pub fn ids(self) -> impl Iterator<Item = TaskId> + 'e {
        let mut next = 0;
        std::iter::from_fn(move || {
            let at = next;
            next += 1;
            match self {
                Tasks::None => None,
                Tasks::One(id) => (at == 0).then_some(id),
                Tasks::Some(ids) => ids.get(at).copied(),
                Tasks::Leased(leases) => leases.get(at).map(|lease| lease.id),
                Tasks::Stalled(tasks) => tasks.get(at).map(|(id, _)| *id),
            }
        })
    }
}

/// Whose tasks an event may have made claimable.
#[derive(Debug, Clone, Copy)]
pub enum Ready<'e> {
    /// Nobody's.
    Nothing,
    /// This group's; no group has an empty name.
    Group(&'e [u8]),
    /// These groups'.
    Groups(&'e [ByteBuf]),
    /// Those of the groups of its tasks, as they were before the event; all where the queue limits its leases.
    GroupsOfTasks,
    /// It isn't known whose.
    All,
}

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

impl<'e> Changes<'e> {
    /// Nothing but what is said of it.
    const NONE: Changes<'static> = Changes {
        kinds: Kinds::NONE,
        tasks: Tasks::None,
        ready: Ready::Nothing,
        payloads: &[],
        outcome: None,
    };

    /// An event about tasks there were before.
    fn of(kinds: Kinds, tasks: Tasks<'e>) -> Changes<'e> {
        Changes { kinds, tasks, ready: Ready::GroupsOfTasks, ..Changes::NONE }
    }

    /// An event that ends its tasks so.
    fn end(kinds: Kinds, tasks: Tasks<'e>, outcome: Outcome<'e>) -> Changes<'e> {
        Changes { outcome: Some(outcome), ..Changes::of(kinds, tasks) }
    }

    /// What becomes of a task whose lease ended.
    fn then(kind: Kinds, id: TaskId, then: &Then) -> Changes<'e> {
        let outcome = matches!(then, Then::Dead(_)).then_some(Outcome::Dead);
        Changes { outcome, ..Changes::of(kind.and(Kinds::of(Some(then))), Tasks::One(id)) }
    }

    /// Gives each task that the event ends to `each`.
    pub fn outcomes(&self, each: &mut dyn FnMut(TaskId, Outcome<'e>)) {
        if let Tasks::Stalled(tasks) = self.tasks {
            for (id, then) in tasks {
                match then {
                    Some(Then::Dead(_)) => each(*id, Outcome::Dead),
                    Some(Then::Ready(_) | Then::Delayed(_)) => {}
                    None => each(*id, Outcome::Cancelled),
                }
            }
        } else if let Some(outcome) = self.outcome {
            self.tasks.ids().for_each(|id| each(id, outcome));
        }
    }
}

impl Event<'_> {
    /// What follows from the event.
    #[inline]
    pub fn changes(&self) -> Changes<'_> {
        const NONE: Changes<'static> = Changes::NONE;
        const READY: Kinds = Kinds::READY;
        match self {
            Event::Pushed { due, options, payloads, .. } => {
                let kinds = if due.is_none() { Kinds::PUSHED.and(READY) } else { Kinds::PUSHED };
                Changes { kinds, ready: Ready::Group(options.group), payloads, ..NONE }
            }
            Event::Claimed { leases, .. } => {
                Changes { kinds: Kinds::CLAIMED, tasks: Tasks::Leased(leases), ..NONE }
            }
            Event::Taken { ids, .. } => {
                let kinds = Kinds::CLAIMED.and(Kinds::ACKED);
                let ended = Changes::end(kinds, Tasks::Some(ids), Outcome::Done(None));
                Changes { ready: Ready::Nothing, ..ended }
            }
            Event::Unclaimed { id, .. } => Changes::of(READY, Tasks::One(*id)),
            Event::Acked { id, end, .. } => {
                let result = end.as_ref().and_then(|end| end.result);
                Changes::end(Kinds::ACKED, Tasks::One(*id), Outcome::Done(result))
            }
            Event::Failed { id, then, .. } => Changes::then(Kinds::FAILED, *id, then),
            // No worker gives back a task to be dead, and nobody is told of it.
            Event::Requeued { id, then, .. } => {
                Changes { outcome: None, ..Changes::then(Kinds::REQUEUED, *id, then) }
            }
            Event::Extended { id, .. } => Changes { tasks: Tasks::One(*id), ..NONE },
            Event::Stalled { tasks } => {
                let each = tasks.iter().map(|(_, then)| Kinds::of(then.as_ref()));
                Changes::of(each.fold(Kinds::STALLED, Kinds::and), Tasks::Stalled(tasks))
            }
            Event::BecameReady { ids, .. } | Event::Retried { ids, .. } => {
                Changes::of(READY, Tasks::Some(ids))
            }
            Event::Cancelled { id } => Changes::end(Kinds::CANCELLED, Tasks::One(*id), Outcome::Cancelled),
            Event::CancelAsked { id } => Changes::of(Kinds::NONE, Tasks::One(*id)),
            // These were dead or done before: whoever waited has been told.
            Event::Dropped { ids } | Event::Forgotten { ids } => Changes::of(Kinds::NONE, Tasks::Some(ids)),
            Event::Purged { ids } => Changes::end(Kinds::NONE, Tasks::Some(ids), Outcome::Purged),
            // Nothing could be claimed before what had expired was gone, whatever its group.
            Event::Expired { ids, .. } => {
                let ended = Changes::end(Kinds::EXPIRED, Tasks::Some(ids), Outcome::Expired);
                Changes { ready: Ready::All, ..ended }
            }
            Event::Replaced { payload, .. } => {
                Changes { payloads: std::slice::from_ref(payload), ..Changes::of(Kinds::NONE, Tasks::None) }
            }
            Event::Freed { .. } => Changes::of(Kinds::NONE, Tasks::None),
            Event::Grouped { name, .. } => Changes { ready: Ready::Group(name), ..NONE },
            Event::Rested { names, .. } => Changes { ready: Ready::Groups(names), ..NONE },
            Event::Fired { .. } => Changes { kinds: Kinds::PUSHED.and(READY), ready: Ready::All, ..NONE },
            Event::PassedOver { .. } | Event::Answered { .. } | Event::Term { .. } => NONE,
            Event::Clock { .. }
            | Event::Configured { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Scheduled { .. }
            | Event::Unscheduled { .. }
            | Event::Skipped { .. }
            | Event::Replanned { .. } => Changes { ready: Ready::All, ..NONE },
        }
    }
}
