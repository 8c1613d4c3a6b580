//! `TASK.REQUEUE`: gives tasks back to the queue.

use taskslot_engine::{Event, SPAN_MAX_MS};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use super::progress::{PROGRESS, read_progress};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.REQUEUE`.
pub struct Requeue;

impl Command for Requeue {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.REQUEUE",
        summary: "Gives tasks back to the queue, without counting a failure",
        details: "By default a task goes back to its old place in the queue. A task whose cancellation was \
            requested is removed instead.",
        complexity: "O(n log m) for n handles in a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::integer("ms")
                .after("DELAY")
                .optional()
                .about("The tasks become ready after this many milliseconds, up to 100 years"),
            ArgDoc::word("back", "BACK")
                .optional()
                .about("The tasks go behind all other ready tasks of their priority and group"),
            PROGRESS,
        ],
        reply: "1 if the task was given back, 0 if it was removed or there is nothing left to give back. \
            With HANDLES: an array, with -2 instead of the error STALE",
        replicates: "One TASK._APPLY with the tasks that are given back, when they are ready, and PROGRESS. \
            Only TASK._CLOCK if the queue exists and the handles are stale or have nothing left to give back",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
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
        let handles = args.handles()?;
        let (mut delay_ms, mut back, mut progress) = (None, false, None);
        while let Some(option) = args.option(&["DELAY", "BACK", "PROGRESS"])? {
            match option {
                "DELAY" => delay_ms = Some(args.unsigned("DELAY", 0..=SPAN_MAX_MS)?),
                "BACK" => back = true,
                "PROGRESS" => progress = Some(read_progress(&mut args)?),
                _ => return Err(Error::Syntax),
            }
        }
        work_on(
            ctx,
            key,
            &handles,
            progress.is_some(),
            |queue, now, handle| queue.requeue_at(now, handle, delay_ms, back, progress),
            |_, event| i64::from(!matches!(event, Event::Cancelled { .. })),
        )
    }
}
