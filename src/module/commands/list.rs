//! `TASK.LIST`: returns the tasks in a state, page by page.

use taskslot_engine::{Cursor, Limit, NUMBER_MAX, TaskState};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::task::REPLY_BYTES;
use super::task::reply_task;
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The number of tasks that a call returns without COUNT.
const DEFAULT_COUNT: usize = 10;

/// The states of a task, as an argument.
pub const STATE: ArgDoc = ArgDoc::one_of(
    "state",
    &[
        ArgDoc::word("ready", "READY").about("Tasks that wait for a claim"),
        ArgDoc::word("delayed", "DELAYED").about("Tasks that become ready later"),
        ArgDoc::word("held", "HELD").about("Tasks that wait for other tasks"),
        ArgDoc::word("leased", "LEASED").about("Tasks that a worker holds"),
        ArgDoc::word("dead", "DEAD")
            .about("Tasks that are not tried again, unless TASK.RETRY makes them ready"),
        ArgDoc::word("done", "DONE").about("Finished tasks that are retained"),
    ],
);

/// The command `TASK.LIST`. A cursor is a position in the order of the tasks, so that nothing is stored between calls.
pub struct List;

impl Command for List {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.LIST",
        summary: "Returns the tasks in a state, page by page",
        details: "Ready tasks come in the order in which they would be claimed, delayed tasks by the time \
            they are due, held and leased tasks by id, dead and done tasks by age. A cursor is a position in \
            that order, not a snapshot: a task that comes or goes between two calls may be returned \
            or not.",
        complexity: "O(n) for n tasks. A call examines at most 10,000 tasks",
        since: FIRST,
        arity: -3,
        flags: "readonly random",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            STATE,
            ArgDoc::text("cursor").after("CURSOR").optional().about("The cursor of the previous reply"),
            ArgDoc::integer("tasks")
                .after("COUNT")
                .optional()
                .about("The most tasks to return, 1 to 1000. 10 by default"),
            ArgDoc::integer("bytes").after("BYTES").optional().about(
                "Stops before the reply exceeds this many bytes, 1 to 9,007,199,254,740,991. 16 MiB by default. At least one \
                    task is returned, whatever its size",
            ),
            ArgDoc::text("name")
                .after("GROUP")
                .optional()
                .about("Returns only tasks of this group, 1 to 256 bytes"),
            ArgDoc::text("name")
                .after("WORKER")
                .optional()
                .about("Returns only tasks that this worker holds, 1 to 256 bytes. Only with the state LEASED"),
            ArgDoc::word("withpayload", "WITHPAYLOAD").optional().about("Includes payloads and results"),
        ],
        reply: "[cursor, tasks], where tasks is an array of maps as TASK.GET returns them. Pass the \
            cursor to the next call; 0 means that there are no more tasks",
        replicates: "Nothing",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, RANGE, NAME, CURSOR, WORKER_LEASED, WRONG_TYPE, BUSY],
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
            return Err(Error::Bad("WORKER can be used with the state LEASED only"));
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
