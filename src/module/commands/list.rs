//! `TASK.LIST`: the tasks in a state, a few at a time.

use taskslot_engine::{Cursor, Limit, NUMBER_MAX, TaskState};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::task::REPLY_BYTES;
use super::task::reply_task;
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Tasks shown where COUNT says nothing.
const DEFAULT_COUNT: usize = 10;

/// The states, as an argument.
pub const STATE: ArgDoc = ArgDoc::one_of(
    "state",
    &[
        ArgDoc::word("ready", "READY"),
        ArgDoc::word("delayed", "DELAYED"),
        ArgDoc::word("leased", "LEASED"),
        ArgDoc::word("dead", "DEAD"),
        ArgDoc::word("done", "DONE"),
    ],
);

/// Shows the tasks of a state in the order that its summary says, page by page. A cursor names a place in that order,
/// not a view that is kept: what comes or goes between two calls is seen or not.
pub struct List;

impl Command for List {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.LIST",
        summary: "Lists tasks of a state: ready in the order of claims, delayed by due time, leased by id, dead and done by age",
        complexity: "O(n) for n tasks, at most 10000 looked at",
        since: FIRST,
        arity: -3,
        flags: "readonly random",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            STATE,
            ArgDoc::text("cursor").after("CURSOR").optional(),
            ArgDoc::integer("tasks").after("COUNT").optional(),
            ArgDoc::integer("bytes").after("BYTES").optional(),
            ArgDoc::text("name").after("GROUP").optional(),
            ArgDoc::text("name").after("WORKER").optional(),
            ArgDoc::word("withpayload", "WITHPAYLOAD").optional(),
        ],
        reply: "[cursor, maps], at most 16 MiB or BYTES; the cursor goes on with the next call, 0 says there is no more",
        replicates: "nothing",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, RANGE, WORD, NAME, CURSOR, WORKER_LEASED, WRONG_TYPE, BUSY],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let state = args.one_of(&TaskState::ALL.map(TaskState::name))?;
        let state = TaskState::ALL.get(state).copied().ok_or(Error::Syntax)?;
        let mut cursor = Cursor::default();
        let mut limit = Limit { count: DEFAULT_COUNT, bytes: REPLY_BYTES, with_payload: false };
        let (mut group, mut worker) = (None, None);
        while let Some(option) = args.option(OPTIONS)? {
            match option {
                "CURSOR" => cursor = Cursor::parse(args.bytes()?).ok_or(Error::Bad("invalid cursor"))?,
                "COUNT" => limit.count = args.count("COUNT")?,
                "BYTES" => limit.bytes = args.unsigned("BYTES", 1..=NUMBER_MAX)?,
                "GROUP" => group = Some(args.name("GROUP")?),
                "WORKER" => worker = Some(args.name("WORKER")?),
                "WITHPAYLOAD" => limit.with_payload = true,
                _ => return Err(Error::Syntax),
            }
        }
        if worker.is_some() && state != TaskState::Leased {
            return Err(Error::Bad("WORKER goes with the state leased only"));
        }
        let reply = ctx.reply();
        let shown = read(ctx, key, |value, now| {
            let (next, tasks) = value.queue.list(&now, state, cursor, limit, worker, group);
            reply.array(2);
            reply.bulk(next.to_string().as_bytes());
            reply.array(tasks.len());
            tasks.iter().for_each(|task| reply_task(reply, task, limit.with_payload));
        })?;
        if shown.is_none() {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
        }
        Ok(())
    }
}

const OPTIONS: &[&str] = &["CURSOR", "COUNT", "BYTES", "GROUP", "WORKER", "WITHPAYLOAD"];
