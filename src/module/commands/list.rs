//! `TASK.LIST`: returns the tasks in a state, page by page.

use taskslot_engine::{Cursor, Glob, Limit, Listing, NUMBER_MAX, PATTERN_MAX_BYTES, Pattern, TaskState};

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
        ArgDoc::word("held", "HELD").about("Tasks that wait for other tasks, and callbacks of batches"),
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
            they are due, held and leased tasks by id, dead and done tasks by age; with REV the other way round. A cursor \
            is a position in that order, not a snapshot: a task that comes or goes between two calls may be returned \
            or not. Give the same options with it. A call may return fewer tasks than asked for, or none, before the \
            end: it is over when the cursor is 0.",
        complexity: "O(n) for n tasks. A call examines at most 10,000 tasks, and compares about 256 KiB with a pattern",
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
            ArgDoc::word("rev", "REV").optional().about("The other way round: the newest dead tasks first, for example"),
            ArgDoc::one_of(
                "filter",
                &[
                    ArgDoc::text("pattern").after("MATCH").about(
                        "Returns only tasks whose payload matches a glob pattern of at most 256 bytes, with the syntax of \
                            KEYS: `*`, `?`, `[a-z]`, `[^a-z]` and `\\`. A payload counts as if it ended after 64 KiB",
                    ),
                    ArgDoc::block("header", &[ArgDoc::text("name"), ArgDoc::text("pattern")])
                        .after("HEADER")
                        .about("Returns only tasks with a header of this name whose value matches the pattern"),
                ],
            )
            .optional(),
            ArgDoc::word("withpayload", "WITHPAYLOAD").optional().about("Includes payloads, results and the last errors"),
        ],
        reply: "[cursor, tasks], where tasks is an array of maps as TASK.GET returns them. Pass the \
            cursor to the next call; 0 means that there are no more tasks",
        replicates: "Nothing",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            NAME,
            TOO_LONG,
            CLASH,
            CURSOR,
            WORKER_LEASED,
            WRONG_TYPE,
            BUSY
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let state = args.one_of(&TaskState::ALL.map(TaskState::name))?;
        let state = TaskState::ALL.get(state).copied().ok_or(Error::Syntax)?;
        let options = Options::read(&mut args)?;
        if options.worker.is_some() && state != TaskState::Leased {
            return Err(Error::Bad("WORKER can be used with the state LEASED only"));
        }
        let (reply, listing) = (ctx.reply(), options.listing(state));
        let shown = read(ctx, key, |value, now| {
            let (next, tasks) = value.queue.list_as(&now, &listing);
            reply.array(2);
            reply.bulk(next.to_string().as_bytes());
            reply.array(tasks.len());
            tasks.iter().for_each(|task| reply_task(reply, task, listing.limit.with_payload));
        })?;
        if shown.is_none() {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
        }
        Ok(())
    }
}

const OPTIONS: &[&str] =
    &["CURSOR", "COUNT", "BYTES", "GROUP", "WORKER", "WITHPAYLOAD", "REV", "MATCH", "HEADER"];

/// The options, as they were given.
struct Options<'a> {
    cursor: Cursor,
    limit: Limit,
    group: Option<&'a [u8]>,
    worker: Option<&'a [u8]>,
    is_reversed: bool,
    /// The pattern for payloads.
    payload: Option<Glob>,
    /// The name of a header, and the pattern for its value.
    header: Option<(&'a [u8], Glob)>,
}

impl<'a> Options<'a> {
    /// Reads options up to the end.
    fn read(args: &mut Args<'a>) -> Result<Options<'a>, Error> {
        let limit = Limit { count: DEFAULT_COUNT, bytes: REPLY_BYTES, with_payload: false };
        let (cursor, is_reversed) = (Cursor::default(), false);
        let mut options =
            Options { cursor, limit, group: None, worker: None, is_reversed, payload: None, header: None };
        while let Some(option) = args.option(OPTIONS)? {
            match option {
                "CURSOR" => {
                    options.cursor = Cursor::parse(args.bytes()?).ok_or(Error::Bad("invalid cursor"))?;
                }
                "COUNT" => options.limit.count = args.count("COUNT")?,
                "BYTES" => options.limit.bytes = args.unsigned("BYTES", 1..=NUMBER_MAX)?,
                "GROUP" => options.group = Some(args.name("GROUP")?),
                "WORKER" => options.worker = Some(args.name("WORKER")?),
                "WITHPAYLOAD" => options.limit.with_payload = true,
                "REV" => options.is_reversed = true,
                "MATCH" => options.payload = Some(pattern("the pattern of MATCH", args)?),
                "HEADER" => {
                    let name = args.name("the name of a header")?;
                    options.header = Some((name, pattern("the pattern of HEADER", args)?));
                }
                _ => return Err(Error::Syntax),
            }
        }
        match options {
            Options { payload: Some(_), header: Some(_), .. } => Err(Error::Clash("MATCH", "HEADER")),
            options => Ok(options),
        }
    }

    fn listing(&self, state: TaskState) -> Listing<'_> {
        let &Options { cursor, limit, group, worker, is_reversed, .. } = self;
        let by_header = self.header.as_ref().map(|(name, glob)| Pattern::Header(name, glob));
        let pattern = self.payload.as_ref().map(Pattern::Payload).or(by_header);
        Listing { state, cursor, limit, worker, group, is_reversed, pattern }
    }
}

fn pattern(what: &'static str, args: &mut Args<'_>) -> Result<Glob, Error> {
    Glob::new(args.bytes()?).ok_or(Error::TooLong(what, PATTERN_MAX_BYTES))
}
