//! What is asked of a queue, what is answered, and why a verb does nothing.

use serde::{Deserialize, Serialize};

use crate::task::{Handle, Options, TaskId};
use crate::time::Due;

/// A source of random bits. Only a primary draws; what it drew travels in events.
pub type Entropy<'a> = &'a mut dyn FnMut() -> u32;

/// The time in which one node is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// A random number, not 0.
    pub id: u64,
    /// How it began.
    pub beginning: Beginning,
}

/// How a node became the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It started as one.
    Start,
    /// It was a replica before. Another primary may still believe in itself.
    Promotion,
}

/// What a push asks for.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// When the tasks become ready; `None` for now.
    pub due: Option<Due>,
    /// What holds for each task.
    pub options: Options<'a>,
    /// One for each task, at least one.
    pub payloads: &'a [&'a [u8]],
}

/// What a claim asks for.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The most tasks.
    pub count: usize,
    /// The most bytes of payloads, but for the first.
    pub bytes: Option<u64>,
    /// The leases' length, before the task's and the queue's.
    pub lease_ms: Option<u32>,
    /// The worker's name, empty for none.
    pub worker: &'a [u8],
    /// Whether the leases end with the connection.
    pub tied: bool,
    /// At most once: no lease, the tasks are gone.
    pub noack: bool,
    /// Only tasks of this group.
    pub group: Option<&'a [u8]>,
}

impl Default for Claim<'_> {
    fn default() -> Self {
        Claim { count: 1, bytes: None, lease_ms: None, worker: &[], tied: false, noack: false, group: None }
    }
}

/// What a worker says of a failed attempt's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// As the backoff says.
    Backoff,
    /// After this many ms.
    After(u64),
    /// Never.
    Dead,
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// `count` tasks were pushed, with consecutive ids from `first` on.
    #[serde(rename = "p")]
    Pushed {
        /// The first id.
        first: TaskId,
        /// How many.
        count: u32,
    },
    /// These leases were given.
    #[serde(rename = "c")]
    Claimed {
        /// Their handles.
        handles: Vec<Handle>,
    },
}

/// Why a verb does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `max-len` is reached.
    FullLen,
    /// `max-bytes` is reached.
    FullBytes,
    /// `groups-max` is reached.
    FullGroups,
    /// `tokens-max` is reached.
    FullTokens,
    /// This task holds the token.
    Held(TaskId),
    /// The gate is closed.
    Paused,
    /// There is nothing left to work on: the task is finished or removed.
    Gone,
    /// The task lives on without this lease.
    Stale,
    /// Somebody asked to cancel the task.
    CancelAsked,
    /// Ids or lease numbers have come to their end.
    Exhausted,
}
