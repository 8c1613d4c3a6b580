//! Events: what rules decide and `apply` carries out.
//!
//! CONTRIBUTING.md describes the steps of adding one ("Add an event").

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::{RESULT_MAX_BYTES, SPAN_MAX_MS};
use crate::limits::GroupLimits;
use crate::pause::Gate;
use crate::request::Answer;
use crate::schedule::ScheduleSpec;
use crate::task::{Handle, LeaseNumber, OnDead, Options, Parent, TaskId};
use crate::time::{Due, Millis, Stamp, When};

/// Something that happened to a queue. Applying events is the only way to change one.
///
/// An event carries ids, lease numbers, nonces and absolute times, so that nothing remains to be decided. A replica, a
/// replayed AOF and another version of the module therefore arrive at the same queue.
///
/// The short names on the wire are permanent. A new kind of event gets a new name.
///
/// Events are passed on by value, so what is large in rare ones is boxed.
///
/// Instants (`at`, deadlines) are on the queue's clock unless a field says otherwise. An `at` is when the event was
/// decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<'a> {
    /// Tasks were pushed, with consecutive ids from `first` on. They are ready, or due later. The payloads travel
    /// beside the event, so that the server can pass on its own strings without a copy.
    #[serde(rename = "push")]
    Pushed {
        /// The id of the first task.
        first: TaskId,
        /// How many tasks: as many as there are payloads, at most [`crate::BATCH_MAX`].
        count: u32,
        /// When they become ready; `None` if they are ready at once.
        due: Option<Due>,
        /// The options of each task.
        #[serde(borrow)]
        options: Options<'a>,
        /// The payload of each task.
        #[serde(skip)]
        payloads: &'a [&'a [u8]],
    },
    /// Tasks were pushed to wait for others (AFTER), with consecutive ids from `first` on. They are held, or ready or
    /// delayed if all of the others are done. The payloads travel beside the event.
    #[serde(rename = "after")]
    PushedAfter {
        /// The id of the first task.
        first: TaskId,
        /// How many tasks.
        count: u32,
        /// When.
        at: Millis,
        /// When they become ready once they wait for nothing any more.
        when: When,
        /// The tasks they wait for, 1 to 1000 by ascending id, and which of them are not done.
        parents: Vec<Parent>,
        /// What becomes of them if one of those ends otherwise than done.
        on_dead: OnDead,
        /// The options of each task.
        #[serde(borrow)]
        options: Box<Options<'a>>,
        /// The payload of each task.
        #[serde(skip)]
        payloads: &'a [&'a [u8]],
    },
    /// A batch was opened, and its callback was pushed. The callback is held. The payload travels beside the event.
    #[serde(rename = "open")]
    BatchOpened {
        /// The name of the batch, at most [`crate::NAME_MAX_BYTES`].
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// The id of the callback.
        id: TaskId,
        /// When.
        at: Millis,
        /// When the callback becomes ready once the batch is complete.
        when: When,
        /// The options of the callback.
        #[serde(borrow)]
        options: Box<Options<'a>>,
        /// The payload of the callback.
        #[serde(skip)]
        payloads: &'a [&'a [u8]],
    },
    /// A batch was closed: its callback becomes ready once all of its tasks have ended.
    #[serde(rename = "close")]
    BatchClosed {
        /// The name of the batch.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// When.
        at: Millis,
    },
    /// Held tasks were told that a task which they wait for has ended, or that their batches are complete.
    #[serde(rename = "told")]
    Told {
        /// The task that has ended; `None` if the tasks are callbacks of complete batches.
        parent: Option<TaskId>,
        /// When they were told.
        at: Millis,
        /// Each task, and what becomes of it.
        tasks: Vec<(TaskId, Release)>,
    },
    /// A request with a token got a reply, which is remembered.
    #[serde(rename = "req")]
    Answered {
        /// The client's token, at most [`crate::NAME_MAX_BYTES`].
        #[serde(with = "serde_bytes")]
        token: &'a [u8],
        /// When the reply was given.
        at: Millis,
        /// Until when the same request gets the same reply.
        kept_until: Millis,
        /// The reply.
        answer: Answer,
    },
    /// A new term began: another primary changes the queue from now on. Its lease numbers are above `floor`.
    #[serde(rename = "term")]
    Term {
        /// The random id of the term.
        term: u64,
        /// At least the highest lease number so far.
        floor: LeaseNumber,
        /// What the primary's clocks show, so that a server that replays this from a file can continue its clock, and a
        /// new replica can follow it. Since version 3.
        #[serde(default)]
        clocks: Option<Stamp>,
    },
    /// The queue arrived from a node with another clock. Its spans continue on its own clock, which differs from this
    /// node's.
    #[serde(rename = "clock")]
    Clock {
        /// How far the queue's clock is ahead of its node's, in ms; negative if it is behind.
        offset_ms: i64,
    },
    /// Ready tasks were claimed.
    #[serde(rename = "claim")]
    Claimed {
        /// When they were claimed.
        at: Millis,
        /// The worker's name; empty if it gave none.
        #[serde(with = "serde_bytes")]
        worker: &'a [u8],
        /// Whether the leases also end with the worker's connection (TIED).
        tied: bool,
        /// The lease of each task, in the order of claims.
        leases: Vec<Lease>,
    },
    /// A ready suspect was next, but the worker holds other tasks and claims without it.
    #[serde(rename = "pass")]
    PassedOver {
        /// When it was passed over. The first such instant is kept.
        at: Millis,
        /// The worker that is reserved for the suspect, so it gets nothing else from now on; empty if none is reserved.
        #[serde(with = "serde_bytes")]
        worker: &'a [u8],
    },
    /// Ready tasks were delivered without a lease (NOACK) and removed.
    #[serde(rename = "take")]
    Taken {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
        /// When they were claimed; since version 2.
        #[serde(default)]
        at: Millis,
    },
    /// A claim that never reached its worker was undone: the task is ready, and the delivery doesn't count.
    #[serde(rename = "undo")]
    Unclaimed {
        /// The task's id.
        id: TaskId,
        /// Since when it is ready again.
        at: Millis,
    },
    /// A task was acked: finished.
    #[serde(rename = "ack")]
    Acked {
        /// The task's id.
        id: TaskId,
        /// Whether its lease had ended.
        late: bool,
        /// The result and the retention; `None` if there is no result and the task is not retained.
        #[serde(default, borrow)]
        end: Option<End<'a>>,
    },
    /// An attempt failed (FAIL).
    #[serde(rename = "fail")]
    Failed {
        /// The task's id.
        id: TaskId,
        /// What becomes of it: delayed or dead.
        then: Then,
        /// The worker's error text; empty if it gave none.
        #[serde(with = "serde_bytes")]
        error: &'a [u8],
        /// When it failed; 0 before version 5, which did not know it.
        #[serde(default)]
        at: Millis,
        /// How far the task has got. Empty removes what was said before, `None` leaves it. Since version 5.
        #[serde(default, borrow, with = "serde_bytes")]
        progress: Option<&'a [u8]>,
    },
    /// A worker gave a task back (REQUEUE).
    #[serde(rename = "requeue")]
    Requeued {
        /// The task's id.
        id: TaskId,
        /// What becomes of it: ready or delayed.
        then: Then,
        /// Whether it goes to the back of its lane instead of its old position.
        back: bool,
        /// How far the task has got. Empty removes what was said before, `None` leaves it. Since version 5.
        #[serde(default, borrow, with = "serde_bytes")]
        progress: Option<&'a [u8]>,
    },
    /// A lease was extended.
    #[serde(rename = "extend")]
    Extended {
        /// The task's id.
        id: TaskId,
        /// Its new deadline, never earlier than the old one.
        deadline: Millis,
        /// How far the task has got. Empty removes what was said before, `None` leaves it.
        #[serde(default, borrow, with = "serde_bytes")]
        progress: Option<&'a [u8]>,
    },
    /// Leases ended without an answer: their deadline passed, or their connection closed.
    #[serde(rename = "stall")]
    Stalled {
        /// Each task with what becomes of it; `None` if it was to be cancelled and is removed.
        tasks: Vec<(TaskId, Option<Then>)>,
    },
    /// Delayed tasks became due. They are ready, in this order, at the back.
    #[serde(rename = "due")]
    BecameReady {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
        /// When they were found due.
        at: Millis,
    },
    /// Dead or delayed tasks were retried. They are ready, in this order, at the back.
    #[serde(rename = "retry")]
    Retried {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
        /// When they were retried.
        at: Millis,
    },
    /// A task was cancelled and removed.
    #[serde(rename = "cancel")]
    Cancelled {
        /// The task's id.
        id: TaskId,
    },
    /// A leased task is to be cancelled. Its worker learns of it by EXTEND.
    #[serde(rename = "cancelask")]
    CancelAsked {
        /// The task's id.
        id: TaskId,
    },
    /// Dead tasks were removed, because they are too old or too many.
    #[serde(rename = "drop")]
    Dropped {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
    },
    /// Done tasks were removed: their retention ended, they were too many, a push needed the room, or they were purged.
    #[serde(rename = "forget")]
    Forgotten {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
    },
    /// Ready, delayed or dead tasks were purged.
    #[serde(rename = "purge")]
    Purged {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
    },
    /// Ready tasks expired, because nobody claimed them in time, and were removed.
    #[serde(rename = "expire")]
    Expired {
        /// When; each task's time to live ended at this instant or before.
        at: Millis,
        /// The ids of the tasks.
        ids: Vec<TaskId>,
    },
    /// A waiting task got another payload and other headers. The payload travels beside the event, as those of a push
    /// do.
    #[serde(rename = "replace")]
    Replaced {
        /// The task's id.
        id: TaskId,
        /// Encoded [`crate::Headers`]; empty if there are none.
        #[serde(with = "serde_bytes")]
        headers: &'a [u8],
        /// The new payload.
        #[serde(skip)]
        payload: &'a [u8],
    },
    /// Waiting tasks were changed (SET, POSTPONE). Each part that is not given stays as it is. A payload travels beside
    /// the event, once for all of the tasks.
    #[serde(rename = "edit")]
    Edited {
        /// The ids of the tasks.
        ids: Vec<TaskId>,
        /// When ready and delayed tasks become ready: at once, or later.
        then: Option<Then>,
        /// When held tasks become ready, from when they wait for nothing any more.
        when: Option<When>,
        /// Their priority. A ready task that gets another priority or group goes to the back of its new lane.
        priority: Option<i8>,
        /// The name of their group; empty for none.
        #[serde(borrow, with = "serde_bytes")]
        group: Option<&'a [u8]>,
        /// Encoded [`crate::Headers`]; empty if they have none any more.
        #[serde(borrow, with = "serde_bytes")]
        headers: Option<&'a [u8]>,
        /// Whether there is a payload beside the event.
        has_payload: bool,
        /// Their payload.
        #[serde(skip)]
        payload: Option<&'a [u8]>,
    },
    /// Tokens became free, because the time for which they were held has passed.
    #[serde(rename = "free")]
    Freed {
        /// When; each token's time had passed by then.
        at: Millis,
        /// The tokens.
        tokens: Vec<ByteBuf>,
    },
    /// Settings got new values.
    #[serde(rename = "config")]
    Configured {
        /// Each setting's name and value.
        #[serde(borrow)]
        values: Vec<(&'a str, i64)>,
    },
    /// The limits of a group were set, or removed if `limits` is `None`.
    #[serde(rename = "group")]
    Grouped {
        /// The group's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// All limits of the group from now on.
        limits: Option<GroupLimits>,
    },
    /// A group was paused: its tasks are not claimed.
    #[serde(rename = "gpause")]
    GroupPaused {
        /// The group's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// Until when; `None` until it is resumed.
        until: Option<Millis>,
    },
    /// The pause of a group was ended before its time.
    #[serde(rename = "gresume")]
    GroupResumed {
        /// The group's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
    },
    /// Time changed groups: their rate allows claims again, their pause has ended, they follow new settings, or they
    /// are forgotten because they are empty.
    #[serde(rename = "rest")]
    Rested {
        /// The names of the groups.
        names: Vec<ByteBuf>,
        /// When this was decided.
        at: Millis,
    },
    /// A gate was closed.
    #[serde(rename = "pause")]
    Paused {
        /// Which gate: in, out or both.
        gate: Gate,
        /// Until when; `None` until RESUME.
        until: Option<Millis>,
    },
    /// A gate was opened.
    #[serde(rename = "resume")]
    Resumed {
        /// Which gate: in, out or both.
        gate: Gate,
    },
    /// A schedule was set. One with the same name is replaced but keeps its counters.
    #[serde(rename = "sched")]
    Scheduled {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// Its trigger, CATCHUP, options and payload.
        #[serde(borrow)]
        plan: Box<ScheduleSpec<'a>>,
        /// Its next run.
        next: Due,
        /// The wall clock when `next` was decided.
        seen: Millis,
    },
    /// A schedule was removed.
    #[serde(rename = "unsched")]
    Unscheduled {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
    },
    /// A schedule ran: it pushed a ready task with its payload and options.
    #[serde(rename = "fire")]
    Fired {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The id of the new task.
        id: TaskId,
        /// The next run.
        next: Due,
        /// The wall clock at this run.
        at: Millis,
    },
    /// A schedule made a run that was asked for (CRON RUN): it pushed a ready task. Its next run stays.
    #[serde(rename = "run")]
    Ran {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// The id of the new task.
        id: TaskId,
        /// The wall clock at this run.
        at: Millis,
    },
    /// A schedule did not make a run.
    #[serde(rename = "skip")]
    Skipped {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The next run.
        next: Due,
        /// The wall clock at that time.
        at: Millis,
        /// True if the run was too late; false if its task could not be pushed.
        missed: bool,
    },
    /// A schedule was planned again, because the clock was far ahead or its time zone had other rules when it was
    /// planned.
    #[serde(rename = "replan")]
    Replanned {
        /// The schedule's name.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The next run.
        next: Due,
        /// The wall clock when `next` counts as decided: now, or for new time zone rules, when the old ones were used.
        at: Millis,
    },
}

/// What becomes of a held task when one that it waits for has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// It waits for others still.
    #[serde(rename = "h")]
    Held,
    /// It is ready.
    #[serde(rename = "r")]
    Ready,
    /// It becomes ready later.
    #[serde(rename = "d")]
    Delayed(Due),
    /// It is cancelled, as its push said for this case.
    #[serde(rename = "x")]
    Cancelled,
}

/// What an ACK leaves of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End<'a> {
    /// When the task was acked.
    pub at: Millis,
    /// How long the task is retained, in ms; 0 for not at all.
    pub retain_ms: u64,
    /// The result; `None` if the worker gave none. It is part of the event even if the task isn't retained, because a
    /// client may wait for it, here or at a replica.
    #[serde(borrow, with = "serde_bytes")]
    pub result: Option<&'a [u8]>,
}

impl End<'_> {
    /// Whether all fields are within bounds. For events from a file or a peer.
    pub(crate) fn is_valid(&self) -> bool {
        self.at <= Millis::MAX
            && self.retain_ms <= SPAN_MAX_MS as u64
            && self.result.is_none_or(|result| result.len() <= RESULT_MAX_BYTES)
    }
}

/// One lease of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The task's id.
    pub id: TaskId,
    /// The lease's number: the fencing token.
    pub number: LeaseNumber,
    /// 32 random bits that only the worker with the lease knows.
    pub nonce: u32,
    /// The lease's own length in ms, which EXTEND gives again by default.
    pub lease_ms: u32,
    /// When it ends: `lease_ms` after the claim, or earlier because of `run-max`.
    pub deadline: Millis,
}

impl Lease {
    /// The handle that the worker gets.
    pub fn handle(&self) -> Handle {
        Handle { id: self.id, lease: self.number, nonce: self.nonce }
    }
}

/// What becomes of a task whose lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// It is ready since this instant.
    #[serde(rename = "r")]
    Ready(Millis),
    /// It becomes ready later.
    #[serde(rename = "d")]
    Delayed(Due),
    /// It is dead since this instant.
    #[serde(rename = "x")]
    Dead(Millis),
}

impl Then {
    /// Whether its instant is in bounds.
    pub(crate) fn is_valid(&self) -> bool {
        match *self {
            Then::Ready(at) | Then::Dead(at) => at <= Millis::MAX,
            Then::Delayed(due) => due.instant() <= Millis::MAX,
        }
    }
}
