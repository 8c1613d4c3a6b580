//! `TASK.RESULT`: returns how a task ended, at once or when it does.

use taskslot_engine::{SPAN_MAX_MS, TaskId};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::named::TOKEN;
use crate::errors::Error;
use crate::keyspace::read;
use crate::results;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.RESULT`. It replies BROKEN only with BLOCK: no task ends in a broken queue, so a wait would be in
/// vain.
pub struct ResultCommand;

impl Command for ResultCommand {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.RESULT",
        summary: "Returns how a task ended, and its result. With BLOCK, waits for its end",
        details: "It works on replicas too. A client that waits gets the result even if the task is not \
            retained; one that comes later does not.",
        complexity: "O(log m) for a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "readonly fast blocking random",
        acl: "read fast blocking",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "task",
                &[ArgDoc::text("id").about("The id that the push returned"), TOKEN],
            ),
            ArgDoc::integer("ms").after("BLOCK").optional().about(
                "Waits up to this many milliseconds for the end of the task, at most 100 years. 0 waits without a time \
                    limit. Has no effect in MULTI and in scripts",
            ),
        ],
        reply: "[state, value]: done with the result, dead with the last error, or cancelled, expired or \
            purged with nil. nil if the task has not ended. 0 if the id is unknown or the task was \
            not retained",
        replicates: "Nothing",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            NAME,
            ID,
            BROKEN_WAIT,
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
        let task = args.task()?;
        let mut block_ms = None;
        while args.option(&["BLOCK"])?.is_some() {
            block_ms = Some(args.unsigned("BLOCK", 0..=SPAN_MAX_MS)?);
        }
        let found = read(ctx, key, |value, now| {
            let id = task.id(&value.queue, now.at);
            let Some(task) = id.and_then(|id| value.queue.task(&now, id)) else { return Found::Unknown };
            match results::outcome_of(&task) {
                Some((word, value)) => {
                    results::reply_outcome(ctx.reply(), word, value);
                    Found::Ended
                }
                None if value.health.is_sound() => Found::Living(task.id),
                None => Found::Broken,
            }
        })?;
        match found {
            Some(Found::Ended) => {}
            Some(Found::Unknown) | None => ctx.reply().integer(0),
            Some(Found::Broken) if block_ms.is_some() => return Err(Error::Broken),
            Some(Found::Living(id)) if block_ms.is_some_and(|ms| results::wait(ctx, key, id, ms)) => {}
            Some(Found::Living(_) | Found::Broken) => ctx.reply().null(),
        }
        Ok(())
    }
}

/// The state of the task, as far as the reply depends on it.
enum Found {
    /// The task has ended, and the reply is already sent.
    Ended,
    /// This task has not ended. A client that waits, waits for it, whoever gets its token later.
    Living(TaskId),
    /// There is no such task.
    Unknown,
    /// The task has not ended and never will, because its queue is broken.
    Broken,
}
