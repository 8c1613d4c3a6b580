//! `TASK.CANCEL`: a task is not wanted any more.

use taskslot_engine::{Event, TaskId};

use super::args::{Args, OneOrMany};
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Removes ready and delayed tasks. A leased one is its worker's, who learns of the wish by TASK.EXTEND; it is gone as
/// soon as it is failed, requeued or stalls, and done if it is acked. Dead and done tasks are TASK.PURGE's.
pub struct Cancel;

impl Command for Cancel {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CANCEL",
        summary: "Removes waiting tasks; asks the worker of a leased one to stop",
        complexity: "O(n log m) for n ids and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "ids",
                &[
                    ArgDoc::text("id"),
                    ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("id").multiple()])
                        .after("IDS"),
                ],
            ),
        ],
        reply: "1 removed, 2 leased: asked for, 0 nothing to cancel; with IDS an array",
        replicates: "one TASK._APPLY: the tasks that are removed, and the leases whose workers are asked to \
                stop; nothing where there is nothing to cancel",
        errors: errors![UNKNOWN, NO_VALUE, RANGE, ID, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let ids: OneOrMany<TaskId> = args.one_or_many("IDS", Args::id)?;
        args.finish()?;
        let mut answers = vec![0; ids.as_slice().len()];
        write(ctx, key, Missing::Skip, |txn| {
            for (id, answer) in ids.as_slice().iter().zip(&mut answers) {
                let Ok(event) = txn.queue().cancel(*id) else { continue };
                txn.commit(&event)?;
                *answer = if matches!(event, Event::CancelAsked { .. }) { 2 } else { 1 };
            }
            Ok(())
        })?;
        if let OneOrMany::Many(_) = ids {
            ctx.reply().array(answers.len());
        }
        answers.into_iter().for_each(|answer| ctx.reply().integer(answer));
        Ok(())
    }
}
