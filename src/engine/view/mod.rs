//! What is shown of a queue. Nothing here changes anything.
//!
//! - `info`: sizes, memory and figures. `load`: how many workers are needed. `workers`: who holds leases.
//! - `task`: one task. `list`: tasks of a state, `reverse`: the last first. `groups` and `schedules`: one view for each.
//!
//! Every call examines a bounded number of tasks.

pub(crate) mod batches;
pub(crate) mod groups;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod reverse;
pub(crate) mod schedules;
pub(crate) mod task;
pub(crate) mod workers;
