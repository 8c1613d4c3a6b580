//! Bytes ⇄ queues and what happens to them.

pub(crate) mod effect;
pub(crate) mod fingerprint;
pub(crate) mod queue;
