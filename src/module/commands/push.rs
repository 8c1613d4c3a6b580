//! `TASK.PUSH`, `TASK.MPUSH`: add tasks to a queue.

use taskslot_engine::{self as engine, Answer, BATCH_MAX, Event, Now, Queue, Refusal, TaskId, WAITS_MAX};
use taskslot_node::ArgError;

use super::args::Args;
use super::docs::{FIRST, errors};
use super::push_options::{AFTER, BATCH, PushOptions, REQUEST, WHEN, push_args};
use super::unique::UNIQUE;
use crate::errors::Error;
use crate::settings::MAX_PAYLOAD;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The description of a payload.
pub(super) const PAYLOAD: &str = "Any bytes, at most as many as the module's setting `max-payload` allows";

const KEYS: &[KeySpec] = &[KeySpec::first(key_flags::RW | key_flags::INSERT)];

const TASKS: ArgDoc = ArgDoc::block("tasks", &[ArgDoc::integer("n"), ArgDoc::text("payload").multiple()])
    .after("TASKS")
    .about("The payloads, 1 to 1000 of them");

/// The command `TASK.PUSH`: one task, with an optional UNIQUE token.
pub struct Push;

impl Command for Push {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PUSH",
        summary: "Adds a task to a queue. Creates the queue if it does not exist",
        details: "The task is ready at once, delayed with DELAY or AT, or held with AFTER. A push that would exceed a limit \
            of the queue is refused. Done tasks never make a push fail: if max-bytes is reached, the \
            oldest of them are removed first.",
        complexity: "O(log n) for a delayed task, O(p log n) with AFTER p tasks, otherwise O(1)",
        since: FIRST,
        arity: -3,
        flags: "write deny-oom fast",
        acl: "write fast",
        keys: KEYS,
        args: push_args!(
            ArgDoc::key("key", 0), ArgDoc::text("payload").about(PAYLOAD), WHEN; UNIQUE; BATCH, AFTER, REQUEST
        ),
        reply: "The task's id. With UNIQUE: [id, 1] for a new task, [id, 0] if a task already holds the \
            token",
        replicates: "One TASK._APPLY with the task, its id and times, and the reply to remember for REQUEST. \
            If UNIQUE finds a task: what REPLACE and POSTPONE change in it. Only TASK._CLOCK if they change nothing, \
            or for a REQUEST that is sent again",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            TOO_LONG,
            ATTEMPTS,
            CLASH,
            REQUIRES,
            ID,
            UNKNOWN_BATCH,
            CLOSED_BATCH,
            NEVER_PUSHED,
            CIRCULAR,
            PAUSED,
            FULL_LEN,
            FULL_BYTES,
            FULL_GROUPS,
            FULL_TOKENS,
            EXHAUSTED,
            OUT_OF_MEMORY,
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
        let payload = args.take(1)?;
        let mut options = PushOptions::default();
        read(&mut args, PUSH, &mut options)?;
        let (id, count) = push_all(ctx, key, &options, payload)?;
        if options.unique.is_some() {
            ctx.reply().array(2);
        }
        ctx.reply().bulk(&id.text());
        if options.unique.is_some() {
            ctx.reply().integer(i64::from(count.min(1)));
        }
        Ok(())
    }
}

/// The command `TASK.MPUSH`: up to a thousand tasks in one event, so that all of them are pushed or none.
pub struct MPush;

impl Command for MPush {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.MPUSH",
        summary: "Adds several tasks to a queue, all or none. Creates the queue if it does not exist",
        details: "The tasks differ only in their payloads, and get consecutive ids. The queue's limits are \
            checked for all of them together.",
        complexity: "O(n) for n tasks, O(n * p * log m) if each waits for p tasks in a queue of m",
        since: FIRST,
        arity: -5,
        flags: "write deny-oom",
        acl: "write",
        keys: KEYS,
        args: push_args!(ArgDoc::key("key", 0), WHEN; ; BATCH, AFTER, REQUEST, TASKS),
        reply: "An array of the tasks' ids, in the order of the payloads",
        replicates: "One TASK._APPLY with the tasks, their first id and times, and the reply to remember for \
            REQUEST. Only TASK._CLOCK for a REQUEST that is sent again",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            TOO_LONG,
            ATTEMPTS,
            CLASH,
            REQUIRED,
            REQUIRES,
            ID,
            UNKNOWN_BATCH,
            CLOSED_BATCH,
            WAITS,
            NEVER_PUSHED,
            CIRCULAR,
            PAUSED,
            FULL_LEN,
            FULL_BYTES,
            FULL_GROUPS,
            EXHAUSTED,
            OUT_OF_MEMORY,
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
        let mut options = PushOptions::default();
        let tasks = read(&mut args, MPUSH, &mut options)?;
        let (first, count) = push_all(ctx, key, &options, tasks.ok_or(Error::Required("TASKS"))?)?;
        ctx.reply().array(count as usize);
        for nth in 0..u64::from(count) {
            let id = first.nth(nth).unwrap_or(first);
            ctx.reply().bulk(&id.text());
        }
        Ok(())
    }
}

/// The options of TASK.PUSH.
pub(super) const PUSH: &[&str] = &[
    "DELAY", "AT", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "UNIQUE", "UNTIL", "FOR",
    "KEEP", "REPLACE", "HEADERS", "BATCH", "AFTER", "ONDEAD", "REQUEST", "POSTPONE",
];
const MPUSH: &[&str] = &[
    "DELAY", "AT", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "HEADERS", "BATCH", "AFTER",
    "ONDEAD", "REQUEST", "TASKS",
];

/// Reads options up to the end. If TASKS is among `known`, reads the payloads after it too and returns them.
pub(super) fn read<'a>(
    args: &mut Args<'a>,
    known: &[&'static str],
    options: &mut PushOptions<'a>,
) -> Result<Option<&'a [Arg<'a>]>, Error> {
    let mut tasks = None;
    while let Some(option) = args.option(known)? {
        match option {
            "TASKS" => {
                let count = args.number_of("payloads", "TASKS", 1..=BATCH_MAX as i64)?;
                tasks = Some(args.take(count)?);
            }
            option => options.accept(option, args).map_err(|error| with_hint(option, known, error))?,
        }
    }
    options.check()?;
    if tasks.map_or(0, <[_]>::len) * options.after.len() > WAITS_MAX {
        return Err(Error::Bad("TASKS times AFTER must be at most 10000"));
    }
    Ok(tasks)
}

/// Adds to the error of `UNTIL ms`, which is no option of its own, where it belongs.
fn with_hint(option: &str, known: &[&str], error: Error) -> Error {
    match error {
        Error::Argument(wrong @ ArgError::Unknown(..))
            if option == "UNTIL" && known.contains(&"POSTPONE") =>
        {
            Error::Hint(wrong, "UNTIL ms comes directly after POSTPONE")
        }
        error => error,
    }
}

/// Checks the length of a payload.
pub(super) fn check_length(payload: &[u8]) -> Result<(), Error> {
    let most = usize::try_from(MAX_PAYLOAD.get()).unwrap_or(usize::MAX);
    if payload.len() > most { Err(Error::TooLong("a payload", most)) } else { Ok(()) }
}

/// Pushes tasks, and returns the first id and the number of ids from it on. The number is 0 if a task was found that
/// holds the UNIQUE token. A REQUEST that was sent before gets the same result, and pushes nothing.
fn push_all<'a>(
    ctx: Context<'a>,
    key: Arg<'a>,
    options: &PushOptions<'_>,
    tasks: &'a [Arg<'a>],
) -> Result<(TaskId, u32), Error> {
    let (one, many);
    let payloads: &[&[u8]] = match tasks {
        // A single task needs no allocation.
        [task] => {
            one = [task.as_bytes()];
            &one
        }
        tasks => {
            many = tasks.iter().map(|task| task.as_bytes()).collect::<Vec<_>>();
            &many
        }
    };
    payloads.iter().try_for_each(|payload| check_length(payload))?;
    let pushed = write(ctx, key, Missing::Create, |txn| {
        let earlier = options.request.and_then(|token| txn.queue().recall_push(txn.now, token));
        if let Some(earlier) = earlier {
            txn.count_duplicate();
            return Ok(earlier);
        }
        let decided = decide(txn.queue(), txn.now, options, payloads, None);
        // Borrowed: an event is too large to be moved for nothing.
        let event = match &decided {
            Ok(event) => event,
            &Err(Refusal::Held(id)) => return found(txn, id, options, tasks),
            &Err(refusal) => {
                txn.count_refused(&refusal);
                return Err(refusal.into());
            }
        };
        txn.commit_push(event, tasks)?;
        let &(Event::Pushed { first, count, .. } | Event::PushedAfter { first, count, .. }) = event else {
            return Err(Refusal::Exhausted.into());
        };
        if let Some(token) = options.request {
            let event = txn.queue().answered(txn.now, token, Answer::Pushed { first, count });
            txn.commit(&event)?;
        }
        Ok((first, count))
    })?;
    pushed.ok_or(Error::Busy)
}

/// Decides the push, which may follow the end of a task in the same effect. Tasks that wait for others become ready as
/// DELAY or AT says from then on.
pub(super) fn decide<'p>(
    queue: &Queue,
    now: Now,
    options: &'p PushOptions<'_>,
    payloads: &'p [&'p [u8]],
    acked: Option<&Event>,
) -> Result<Event<'p>, Refusal> {
    let after = options.after();
    let due = if after.is_some() { None } else { options.due(&now) };
    let push = engine::Push { due, options: options.at(now.at), payloads };
    match (after, acked) {
        (None, None) => queue.push(now, &push),
        (None, Some(acked)) => queue.push_next(now, &push, acked),
        (Some(after), None) => queue.push_after(now, &push, &after),
        (Some(after), Some(acked)) => queue.push_next_after(now, &push, &after, acked),
    }
}

/// Task `id` holds the UNIQUE token, so nothing is pushed. With REPLACE, the task gets the new payload and headers if
/// it waits, and with POSTPONE it is due later.
fn found<'a>(
    txn: &mut Txn<'a, '_>,
    id: TaskId,
    options: &PushOptions<'_>,
    tasks: &'a [Arg<'a>],
) -> Result<(TaskId, u32), Error> {
    if let (true, [payload]) = (options.unique.replace, tasks) {
        let replaced = txn.queue().replace(id, &options.headers, payload.as_bytes());
        if let Some(event) = replaced.inspect_err(|refusal| txn.count_refused(refusal))? {
            txn.commit_push(&event, tasks)?;
        }
    }
    postpone(txn, id, options)?;
    txn.count_found();
    if let Some(token) = options.request {
        let answer = Answer::Pushed { first: id, count: 0 };
        let event = txn.queue().answered(txn.now, token, answer);
        txn.commit(&event)?;
    }
    Ok((id, 0))
}

/// With POSTPONE, a task that a push found is due as the push says.
pub(super) fn postpone(txn: &mut Txn<'_, '_>, id: TaskId, options: &PushOptions<'_>) -> Result<(), Error> {
    if !options.unique.postpone {
        return Ok(());
    }
    let until_ms = options.unique.postpone_until_ms;
    match txn.queue().postpone(txn.now, id, options.when, until_ms) {
        Some(event) => txn.commit(&event),
        None => Ok(()),
    }
}
