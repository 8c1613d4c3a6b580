//! Bytes ⇄ queues and what happens to them.

pub(crate) mod digest;
pub(crate) mod effect;
pub(crate) mod queue;
