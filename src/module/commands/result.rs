//! `TASK.RESULT`: what came of a task, as soon as it is over.

use taskslot_engine::SPAN_MAX_MS;

use super::args::Args;
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context};
use crate::errors::Error;
use crate::keyspace::read;
use crate::results;

/// `TASK.RESULT`
pub struct Outcome;

impl Command for Outcome {
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
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, result(ctx, args));
    }
}

/// What is to be done once the queue has been looked at.
enum Then {
    /// It was answered.
    Nothing,
    /// The task isn't over.
    Wait,
    /// There is no such task.
    Unknown,
    /// The queue was given up: nothing ends in it.
    Broken,
}

fn result(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let id = args.id()?;
    let mut block_ms = None;
    while args.option(&["BLOCK"])?.is_some() {
        block_ms = Some(args.unsigned("BLOCK", 0..=SPAN_MAX_MS)?);
    }
    let then = read(ctx, key, |value, now| {
        let Some(task) = value.queue.task(&now, id) else { return Then::Unknown };
        match results::outcome_of(&task) {
            Some((word, told)) => {
                results::reply_outcome(ctx.reply(), word, told);
                Then::Nothing
            }
            None if value.health.is_sound() => Then::Wait,
            None => Then::Broken,
        }
    })?;
    match then {
        Some(Then::Nothing) => {}
        Some(Then::Unknown) | None => ctx.reply().integer(0),
        Some(Then::Broken) if block_ms.is_some() => return Err(Error::Broken),
        Some(Then::Wait) if block_ms.is_some_and(|ms| results::wait(ctx, key, id, ms)) => {}
        Some(Then::Wait | Then::Broken) => ctx.reply().null(),
    }
    Ok(())
}
