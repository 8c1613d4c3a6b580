//! `TASK.ACK`: a task is finished.

use super::args::Args;
use super::handles::{HANDLES, work_on};
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context};
use crate::errors::Error;

/// `TASK.ACK`
pub struct Ack;

impl Command for Ack {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.ACK",
        summary: "Finishes tasks; also after the deadline, until the task is claimed again",
        complexity: "O(n log m) for n handles and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[ArgDoc::key("key", 0), HANDLES],
        reply: "1 finished, 0 nothing left to work on, or STALE; with HANDLES an array, -2 for STALE",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, ack(ctx, args));
    }
}

fn ack(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let handles = args.one_or_many("HANDLES", Args::handle)?;
    args.finish()?;
    work_on(ctx, key, &handles, |queue, now, handle| queue.ack(now, handle), |_, _| 1)
}
