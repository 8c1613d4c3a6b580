//! `TASK.PURGE`: waiting, dead or done tasks are thrown away.

use taskslot_engine::{BATCH_MAX, Event, TaskState};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// What can be purged: a leased task is in a worker's hands.
const STATES: [TaskState; 4] = [TaskState::Ready, TaskState::Delayed, TaskState::Dead, TaskState::Done];

/// Removes tasks, at most COUNT a call, so that it never holds the server long. Leased ones are in their workers'
/// hands and stay.
pub struct Purge;

impl Command for Purge {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PURGE",
        summary: "Removes tasks of a state, or of all but the leased; settings stay. Call it until it says 0",
        complexity: "O(n log m) for n tasks removed of m",
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
                    ArgDoc::word("ready", "READY"),
                    ArgDoc::word("delayed", "DELAYED"),
                    ArgDoc::word("dead", "DEAD"),
                    ArgDoc::word("done", "DONE"),
                    ArgDoc::word("all", "ALL"),
                ],
            ),
            ArgDoc::integer("tasks").after("COUNT").optional(),
        ],
        reply: "how many were removed, at most COUNT (1000 if it isn't given)",
        replicates: "one TASK._APPLY: the ids of the tasks that are gone; nothing where there are none",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, RANGE, WORD, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let [ready, delayed, dead, done] = STATES.map(TaskState::name);
        let state = args.one_of(&[ready, delayed, dead, done, "ALL"])?;
        let mut count = BATCH_MAX;
        while args.option(&["COUNT"])?.is_some() {
            count = args.count("COUNT")?;
        }
        let states = STATES.get(state).map_or(&STATES[..], std::slice::from_ref);
        let removed = write(ctx, key, Missing::Skip, |txn| {
            let mut removed = 0;
            for &state in states {
                let ids = txn.queue().some(&txn.now, state, count - removed);
                if !ids.is_empty() {
                    removed += ids.len();
                    // Who is done is counted as acked, so not once more as purged.
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
