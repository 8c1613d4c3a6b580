//! `TASK.ACK`: a task is finished.

use taskslot_engine::{RESULT_MAX_BYTES, SPAN_MAX_MS};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The most bytes of results that one call may leave, since each of its tasks gets its own.
const RESULTS_MAX_BYTES: usize = 64 << 20;

/// Finishes tasks. They are gone, or kept as done for RETAIN ms, else for what the push or the queue says. After the
/// deadline it counts as late, until the next claim. Many handles are worked on in order, each for itself.
pub struct Ack;

impl Command for Ack {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.ACK",
        summary: "Finishes tasks, also after the deadline until claimed again; RETAIN keeps them, with their RESULT",
        complexity: "O(n log m) for n handles and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::text("payload").after("RESULT").optional(),
            ArgDoc::integer("ms").after("RETAIN").optional(),
        ],
        reply: "1 finished, 0 nothing left to work on, or STALE; with HANDLES an array, -2 for STALE; OOM for a RESULT \
                to be retained in a full server: RETAIN 0 is taken",
        replicates: "one TASK._APPLY: the tasks that are finished, with RESULT and until when they are kept; \
                nothing for handles that are gone or stale",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            TOO_LONG,
            HANDLE,
            STALE,
            OUT_OF_MEMORY,
            WRONG_TYPE,
            BROKEN,
            BUSY,
            SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let handles = args.one_or_many("HANDLES", Args::handle)?;
        let (mut result, mut retain_ms) = (None, None);
        while let Some(option) = args.option(&["RESULT", "RETAIN"])? {
            match option {
                "RESULT" => result = Some(args.bytes()?),
                "RETAIN" => retain_ms = Some(args.unsigned("RETAIN", 0..=SPAN_MAX_MS)?),
                _ => return Err(Error::Syntax),
            }
        }
        let bytes = result.map_or(0, <[u8]>::len);
        if bytes > RESULT_MAX_BYTES {
            return Err(Error::TooLong("RESULT", RESULT_MAX_BYTES));
        }
        if bytes * handles.as_slice().len() > RESULTS_MAX_BYTES {
            return Err(Error::TooLong("RESULT for all HANDLES together", RESULTS_MAX_BYTES));
        }
        work_on(
            ctx,
            key,
            &handles,
            result.is_some(),
            |queue, now, handle| queue.finish(now, handle, retain_ms, result),
            |_, _| 1,
        )
    }
}
