//! `TASK.CANCEL`: cancels tasks.

use taskslot_engine::Event;

use super::args::{Args, OneOrMany};
use super::docs::{FIRST, errors};
use super::named::{TASKS, check_waits};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.CANCEL`.
pub struct Cancel;

impl Command for Cancel {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CANCEL",
        summary: "Removes waiting tasks, and asks the workers of leased tasks to stop",
        details: "A worker learns of it when it sends TASK.EXTEND. Its task is removed when it fails or \
            requeues it, or when the lease ends; if the worker acknowledges the task, it is finished \
            as usual. Dead and done tasks are not affected: TASK.PURGE removes them.",
        complexity: "O(n log m) for n ids in a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[ArgDoc::key("key", 0), TASKS],
        reply: "1 if the task was removed, 2 if its worker is asked to stop, 0 if there is nothing to \
            cancel. With IDS: an array",
        replicates: "One TASK._APPLY with the tasks that are removed, and the leases whose workers are asked \
            to stop. Only TASK._CLOCK if the queue exists and has nothing to cancel",
        errors: errors![
            TOO_MANY,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            NAME,
            ID,
            WAITS_OF_IDS,
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
        let tasks = args.tasks()?;
        args.finish()?;
        let mut answers = vec![0; tasks.as_slice().len()];
        write(ctx, key, Missing::Skip, |txn| {
            txn.refer_back();
            let ids = tasks.as_slice().iter().filter_map(|task| task.id(txn.queue(), txn.now.at));
            check_waits(txn.queue(), &ids.collect::<Vec<_>>())?;
            for (task, answer) in tasks.as_slice().iter().zip(&mut answers) {
                let Some(id) = task.id(txn.queue(), txn.now.at) else { continue };
                let Ok(event) = txn.queue().cancel(id) else { continue };
                txn.commit(&event)?;
                *answer = if matches!(event, Event::CancelAsked { .. }) { 2 } else { 1 };
            }
            Ok(())
        })?;
        if let OneOrMany::Many(_) = tasks {
            ctx.reply().array(answers.len());
        }
        answers.into_iter().for_each(|answer| ctx.reply().integer(answer));
        Ok(())
    }
}
