//! The tables that a queue is made of. None of them knows the queue, nor any other table that isn't below it.

pub(crate) mod bodies;
pub(crate) mod delayed;
pub(crate) mod done;
pub(crate) mod effect_count;
pub(crate) mod entry;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod histogram;
pub(crate) mod interner;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod level;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod side_table;
pub(crate) mod stats;
pub(crate) mod ties;
pub(crate) mod tokens;
