//! What a verb decided, and the only thing that changes a queue.
//!
//! An event says what happened with ids, lease numbers and absolute times, never what to decide: a replica, an
//! AOF that is replayed and another version of the module come to the same queue. Names on the wire are short
//! and stay for ever; a new kind of event gets a new name.
//!
//! To add an event:
//! 1. Give it a short name here. The compiler asks for what it changes (`apply`) and what follows from it (`changes`).
//! 2. If it carries payloads, `Effect::decode` hands them out; if it makes the data grow, `rules::growth` says by how much.
//! 3. A module that doesn't know it gives the queue up, so CHANGELOG says that replicas are upgraded first. The version of
//!    effects grows if older events read otherwise.
//! 4. A new kind of notification gets its name in the module's `notifications`, a new total its name in `totals`.
//! 5. Tests: the list of kinds in `tests/engine/effects.rs`, a damaged one among the invented events there, and the
//!    model in `tests/engine/model.rs`.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::{RESULT_MAX_BYTES, SPAN_MAX_MS};
use crate::limits::GroupLimits;
use crate::pause::Gate;
use crate::request::Answer;
use crate::schedule::ScheduleSpec;
use crate::task::{Handle, LeaseNumber, Options, TaskId};
use crate::time::{Due, Millis, Stamp};

/// Something that happened to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<'a> {
    /// Tasks with consecutive ids from `first` on came in, ready or due later. Their payloads travel beside the
    /// event, since the server can pass them on without a copy.
    #[serde(rename = "push")]
    Pushed {
        /// The id of the first.
        first: TaskId,
        /// How many, as many as there are payloads.
        count: u32,
        /// When they become ready; `None` for now.
        due: Option<Due>,
        /// What was said about each.
        #[serde(borrow)]
        options: Options<'a>,
        /// One for each task.
        #[serde(skip)]
        payloads: &'a [&'a [u8]],
    },
    /// A request with a token was answered.
    #[serde(rename = "req")]
    Answered {
        /// The client's token.
        #[serde(with = "serde_bytes")]
        token: &'a [u8],
        /// When.
        at: Millis,
        /// Until when a copy gets the same answer.
        kept_until: Millis,
        /// The answer.
        answer: Answer,
    },
    /// Another primary changes the queue now; its lease numbers are above `floor`.
    #[serde(rename = "term")]
    Term {
        /// The primary's random id.
        term: u64,
        /// No lease number so far is larger.
        floor: LeaseNumber,
        /// What the primary's clocks show, so that whoever reads this from a file carries its clock on; since version 3.
        #[serde(default)]
        clocks: Option<Stamp>,
    },
    /// The queue came from a node with another clock: its own, on which its spans go on, is so far ahead of its node's.
    #[serde(rename = "clock")]
    Clock {
        /// In milliseconds; negative where it is behind.
        offset_ms: i64,
    },
    /// Ready tasks were leased.
    #[serde(rename = "claim")]
    Claimed {
        /// When.
        at: Millis,
        /// The worker's name, empty for none.
        #[serde(with = "serde_bytes")]
        worker: &'a [u8],
        /// Whether the leases end with the worker's connection.
        tied: bool,
        /// One for each task, in the order of claims.
        leases: Vec<Lease>,
    },
    /// A ready suspect was in turn, but its worker held other tasks and goes on without it.
    #[serde(rename = "pass")]
    PassedOver {
        /// When.
        at: Millis,
        /// The worker that gets nothing more until it holds nothing, and then the suspect; empty where it may go on.
        #[serde(with = "serde_bytes")]
        worker: &'a [u8],
    },
    /// Ready tasks were handed out without a lease, and are gone.
    #[serde(rename = "take")]
    Taken {
        /// The tasks.
        ids: Vec<TaskId>,
        /// When; since version 2.
        #[serde(default)]
        at: Millis,
    },
    /// A lease that never reached its worker is undone: the task is ready, and no delivery is counted.
    #[serde(rename = "undo")]
    Unclaimed {
        /// The task.
        id: TaskId,
        /// When.
        at: Millis,
    },
    /// A task is finished.
    #[serde(rename = "ack")]
    Acked {
        /// The task.
        id: TaskId,
        /// Whether its lease was over.
        late: bool,
        /// What the worker left, and how long the task is kept; `None` where nothing is kept and nothing was left.
        #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
        end: Option<End<'a>>,
    },
    /// An attempt failed.
    #[serde(rename = "fail")]
    Failed {
        /// The task.
        id: TaskId,
        /// What becomes of it: delayed or dead.
        then: Then,
        /// What the worker said, empty for nothing.
        #[serde(with = "serde_bytes")]
        error: &'a [u8],
    },
    /// A worker gave a task back.
    #[serde(rename = "requeue")]
    Requeued {
        /// The task.
        id: TaskId,
        /// What becomes of it: ready or delayed.
        then: Then,
        /// Whether it goes behind the others.
        back: bool,
    },
    /// A lease lasts longer.
    #[serde(rename = "extend")]
    Extended {
        /// The task.
        id: TaskId,
        /// Until when.
        deadline: Millis,
        /// How far the worker has come, empty to take back what it said; `None` where it said nothing.
        #[serde(default, borrow, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
        progress: Option<&'a [u8]>,
    },
    /// Leases ended without an answer.
    #[serde(rename = "stall")]
    Stalled {
        /// The tasks, and what becomes of each; `None` for one that was to be cancelled and is gone.
        tasks: Vec<(TaskId, Option<Then>)>,
    },
    /// Delayed tasks are due: ready, in this order, behind the others.
    #[serde(rename = "due")]
    BecameReady {
        /// The tasks.
        ids: Vec<TaskId>,
        /// When.
        at: Millis,
    },
    /// Somebody made dead or delayed tasks ready, in this order, behind the others.
    #[serde(rename = "retry")]
    Retried {
        /// The tasks.
        ids: Vec<TaskId>,
        /// When.
        at: Millis,
    },
    /// A task is gone because somebody cancelled it.
    #[serde(rename = "cancel")]
    Cancelled {
        /// The task.
        id: TaskId,
    },
    /// A leased task is to be cancelled: its worker learns by EXTEND.
    #[serde(rename = "cancelask")]
    CancelAsked {
        /// The task.
        id: TaskId,
    },
    /// Dead tasks are gone: too old or too many.
    #[serde(rename = "drop")]
    Dropped {
        /// The tasks.
        ids: Vec<TaskId>,
    },
    /// Done tasks are kept no longer: their time is over, they are too many or in the way, or somebody purged them.
    #[serde(rename = "forget")]
    Forgotten {
        /// The tasks.
        ids: Vec<TaskId>,
    },
    /// Somebody removed waiting or dead tasks.
    #[serde(rename = "purge")]
    Purged {
        /// The tasks.
        ids: Vec<TaskId>,
    },
    /// Nobody claimed these ready tasks in time: they are gone.
    #[serde(rename = "expire")]
    Expired {
        /// When.
        at: Millis,
        /// The tasks.
        ids: Vec<TaskId>,
    },
    /// A task that waits has another payload and other headers. The payload travels beside the event, as a push's do.
    #[serde(rename = "replace")]
    Replaced {
        /// The task.
        id: TaskId,
        /// Encoded [`crate::Headers`]; empty where there are none.
        #[serde(with = "serde_bytes")]
        headers: &'a [u8],
        /// What its worker gets.
        #[serde(skip)]
        payload: &'a [u8],
    },
    /// Tokens are free, since the time that they were to be held is over.
    #[serde(rename = "free")]
    Freed {
        /// When.
        at: Millis,
        /// The tokens.
        tokens: Vec<ByteBuf>,
    },
    /// Settings have new values.
    #[serde(rename = "config")]
    Configured {
        /// Names and values.
        #[serde(borrow)]
        values: Vec<(&'a str, i64)>,
    },
    /// What holds for a group was said; nothing said any more where it is `None`.
    #[serde(rename = "group")]
    Grouped {
        /// The group.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// All that is said of it now.
        limits: Option<GroupLimits>,
    },
    /// The rates of groups allow claims again, or the groups are forgotten, since nothing is left of them.
    #[serde(rename = "rest")]
    Rested {
        /// The groups.
        names: Vec<ByteBuf>,
        /// When.
        at: Millis,
    },
    /// The gate is closed.
    #[serde(rename = "pause")]
    Paused {
        /// Which.
        gate: Gate,
        /// Until when; `None` until RESUME.
        until: Option<Millis>,
    },
    /// The gate is open.
    #[serde(rename = "resume")]
    Resumed {
        /// Which.
        gate: Gate,
    },
    /// A schedule was set, new or in place of the one of this name, whose counters stay.
    #[serde(rename = "sched")]
    Scheduled {
        /// Its name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// What was set.
        #[serde(borrow)]
        plan: ScheduleSpec<'a>,
        /// Its next run.
        next: Due,
        /// The wall clock when that was decided.
        seen: Millis,
    },
    /// A schedule is gone.
    #[serde(rename = "unsched")]
    Unscheduled {
        /// Its name.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
    },
    /// A schedule's task came in, ready, with the payload and the options that were set.
    #[serde(rename = "fire")]
    Fired {
        /// The schedule.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The task.
        id: TaskId,
        /// The next run.
        next: Due,
        /// The wall clock at this one.
        at: Millis,
    },
    /// A schedule's run is not made.
    #[serde(rename = "skip")]
    Skipped {
        /// The schedule.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The next run.
        next: Due,
        /// The wall clock now.
        at: Millis,
        /// Whether it came too late; else it couldn't come in.
        missed: bool,
    },
    /// A schedule that was planned by a clock far ahead, or by old rules of its time zone, is planned anew.
    #[serde(rename = "replan")]
    Replanned {
        /// The schedule.
        #[serde(with = "serde_bytes")]
        name: Box<[u8]>,
        /// The next run.
        next: Due,
        /// When that counts as decided: the wall clock now, or for other rules when the old ones were asked.
        at: Millis,
    },
}

/// What is left of a task when it is acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End<'a> {
    /// When.
    pub at: Millis,
    /// How long it is kept; 0 for not at all.
    pub retain_ms: u64,
    /// What came of it; `None` where the worker said nothing. It travels though the task isn't kept, since somebody may
    /// wait for it, here or at a replica.
    #[serde(borrow, with = "serde_bytes")]
    pub result: Option<&'a [u8]>,
}

impl End<'_> {
    /// Whether every field is within its bounds: asked of what a peer sent.
    pub(crate) fn is_valid(&self) -> bool {
        self.at <= Millis::MAX
            && self.retain_ms <= SPAN_MAX_MS as u64
            && self.result.is_none_or(|result| result.len() <= RESULT_MAX_BYTES)
    }
}

/// One lease of a claim. It ends `lease_ms` after the claim, or at `run-max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The task.
    pub id: TaskId,
    /// The lease's number.
    pub number: LeaseNumber,
    /// Known to the holder alone.
    pub nonce: u32,
    /// Its length, which EXTEND gives again.
    pub lease_ms: u32,
    /// When it ends.
    pub deadline: Millis,
}

impl Lease {
    /// What its holder is given.
    pub fn handle(&self) -> Handle {
        Handle { id: self.id, lease: self.number, nonce: self.nonce }
    }
}

/// What becomes of a task whose lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Ready since this instant.
    #[serde(rename = "r")]
    Ready(Millis),
    /// Ready later.
    #[serde(rename = "d")]
    Delayed(Due),
    /// Dead since this instant.
    #[serde(rename = "x")]
    Dead(Millis),
}
