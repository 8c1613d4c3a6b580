//! `TASK.PURGE`: removes waiting, dead or done tasks.

use taskslot_engine::{BATCH_MAX, Event, TaskState};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The states that can be purged. Leased tasks can't, because workers are working on them.
const STATES: [TaskState; 5] =
    [TaskState::Ready, TaskState::Delayed, TaskState::Held, TaskState::Dead, TaskState::Done];
/// The order in which ALL purges them. Held tasks are the first, so that the end of others doesn't let them go.
const ALL: [TaskState; 5] =
    [TaskState::Held, TaskState::Ready, TaskState::Delayed, TaskState::Dead, TaskState::Done];

/// The command `TASK.PURGE`.
pub struct Purge;

impl Command for Purge {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PURGE",
        summary: "Removes the tasks in a state, or all tasks that are not leased",
        details: "A call removes a limited number of tasks, so that it does not hold the server up. Repeat \
            it until it returns 0. Settings, groups and schedules stay.",
        complexity: "O(n log m) for n removed tasks in a queue of m",
        since: FIRST,
        arity: -3,
        flags: "write",
        acl: "write dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "state",
                &[
                    ArgDoc::word("ready", "READY").about("The ready tasks"),
                    ArgDoc::word("delayed", "DELAYED").about("The delayed tasks"),
                    ArgDoc::word("held", "HELD").about(
                        "The tasks that wait for others, and the callbacks of batches with their batches",
                    ),
                    ArgDoc::word("dead", "DEAD").about("The dead tasks"),
                    ArgDoc::word("done", "DONE").about("The done tasks, with their results"),
                    ArgDoc::word("all", "ALL")
                        .about("All of these: the ready, delayed, held, dead and done tasks"),
                ],
            ),
            ArgDoc::integer("tasks")
                .after("COUNT")
                .optional()
                .about("The most tasks to remove, 1 to 1000. 1000 by default"),
        ],
        reply: "The number of tasks that were removed",
        replicates: "One TASK._APPLY with the ids of the tasks that are removed. Nothing if there are none",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, RANGE, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let [ready, delayed, held, dead, done] = STATES.map(TaskState::name);
        let state = args.one_of(&[ready, delayed, held, dead, done, "ALL"])?;
        let mut count = BATCH_MAX;
        while args.option(&["COUNT"])?.is_some() {
            count = args.count("COUNT")?;
        }
        let states = STATES.get(state).map_or(&ALL[..], std::slice::from_ref);
        let removed = write(ctx, key, Missing::Skip, |txn| {
            let mut removed = 0;
            for &state in states {
                let ids = txn.queue().some(&txn.now, state, count - removed);
                if !ids.is_empty() {
                    removed += ids.len();
                    // A done task is already counted as acked, so it doesn't count as purged too.
                    let is_done = state == TaskState::Done;
                    txn.commit(&if is_done { Event::Forgotten { ids } } else { Event::Purged { ids } })?;
                }
            }
            Ok(removed)
        })?;
        ctx.reply().integer(removed.unwrap_or(0) as i64);
        Ok(())
    }
}
