//! The tables that a queue is made of. None of them knows the queue, or a table that does not belong to it.
//!
//! What grows with the backlog is stored compactly. Every task has a record in the log (`log`, `page`, `record`) for
//! its whole life. A task that was claimed, delayed or finished also has an entry in its page (`entry`). The order of
//! ready tasks is kept as runs of numbers (`runs`), in a lane for each priority and group (`lane`, `level`, `lanes`).
//!
//! Everything else is an index or a side table: it holds the few tasks that need it, and a queue that does not use a
//! feature does not pay for its table.
//!
//! - By time: `delayed`, `expiry` (TTL), `done` (retention), `schedules`.
//! - By name: `groups`, `tokens` (UNIQUE), `requests` (REQUEST), `batches`, `interner` (names of workers), `name`.
//! - By what they wait for: `dependents` (AFTER).
//! - Beside the log: `edits` and `edit` (what replaced parts of a record), `side_table` (errors, results, progress, last
//!   attempts), whose values are encoded by `task_errors` and `last_attempt`.
//! - Known to this node only, neither stored nor replicated: `ties` (connections), `stats`, `histogram` and `durations`.
//! - `effect_count`: the number of the last effect.
//!
//! No table is a hash table that grows with the tasks, because a single resize would stall the server. Methods named
//! `memory` estimate the bytes taken from the allocator; `validate`, `holds` and `is_counted` are for `check` only.

pub(crate) mod batches;
pub(crate) mod delayed;
pub(crate) mod dependents;
pub(crate) mod done;
pub(crate) mod durations;
pub(crate) mod edit;
pub(crate) mod edits;
pub(crate) mod effect_count;
pub(crate) mod entry;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod histogram;
pub(crate) mod interner;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod last_attempt;
pub(crate) mod level;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod page;
pub(crate) mod pages;
pub(crate) mod record;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod searches;
pub(crate) mod side_table;
pub(crate) mod stats;
pub(crate) mod task_errors;
pub(crate) mod ties;
pub(crate) mod tokens;
