//! What is shown of a queue. Nothing here changes anything.

pub(crate) mod groups;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod schedules;
pub(crate) mod task;
pub(crate) mod workers;
