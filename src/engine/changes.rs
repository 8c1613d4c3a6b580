//! The consequences of an event outside the queue: notifications, workers to serve, waits for results that end.

use serde_bytes::ByteBuf;

use crate::event::{Event, Lease, Release, Then};
use crate::task::TaskId;
use crate::time::When;

/// The consequences of an event outside the queue. It borrows from the event and allocates nothing.
///
/// [`Event::changes`] computes it in a single match without a catch-all arm, so a new event doesn't compile until its
/// consequences are stated.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'e> {
    /// What happened to tasks, for notifications.
    pub kinds: Kinds,
    /// The existing tasks that the event is about. Tasks that it pushes are not included.
    pub tasks: Tasks<'e>,
    /// The groups whose tasks may be claimable now, so that blocked workers can be served.
    pub ready: Ready<'e>,
    /// The payloads that travel beside the event.
    pub payloads: &'e [&'e [u8]],
    /// How each of `tasks` ended; `None` if they did not, or, for stalled and told tasks, if each has its own.
    outcome: Option<Outcome<'e>>,
}

/// A set of kinds of things that an event did to tasks, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Nothing to notify about.
    pub const NONE: Kinds = Kinds(0);
    /// Tasks were pushed.
    pub const PUSHED: Kinds = Kinds(1);
    /// Tasks became ready, including those that were pushed as ready.
    pub const READY: Kinds = Kinds(1 << 1);
    /// Tasks were claimed.
    pub const CLAIMED: Kinds = Kinds(1 << 2);
    /// Tasks were acked.
    pub const ACKED: Kinds = Kinds(1 << 3);
    /// An attempt failed.
    pub const FAILED: Kinds = Kinds(1 << 4);
    /// A worker gave a task back.
    pub const REQUEUED: Kinds = Kinds(1 << 5);
    /// Leases ended without an answer.
    pub const STALLED: Kinds = Kinds(1 << 6);
    /// Tasks became dead.
    pub const DEAD: Kinds = Kinds(1 << 7);
    /// Tasks expired: they were not claimed in time.
    pub const EXPIRED: Kinds = Kinds(1 << 8);
    /// Tasks were cancelled.
    pub const CANCELLED: Kinds = Kinds(1 << 9);

    /// The union of two sets.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Whether the two sets have a kind in common.
    #[inline]
    pub const fn has(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What becomes of a held task that was told of an end.
    fn of_release(release: Release) -> Kinds {
        match release {
            Release::Held | Release::Delayed(_) => Kinds::NONE,
            Release::Ready => Kinds::READY,
            Release::Cancelled => Kinds::CANCELLED,
        }
    }

    /// What becomes of a task whose lease ended. `None` means that it was to be cancelled, and is removed.
    fn of(then: Option<&Then>) -> Kinds {
        match then {
            Some(Then::Ready(_)) => Kinds::READY,
            Some(Then::Delayed(_)) => Kinds::NONE,
            Some(Then::Dead(_)) => Kinds::DEAD,
            None => Kinds::CANCELLED,
        }
    }
}

/// The existing tasks that an event is about, as the event names them.
#[derive(Debug, Clone, Copy)]
pub enum Tasks<'e> {
    /// No task.
    None,
    /// One task.
    One(TaskId),
    /// Any number of tasks.
    Some(&'e [TaskId]),
    /// Tasks that were claimed, with their leases.
    Leased(&'e [Lease]),
    /// Tasks whose leases ended without an answer, and what becomes of each.
    Stalled(&'e [(TaskId, Option<Then>)]),
    /// Held tasks, and what becomes of each.
    Told(&'e [(TaskId, Release)]),
}

impl<'e> Tasks<'e> {
    /// The ids of the tasks.
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
                Tasks::Told(tasks) => tasks.get(at).map(|(id, _)| *id),
            }
        })
    }
}

/// The groups whose tasks an event may have made claimable.
#[derive(Debug, Clone, Copy)]
pub enum Ready<'e> {
    /// None.
    Nothing,
    /// This group. An empty name means the tasks without a group.
    Group(&'e [u8]),
    /// These groups.
    Groups(&'e [ByteBuf]),
    /// The groups that the event's tasks belonged to before it, or all groups if the queue limits its leases.
    GroupsOfTasks,
    /// Possibly all of them.
    All,
}

/// How a task ended, for clients that wait for its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was acked, with this result if the worker gave one.
    Done(Option<&'a [u8]>),
    /// It reached a limit, or its worker declared it dead. The task stores the error.
    Dead,
    /// It was cancelled.
    Cancelled,
    /// It expired: it was not claimed in time.
    Expired,
    /// It was purged.
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
    /// No consequences.
    const NONE: Changes<'static> = Changes {
        kinds: Kinds::NONE,
        tasks: Tasks::None,
        ready: Ready::Nothing,
        payloads: &[],
        outcome: None,
    };

    /// The consequences of an event about existing tasks.
    fn of(kinds: Kinds, tasks: Tasks<'e>) -> Changes<'e> {
        Changes { kinds, tasks, ready: Ready::GroupsOfTasks, ..Changes::NONE }
    }

    /// The consequences of an event that ends its tasks in the same way.
    fn end(kinds: Kinds, tasks: Tasks<'e>, outcome: Outcome<'e>) -> Changes<'e> {
        Changes { outcome: Some(outcome), ..Changes::of(kinds, tasks) }
    }

    /// The consequences of a lease that ended, for one task.
    fn then(kind: Kinds, id: TaskId, then: &Then) -> Changes<'e> {
        let outcome = matches!(then, Then::Dead(_)).then_some(Outcome::Dead);
        Changes { outcome, ..Changes::of(kind.and(Kinds::of(Some(then))), Tasks::One(id)) }
    }

    /// Calls `each` for every task that the event ends.
    pub fn outcomes(&self, each: &mut dyn FnMut(TaskId, Outcome<'e>)) {
        match self.tasks {
            Tasks::Stalled(tasks) => tasks.iter().for_each(|(id, then)| match then {
                Some(Then::Dead(_)) => each(*id, Outcome::Dead),
                Some(Then::Ready(_) | Then::Delayed(_)) => {}
                None => each(*id, Outcome::Cancelled),
            }),
            Tasks::Told(tasks) => {
                let cancelled = tasks.iter().filter(|(_, release)| *release == Release::Cancelled);
                cancelled.for_each(|(id, _)| each(*id, Outcome::Cancelled));
            }
            tasks => {
                let Some(outcome) = self.outcome else { return };
                tasks.ids().for_each(|id| each(id, outcome));
            }
        }
    }
}

impl Event<'_> {
    /// The consequences of the event.
    #[inline]
    pub fn changes(&self) -> Changes<'_> {
        const NONE: Changes<'static> = Changes::NONE;
        const READY: Kinds = Kinds::READY;
        match self {
            Event::Pushed { due, options, payloads, .. } => {
                let kinds = if due.is_none() { Kinds::PUSHED.and(READY) } else { Kinds::PUSHED };
                Changes { kinds, ready: Ready::Group(options.group), payloads, ..NONE }
            }
            Event::PushedAfter { when, parents, options, payloads, .. } => {
                let is_ready = *when == When::Now && parents.iter().all(|parent| !parent.is_open);
                let kinds = if is_ready { Kinds::PUSHED.and(READY) } else { Kinds::PUSHED };
                Changes { kinds, ready: Ready::Group(options.group), payloads, ..NONE }
            }
            Event::BatchOpened { payloads, .. } => Changes { kinds: Kinds::PUSHED, payloads, ..NONE },
            Event::BatchClosed { .. } => NONE,
            Event::Told { tasks, .. } => {
                let each = tasks.iter().map(|(_, release)| Kinds::of_release(*release));
                Changes::of(each.fold(Kinds::NONE, Kinds::and), Tasks::Told(tasks))
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
            // A requeue can't make a task dead, so the clients that wait for its result are not notified.
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
            // These tasks had ended before, and the clients that waited for them were notified then.
            Event::Dropped { ids } | Event::Forgotten { ids } => Changes::of(Kinds::NONE, Tasks::Some(ids)),
            Event::Purged { ids } => Changes::end(Kinds::NONE, Tasks::Some(ids), Outcome::Purged),
            // While expired tasks are in the queue nothing can be claimed, so every group may be claimable now.
            Event::Expired { ids, .. } => {
                let ended = Changes::end(Kinds::EXPIRED, Tasks::Some(ids), Outcome::Expired);
                Changes { ready: Ready::All, ..ended }
            }
            Event::Replaced { payload, .. } => {
                Changes { payloads: std::slice::from_ref(payload), ..Changes::of(Kinds::NONE, Tasks::None) }
            }
            Event::Edited { ids, then, group, payload, .. } => {
                let ready = if group.is_some() { Ready::All } else { Ready::GroupsOfTasks };
                let kinds = then.as_ref().map_or(Kinds::NONE, |then| Kinds::of(Some(then)));
                Changes { ready, payloads: payload.as_slice(), ..Changes::of(kinds, Tasks::Some(ids)) }
            }
            Event::Freed { .. } => Changes::of(Kinds::NONE, Tasks::None),
            Event::Grouped { name, .. } | Event::GroupResumed { name } => {
                Changes { ready: Ready::Group(name), ..NONE }
            }
            Event::Rested { names, .. } => Changes { ready: Ready::Groups(names), ..NONE },
            Event::Fired { .. } | Event::Ran { .. } => {
                Changes { kinds: Kinds::PUSHED.and(READY), ready: Ready::All, ..NONE }
            }
            Event::GroupPaused { .. } => NONE,
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
