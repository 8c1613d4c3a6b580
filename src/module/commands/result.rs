//! `TASK.RESULT`: what came of a task, as soon as it is over.

use taskslot_engine::SPAN_MAX_MS;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::keyspace::read;
use crate::results;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Tells how a task ended and what came of it: its RESULT, or the last error. With BLOCK it waits for that, also on a
/// replica; in MULTI and scripts it doesn't. BROKEN comes with BLOCK only: nothing ends in a queue that was given up.
pub struct ResultCommand;

impl Command for ResultCommand {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.RESULT",
        summary: "Tells how a task ended; waits for its end with BLOCK",
        complexity: "O(log m) for m tasks",
        since: FIRST,
        arity: -3,
        flags: "readonly fast blocking random",
        acl: "read fast blocking",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[ArgDoc::key("key", 0), ArgDoc::text("id"), ArgDoc::integer("ms").after("BLOCK").optional()],
        reply: "[done, dead, cancelled, expired or purged; the result, the error or nil], nil while the task isn't \
                over, or 0 for an id that is unknown or wasn't kept",
        replicates: "nothing",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            ID,
            BROKEN,
            NO_PERMISSION,
            TRY_AGAIN,
            UNBLOCKED,
            WRONG_TYPE,
            BUSY
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let id = args.id()?;
        let mut block_ms = None;
        while args.option(&["BLOCK"])?.is_some() {
            block_ms = Some(args.unsigned("BLOCK", 0..=SPAN_MAX_MS)?);
        }
        let found = read(ctx, key, |value, now| {
            let Some(task) = value.queue.task(&now, id) else { return Found::Unknown };
            match results::outcome_of(&task) {
                Some((word, value)) => {
                    results::reply_outcome(ctx.reply(), word, value);
                    Found::Ended
                }
                None if value.health.is_sound() => Found::Living,
                None => Found::Broken,
            }
        })?;
        match found {
            Some(Found::Ended) => {}
            Some(Found::Unknown) | None => ctx.reply().integer(0),
            Some(Found::Broken) if block_ms.is_some() => return Err(Error::Broken),
            Some(Found::Living) if block_ms.is_some_and(|ms| results::wait(ctx, key, id, ms)) => {}
            Some(Found::Living | Found::Broken) => ctx.reply().null(),
        }
        Ok(())
    }
}

/// What a look into the queue found.
enum Found {
    /// The task is over, and how was replied.
    Ended,
    /// The task isn't over.
    Living,
    /// There is no such task.
    Unknown,
    /// The task isn't over, and never will be: the queue was given up.
    Broken,
}
