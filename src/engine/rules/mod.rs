//! Decisions. Each rule reads a queue and the time and returns an event; none changes anything.
//!
//! Rules are methods of [`crate::State`] that take `&self`. They choose everything that an event carries: ids, lease
//! numbers, nonces, instants. Applying the event then leaves nothing to decide, on the primary or on a replica.
//!
//! - By clients: `push`, `unique` (tokens), `dependents` (AFTER), `batches`, `claim`, `gather`, `suspects`, `lease`
//!   (answers), `step` (an answer that pushes the next task), `steer` (cancel, retry), `set` (what
//!   waits), `purge`, `groups`.
//! - By time: `due`, which asks `ttl`, `retention`, `schedule` and the others in turn.
//! - Helpers: `backoff` (delays), `growth` (memory), `term` (lease numbers over failovers).
//!
//! Errors are [`crate::Refusal`]s. A rule that is refused, or has nothing to do, leaves no trace.

pub(crate) mod backoff;
pub(crate) mod batches;
pub(crate) mod claim;
pub(crate) mod dependents;
pub(crate) mod due;
pub(crate) mod gather;
pub(crate) mod groups;
pub(crate) mod growth;
pub(crate) mod lease;
pub(crate) mod purge;
pub(crate) mod push;
pub(crate) mod retention;
pub(crate) mod schedule;
pub(crate) mod set;
pub(crate) mod steer;
pub(crate) mod step;
pub(crate) mod suspects;
pub(crate) mod term;
pub(crate) mod ttl;
pub(crate) mod unique;
