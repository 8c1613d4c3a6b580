//! `TASK.LEN`: counts tasks.

use taskslot_engine::TaskState;

use super::args::Args;
use super::docs::{FIRST, errors};
use super::list::STATE;
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.LEN`. Without a state it counts the tasks that are not over: neither dead nor done ones.
pub struct Len;

impl Command for Len {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.LEN",
        summary: "Returns the number of tasks in a state, or of all that are ready, delayed, held or leased",
        complexity: "O(1)",
        since: FIRST,
        arity: -2,
        flags: "readonly fast random",
        acl: "read fast",
        keys: &[KeySpec::first(key_flags::RO)],
        args: &[ArgDoc::key("key", 0), STATE.optional()],
        reply: "The number of tasks; 0 if the queue does not exist",
        replicates: "Nothing",
        errors: errors![UNKNOWN, TOO_MANY, WRONG_TYPE, BUSY],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let state =
            if args.left() > 0 { Some(args.one_of(&TaskState::ALL.map(TaskState::name))?) } else { None };
        args.finish()?;
        let state = state.and_then(|at| TaskState::ALL.get(at));
        let count = read(ctx, key, |value, _| match state {
            Some(state) => value.queue.count(*state),
            None => value.queue.len(),
        })?;
        ctx.reply().integer(i64::try_from(count.unwrap_or(0)).unwrap_or(i64::MAX));
        Ok(())
    }
}
