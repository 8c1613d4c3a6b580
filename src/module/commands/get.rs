//! `TASK.GET`: returns what is known about a task.

use taskslot_engine::{Handle, TaskId};

use super::args::{Args, Named};
use super::docs::{FIRST, errors};
use super::named::{ID, TOKEN};
use super::task::reply_task;
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.GET`. Whoever has the nonce can act for the lease, so the reply leaves it out.
pub struct Get;

impl Command for Get {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.GET",
        summary: "Returns everything known about a task, except the nonce of its lease",
        details: "Fields that do not apply to the task are left out. [Observability](observability.md) describes them.",
        complexity: "O(log m) for a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "readonly fast random",
        acl: "read fast",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "task",
                &[ID, ArgDoc::text("handle").about("A handle of the task. Its lease can have ended"), TOKEN],
            ),
        ],
        reply: "A map, or nil if the task does not exist",
        replicates: "Nothing",
        errors: errors![TOO_MANY, NO_VALUE, NAME, ID_OR_HANDLE, WRONG_TYPE, BUSY],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let task = if args.word("UNIQUE") {
            Named::Token(args.name("UNIQUE")?)
        } else {
            let name = args.bytes()?;
            let id = TaskId::parse(name).or_else(|| Handle::parse(name).map(|handle| handle.id));
            Named::Id(id.ok_or(Error::Bad("invalid task id or handle"))?)
        };
        args.finish()?;
        let found = read(ctx, key, |value, now| {
            match task.id(&value.queue, now.at).and_then(|id| value.queue.task(&now, id)) {
                Some(task) => {
                    reply_task(ctx.reply(), &task, true);
                    true
                }
                None => false,
            }
        })?;
        if found != Some(true) {
            ctx.reply().null();
        }
        Ok(())
    }
}
