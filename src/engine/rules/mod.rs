//! What decides: each rule reads a queue and the time, and says what happens as an event. None changes anything.

pub(crate) mod backoff;
pub(crate) mod claim;
pub(crate) mod decide;
pub(crate) mod due;
pub(crate) mod growth;
pub(crate) mod limits;
pub(crate) mod suspects;
