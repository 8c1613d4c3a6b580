//! What is shown of a queue. Nothing here changes anything.

pub(crate) mod load;
pub(crate) mod task;
pub(crate) mod workers;
