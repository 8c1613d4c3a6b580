//! The option PROGRESS of EXTEND, FAIL and REQUEUE: how far a task has got.

use taskslot_engine::PROGRESS_MAX_BYTES;

use super::args::Args;
use crate::errors::Error;
use taskslot_api::command::ArgDoc;

/// The option.
pub const PROGRESS: ArgDoc = ArgDoc::text("text").after("PROGRESS").optional().about(
    "How far the tasks have got, at most 4096 bytes. It stays until the task is done or removed, TASK.GET and TASK.LIST \
        show it, and the next claim gets it with WITHMETA. An empty one removes it. If the server is out of memory, a \
        longer one than before is refused with OOM",
);

/// Reads its value. Errors: it is too long, or missing.
pub fn read_progress<'a>(args: &mut Args<'a>) -> Result<&'a [u8], Error> {
    let progress = args.bytes()?;
    match progress.len() {
        0..=PROGRESS_MAX_BYTES => Ok(progress),
        _ => Err(Error::TooLong("PROGRESS", PROGRESS_MAX_BYTES)),
    }
}
