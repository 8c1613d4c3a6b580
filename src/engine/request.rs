//! What callers ask of a queue, what is replied, and why a request is refused.

use serde::{Deserialize, Serialize};

use crate::task::{Handle, OnDead, Options, TaskId};
use crate::time::{Due, When};

/// A source of random bits. Only a primary draws from it; what it draws travels in events.
pub type Entropy<'a> = &'a mut dyn FnMut() -> u32;

/// A term: the period in which one node is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// A random number, not 0.
    pub id: u64,
    /// How the term began.
    pub beginning: Beginning,
}

/// How a node became the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It started as a primary.
    Start,
    /// It was a replica before. The old primary may still believe that it is one.
    Promotion,
}

/// The arguments of a push.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// When the tasks become ready; `None` for at once.
    pub due: Option<Due>,
    /// The options of each task.
    pub options: Options<'a>,
    /// The payload of each task; at least one, at most [`crate::BATCH_MAX`].
    pub payloads: &'a [&'a [u8]],
}

/// What the tasks of a push wait for (AFTER).
#[derive(Debug, Clone, Copy)]
pub struct After<'a> {
    /// The tasks, 1 to 1000 in any order. One that is not known any more counts as done.
    pub parents: &'a [TaskId],
    /// What becomes of the pushed tasks if one of those ends otherwise than done.
    pub on_dead: OnDead,
    /// When the pushed tasks become ready, from when they wait for nothing any more. The `due` of the push is not used.
    pub when: When,
}

/// What changes about waiting tasks (SET). The default changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Set<'a> {
    /// When they become ready: from now on, or for a held task from when it waits for nothing any more.
    pub when: Option<When>,
    /// Their priority.
    pub priority: Option<i8>,
    /// The name of their group; empty for none.
    pub group: Option<&'a [u8]>,
    /// Encoded [`crate::Headers`]; empty for none.
    pub headers: Option<&'a [u8]>,
    /// Their payload.
    pub payload: Option<&'a [u8]>,
}

/// The arguments of a claim. The default claims one task, without a worker's name.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The most tasks.
    pub count: usize,
    /// The most bytes of all payloads together. The first task is delivered whatever its size. `None` for no limit.
    pub bytes: Option<u64>,
    /// The length of the leases in ms. `None`: the task's own length applies, otherwise the queue's.
    pub lease_ms: Option<u32>,
    /// The worker's name; empty if it gives none.
    pub worker: &'a [u8],
    /// Whether the leases also end with the connection (TIED).
    pub tied: bool,
    /// At most once (NOACK): the tasks are removed without a lease.
    pub noack: bool,
    /// Only tasks of this group; `None` for all groups.
    pub group: Option<&'a [u8]>,
}

impl Default for Claim<'_> {
    fn default() -> Self {
        Claim { count: 1, bytes: None, lease_ms: None, worker: &[], tied: false, noack: false, group: None }
    }
}

/// When a failed task is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After the queue's backoff.
    Backoff,
    /// After this many ms, at least 1.
    After(u64),
    /// Never: the task is dead.
    Dead,
}

/// The reply to a request with a token, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Tasks were pushed, with consecutive ids.
    #[serde(rename = "p")]
    Pushed {
        /// The first id.
        first: TaskId,
        /// How many tasks.
        count: u32,
    },
    /// Tasks were claimed.
    #[serde(rename = "c")]
    Claimed {
        /// The handle of each lease.
        handles: Vec<Handle>,
    },
}

/// Why a request is refused. The queue is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The tasks would exceed `max-len`.
    FullLen,
    /// The bytes would exceed `max-bytes`.
    FullBytes,
    /// The group is new, and would exceed `groups-max`.
    FullGroups,
    /// The token is new, and would exceed `tokens-max`.
    FullTokens,
    /// There are as many batches as a queue can have.
    FullBatches,
    /// There is no batch of this name.
    UnknownBatch,
    /// The callback of the batch waits for it no more.
    ClosedBatch,
    /// A task to wait for was never pushed.
    NeverPushed,
    /// A task of a batch would wait for a held task outside the batch, which may itself wait for the batch.
    Circular,
    /// This task holds the token.
    Held(TaskId),
    /// The gate is closed: see [`crate::Gate`].
    Paused,
    /// There is nothing left to work on: the task is finished or removed.
    Gone,
    /// The task still exists, but this lease is over.
    Stale,
    /// The cancellation of the task was requested, so its lease is not extended.
    CancelAsked,
    /// Ids or lease numbers are used up.
    Exhausted,
}

impl Refusal {
    /// Whether the queue is full or paused: the same request can be accepted later.
    pub fn is_of_state(&self) -> bool {
        match self {
            Refusal::FullLen
            | Refusal::FullBytes
            | Refusal::FullGroups
            | Refusal::FullTokens
            | Refusal::FullBatches
            | Refusal::Paused => true,
            Refusal::UnknownBatch
            | Refusal::ClosedBatch
            | Refusal::NeverPushed
            | Refusal::Circular
            | Refusal::Held(_)
            | Refusal::Gone
            | Refusal::Stale
            | Refusal::CancelAsked
            | Refusal::Exhausted => false,
        }
    }
}
