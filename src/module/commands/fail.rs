//! `TASK.FAIL`: an attempt failed.

use taskslot_engine::{ERROR_MAX_BYTES, Event, Retry, SPAN_MAX_MS, Then};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use crate::entropy;
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Ends attempts that failed. A task comes back after the queue's backoff or DELAY ms; at its limit, or with DEAD, it
/// is dead. ERROR is cut at 1 KiB, and left out where the server is full: a full server drains by failures, too. A
/// task that is to be cancelled is gone by this.
pub struct Fail;

impl Command for Fail {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.FAIL",
        summary: "Says that attempts failed: the tasks come back after a backoff, or are dead at their limit",
        complexity: "O(n log m) for n handles and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::text("text").after("ERROR").optional(),
            ArgDoc::one_of("then", &[ArgDoc::integer("ms").after("DELAY"), ArgDoc::word("dead", "DEAD")])
                .optional(),
        ],
        reply: "ms until the task is ready again, -1 if it is dead, 0 nothing left to work on, or STALE; with HANDLES \
                an array, -2 for STALE",
        replicates: "one TASK._APPLY: the failures with ERROR, and when each task is ready again or that it is \
                dead; nothing for handles that are gone or stale",
        errors: errors![
            UNKNOWN, TWICE, NO_VALUE, RANGE, CLASH, HANDLE, STALE, WRONG_TYPE, BROKEN, BUSY, SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let handles = args.one_or_many("HANDLES", Args::handle)?;
        let (mut error, mut retry): (&[u8], _) = (&[], None);
        while let Some(option) = args.option(&["ERROR", "DELAY", "DEAD"])? {
            match option {
                "ERROR" => error = args.bytes()?,
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
            false,
            |queue, now, handle| {
                let event = queue.fail(now, &mut entropy::bits, handle, retry, error)?;
                // A full server drains by failures too, so only their texts are left out.
                let is_too_much = queue.growth(&event) > 0 && ctx.is_out_of_memory();
                if is_too_much { queue.fail(now, &mut entropy::bits, handle, retry, &[]) } else { Ok(event) }
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
