//! The words by which commands name tasks, in their manuals: see [`super::args::Args::tasks`].

use taskslot_api::command::ArgDoc;
use taskslot_engine::{Queue, TaskId, WAITS_MAX};

use crate::errors::Error;

/// A task by its id.
pub const ID: ArgDoc = ArgDoc::text("id").about("The id of a task");
/// Several tasks by their ids.
pub const IDS: ArgDoc = ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("id").multiple()])
    .after("IDS")
    .about("1 to 1000 ids");
/// A task by its token.
pub const TOKEN: ArgDoc = ArgDoc::text("token")
    .after("UNIQUE")
    .about("The task that holds this UNIQUE token now and is ready, delayed, held or leased");

/// One task, or several.
pub const TASKS: ArgDoc = ArgDoc::one_of("tasks", &[ID, IDS, TOKEN]);

/// Checks, before anything changes, that few enough waits end with these tasks.
pub fn check_waits(queue: &Queue, ids: &[TaskId]) -> Result<(), Error> {
    if ids.len() > 1 && queue.waits_of(ids) > WAITS_MAX {
        return Err(Error::Bad("IDS names held tasks that wait for more than 10000 others together"));
    }
    Ok(())
}
