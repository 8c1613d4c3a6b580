//! What decides: each rule reads a queue and the time, and says what happens as an event. None changes anything.

pub(crate) mod backoff;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod groups;
pub(crate) mod growth;
pub(crate) mod lease;
pub(crate) mod push;
pub(crate) mod retention;
pub(crate) mod schedule;
pub(crate) mod steer;
pub(crate) mod suspects;
pub(crate) mod term;
pub(crate) mod ttl;
pub(crate) mod unique;
