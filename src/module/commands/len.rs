//! `TASK.LEN`: how many tasks.

use taskslot_engine::TaskState;

use super::args::Args;
use super::docs::{FIRST, errors};
use super::list::STATE;
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Counts tasks. Without a state: those that are still to be done, so neither dead nor done ones.
pub struct Len;

impl Command for Len {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.LEN",
        summary: "Counts the tasks that are ready, delayed or leased, or those of one state",
        complexity: "O(1)",
        since: FIRST,
        arity: -2,
        flags: "readonly fast random",
        acl: "read fast",
        keys: &[KeySpec::first(key_flags::RO)],
        args: &[ArgDoc::key("key", 0), STATE.optional()],
        reply: "how many; 0 where there is no queue",
        replicates: "nothing",
        errors: errors![UNKNOWN, WORD, WRONG_TYPE, BUSY],
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
