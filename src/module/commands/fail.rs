//! `TASK.FAIL`: reports that attempts failed.

use taskslot_engine::{ERROR_MAX_BYTES, Event, Retry, SPAN_MAX_MS, Then};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use super::progress::{PROGRESS, read_progress};
use crate::entropy;
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.FAIL`.
pub struct Fail;

impl Command for Fail {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.FAIL",
        summary: "Reports that attempts failed. The tasks are retried after a backoff, or are dead at \
            their limit of failures",
        details: "The limit is ATTEMPTS of the push, otherwise the queue's setting `attempts`. A task \
            whose cancellation was requested is removed instead.",
        complexity: "O(n log m) for n handles in a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::text("text").after("ERROR").optional().about(
                "The error, which is kept with the task and cut to 4096 bytes. The setting `errors-kept` says how many of \
                    the last ones are kept. It is dropped if the server is out of memory",
            ),
            ArgDoc::one_of(
                "then",
                &[
                    ArgDoc::integer("ms").after("DELAY").about(
                        "Retries after this many milliseconds instead of the queue's backoff, up to 100 years. The limit of \
                            failures still applies",
                    ),
                    ArgDoc::word("dead", "DEAD").about("The task is dead at once"),
                ],
            )
            .optional(),
            PROGRESS,
        ],
        reply: "The milliseconds until the task is ready again, -1 if it is dead, or 0 if it was removed \
            or there is nothing left to fail. With HANDLES: an array, with -2 instead of the error \
            STALE",
        replicates: "One TASK._APPLY with the failures, ERROR and PROGRESS, and when each task is ready again or that \
            it is dead. Only TASK._CLOCK if the queue exists and the handles are stale or have nothing left to fail",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            TOO_LONG,
            CLASH,
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
        let (mut error, mut retry, mut progress): (&[u8], _, _) = (&[], None, None);
        while let Some(option) = args.option(&["ERROR", "DELAY", "DEAD", "PROGRESS"])? {
            match option {
                "ERROR" => error = args.bytes()?,
                "PROGRESS" => progress = Some(read_progress(&mut args)?),
                _ if retry.is_some() => return Err(Error::Clash("DELAY", "DEAD")),
                "DELAY" => retry = Some(Retry::After(args.unsigned("DELAY", 0..=SPAN_MAX_MS)?)),
                "DEAD" => retry = Some(Retry::Dead),
                _ => return Err(Error::Syntax),
            }
        }
        let error = error.get(..ERROR_MAX_BYTES).unwrap_or(error);
        let retry = retry.unwrap_or(Retry::Backoff);
        work_on(
            ctx,
            key,
            &handles,
            progress.is_some(),
            |queue, now, handle| {
                let fail = |error| queue.fail_at(now, &mut entropy::bits, handle, retry, error, progress);
                let event = fail(error)?;
                // A server that is out of memory drains by failures too. So the failure counts, and only its text is
                // dropped.
                let is_too_much = queue.growth(&event) > 0 && ctx.is_out_of_memory();
                if is_too_much { fail(&[]) } else { Ok(event) }
            },
            |now, event| match event {
                Event::Failed { then: Then::Delayed(due), .. } => {
                    i64::try_from(due.on_clock(&now).since(now.at)).unwrap_or(i64::MAX).max(1)
                }
                Event::Failed { then: Then::Dead(_), .. } => -1,
                _ => 0,
            },
        )
    }
}
