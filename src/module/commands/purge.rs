//! `TASK.PURGE`: removes waiting, dead or done tasks: those of a state, those that are old, or some by their ids.

use taskslot_engine::{BATCH_MAX, SPAN_MAX_MS, TaskId, TaskState, WAITS_MAX};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::named::check_waits;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The states that can be purged, in the order in which ALL purges them. Held tasks are the first, so that the end of
/// others doesn't let them go. Leased tasks can't be purged, because workers are working on them.
const STATES: &[TaskState] =
    &[TaskState::Held, TaskState::Ready, TaskState::Delayed, TaskState::Dead, TaskState::Done];

/// The command `TASK.PURGE`.
pub struct Purge;

impl Command for Purge {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PURGE",
        summary: "Removes the tasks in a state, or all tasks that are not leased, or tasks by their ids",
        details: "A call removes a limited number of tasks, so that it does not hold the server up: fewer than \
            COUNT if they wait for more than 10,000 tasks together. Repeat it until it returns 0. With OLDER it examines at most 10,000 ready and 10,000 delayed tasks; the next such \
            call goes on there. So a 0 is certain only in a queue with no more tasks than that, or after as many calls \
            as it takes to look at all of them. Settings, groups and schedules stay.",
        complexity: "O(n log m) for n removed tasks in a queue of m",
        since: FIRST,
        arity: -3,
        flags: "write",
        acl: "write dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "tasks",
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
                    ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("id").multiple()])
                        .after("IDS")
                        .about("The tasks with these ids, 1 to 1000 of them, unless they are leased"),
                ],
            ),
            ArgDoc::integer("ms").after("OLDER").optional().about(
                "Only tasks that have been in their state for at least this many milliseconds, up to 100 years: dead and done \
                    ones since they became so, ready ones since they were last ready, delayed ones since their push",
            ),
            ArgDoc::integer("tasks")
                .after("COUNT")
                .optional()
                .about("The most tasks to remove, 1 to 1000. 1000 by default. Not with IDS"),
        ],
        reply: "The number of tasks that were removed",
        replicates: "One TASK._APPLY with the ids of the tasks that are removed. Only TASK._CLOCK if the queue \
            exists and has none",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, TOO_FEW_VALUES, NUMBER, RANGE, ID, CLASH, WAITS_OF_IDS, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let (which, mut older_ms, mut count) = (Which::read(&mut args)?, None, BATCH_MAX);
        while let Some(option) = args.option(&["OLDER", "COUNT"])? {
            match (option, &which) {
                ("OLDER", _) => older_ms = Some(args.unsigned("OLDER", 0..=SPAN_MAX_MS)?),
                (option, Which::Ids(_)) => return Err(Error::Clash("IDS", option)),
                (option, Which::States(_)) => count = args.count(option)?,
            }
        }
        let removed = write(ctx, key, Missing::Skip, |txn| {
            txn.refer_back();
            match &which {
                Which::Ids(ids) => purge_ids(txn, ids, older_ms),
                Which::States(states) => purge_states(txn, states, older_ms, count),
            }
        })?;
        ctx.reply().integer(removed.unwrap_or(0) as i64);
        Ok(())
    }
}

/// The tasks to remove.
enum Which {
    States(&'static [TaskState]),
    Ids(Vec<TaskId>),
}

impl Which {
    fn read(args: &mut Args<'_>) -> Result<Which, Error> {
        let mut words: Vec<&'static str> = STATES.iter().map(|state| state.name()).collect();
        words.extend(["ALL", "IDS"]);
        let at = args.one_of(&words)?;
        if words.get(at) != Some(&"IDS") {
            return Ok(Which::States(STATES.get(at).map_or(STATES, std::slice::from_ref)));
        }
        Ok(Which::Ids(args.ids("IDS")?))
    }
}

/// Removes tasks by their ids, and returns how many.
fn purge_ids(txn: &mut Txn<'_, '_>, ids: &[TaskId], older_ms: Option<u64>) -> Result<usize, Error> {
    check_waits(txn.queue(), ids)?;
    let mut removed = 0;
    for event in txn.queue().purge_ids(&txn.now, ids, older_ms) {
        removed += event.changes().tasks.ids().count();
        txn.commit(&event)?;
    }
    Ok(removed)
}

/// Removes at most `count` tasks of these states, and returns how many.
fn purge_states(
    txn: &mut Txn<'_, '_>,
    states: &[TaskState],
    older_ms: Option<u64>,
    count: usize,
) -> Result<usize, Error> {
    let (mut removed, waits) = (0, txn.queue().open_waits());
    for &state in states.iter() {
        let (event, stopped) = txn.queue().purge(&txn.now, state, older_ms, count - removed);
        if let Some(event) = event {
            removed += event.changes().tasks.ids().count();
            txn.commit(&event)?;
        }
        stopped.into_iter().for_each(|stopped| txn.note_search(stopped));
        // There may be more held tasks. Those that they wait for stay until they are gone.
        let ended = waits.saturating_sub(txn.queue().open_waits());
        if removed >= count || ended >= WAITS_MAX {
            break;
        }
    }
    Ok(removed)
}
