//! `TASK.PUSH`, `TASK.MPUSH`: tasks come in.

use taskslot_engine::{
    ATTEMPTS_MAX, Answer, Due, Event, HEADERS_MAX, HEADERS_MAX_BYTES, Headers, LEASE_MAX_MS, Millis,
    NAME_MAX_BYTES, Now, Options, Push as Pushing, Refusal, SPAN_MAX_MS, TaskId,
};

use super::args::Args;
use super::unique::{self, UNIQUE};
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context};
use crate::errors::Error;
use crate::settings::MAX_PAYLOAD;
use crate::txn::{Missing, Txn, write};

const KEYS: &[KeySpec] = &[KeySpec::first(key_flags::RW | key_flags::INSERT)];

const WHEN: ArgDoc =
    ArgDoc::one_of("when", &[ArgDoc::integer("ms").after("DELAY"), ArgDoc::unix_time("unix-ms").after("AT")])
        .optional();
/// `PRIORITY`, as an argument.
pub const PRIORITY: ArgDoc = ArgDoc::integer("priority").after("PRIORITY").optional();
/// `ATTEMPTS`, as an argument.
pub const ATTEMPTS: ArgDoc = ArgDoc::integer("failures").after("ATTEMPTS").optional();
/// `LEASE`, as an argument.
pub const LEASE: ArgDoc = ArgDoc::integer("lease-ms").after("LEASE").optional();
/// `GROUP`, as an argument.
pub const GROUP: ArgDoc = ArgDoc::text("name").after("GROUP").optional();
/// `RETAIN`, as an argument.
pub const RETAIN: ArgDoc = ArgDoc::integer("retain-ms").after("RETAIN").optional();
/// `TTL`, as an argument.
pub const TTL: ArgDoc = ArgDoc::integer("ttl-ms").after("TTL").optional();
/// `HEADERS`, as an argument.
pub const HEADERS: ArgDoc = ArgDoc::block(
    "headers",
    &[
        ArgDoc::integer("n"),
        ArgDoc::block("header", &[ArgDoc::text("name"), ArgDoc::text("value")]).multiple(),
    ],
)
.after("HEADERS")
.optional();
const REQUEST: ArgDoc = ArgDoc::text("token").after("REQUEST").optional();

/// `TASK.PUSH`
pub struct Push;

impl Command for Push {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PUSH",
        summary: "Pushes a task; makes the queue if there is none",
        complexity: "O(log n) for a delayed task, else O(1)",
        since: FIRST,
        arity: -3,
        flags: "write deny-oom fast",
        acl: "write fast",
        keys: KEYS,
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::text("payload"),
            WHEN,
            PRIORITY,
            ATTEMPTS,
            LEASE,
            GROUP,
            TTL,
            RETAIN,
            UNIQUE,
            HEADERS,
            REQUEST,
        ],
        reply: "the task's id; with UNIQUE [id, 1] for a new task, [id, 0] for one found that holds the token",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, push(ctx, args));
    }
}

/// `TASK.MPUSH`
pub struct MPush;

impl Command for MPush {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.MPUSH",
        summary: "Pushes several tasks with the same options, all or none",
        complexity: "O(n) for n tasks",
        since: FIRST,
        arity: -5,
        flags: "write deny-oom",
        acl: "write",
        keys: KEYS,
        args: &[
            ArgDoc::key("key", 0),
            WHEN,
            PRIORITY,
            ATTEMPTS,
            LEASE,
            GROUP,
            TTL,
            RETAIN,
            HEADERS,
            REQUEST,
            ArgDoc::block("tasks", &[ArgDoc::integer("n"), ArgDoc::text("payload").multiple()])
                .after("TASKS"),
        ],
        reply: "the tasks' ids, in order",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, mpush(ctx, args));
    }
}

/// When tasks are to be ready, as it was said: what that means is known when the time is.
#[derive(Clone, Copy, Default)]
enum When {
    #[default]
    Now,
    After(u64),
    At(Millis),
}

impl When {
    fn due(self, now: &Now) -> Option<Due> {
        match self {
            When::After(ms) if ms > 0 => Some(Due::Clock(now.at.plus(ms))),
            When::At(at) if at > now.wall => Some(Due::Wall(at)),
            _ => None,
        }
    }
}

/// What a push says beside its payloads.
#[derive(Default)]
pub struct Said<'a> {
    when: When,
    priority: i8,
    attempts: Option<i32>,
    lease_ms: Option<u32>,
    group: &'a [u8],
    retain_ms: Option<u64>,
    headers: Vec<u8>,
    ttl_ms: Option<u64>,
    unique: unique::Said<'a>,
    request: Option<&'a [u8]>,
}

/// How an error names AT: it says the unit, since seconds are what most clocks give.
const AT: &str = "AT in unix milliseconds";
/// The first AT, in 1973: what is below was meant in seconds (up to the year 5138), and would run at once.
const AT_MIN: i64 = 100_000_000_000;

const PUSH: &[&str] = &[
    "DELAY", "AT", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "UNIQUE", "UNTIL", "FOR",
    "KEEP", "REPLACE", "HEADERS", "REQUEST",
];
const MPUSH: &[&str] = &[
    "DELAY", "AT", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "HEADERS", "REQUEST", "TASKS",
];
/// What a schedule says, those of a push but for when, and which request it is.
pub const CRON: &[&str] = &[
    "EVERY", "CRON", "TZ", "CATCHUP", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "UNIQUE",
    "UNTIL", "FOR", "KEEP", "HEADERS", "PAYLOAD",
];

/// Reads options up to the end; the payloads behind TASKS too, if that is among `known`.
fn options<'a>(
    args: &mut Args<'a>,
    known: &[&'static str],
) -> Result<(Said<'a>, Option<&'a [Arg<'a>]>), Error> {
    let mut said = Said::default();
    let mut tasks = None;
    while let Some(option) = args.option(known)? {
        match option {
            "TASKS" => {
                let count = args.count("TASKS")?;
                tasks = Some(args.take(count)?);
            }
            option => said.read(option, args)?,
        }
    }
    said.check()?;
    Ok((said, tasks))
}

impl<'a> Said<'a> {
    /// Reads the value of an option.
    pub fn read(&mut self, option: &str, args: &mut Args<'a>) -> Result<(), Error> {
        let said = self;
        match option {
            "DELAY" | "AT" if !matches!(said.when, When::Now) => return Err(Error::Clash("DELAY", "AT")),
            "DELAY" => said.when = When::After(args.unsigned("DELAY", 0..=SPAN_MAX_MS)?),
            "AT" => said.when = When::At(Millis(args.unsigned(AT, AT_MIN..=Millis::MAX.0 as i64)?)),
            "PRIORITY" => said.priority = args.integer("PRIORITY", -128..=127)? as i8,
            "ATTEMPTS" => match args.integer("ATTEMPTS", -1..=ATTEMPTS_MAX)? {
                0 => return Err(Error::Bad("ATTEMPTS must be -1 for no limit or at least 1")),
                attempts => said.attempts = Some(attempts as i32),
            },
            "LEASE" => said.lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
            "TTL" => said.ttl_ms = Some(args.unsigned("TTL", 1..=SPAN_MAX_MS)?),
            "GROUP" => said.group = args.name("GROUP")?,
            "RETAIN" => said.retain_ms = Some(args.unsigned("RETAIN", 0..=SPAN_MAX_MS)?),
            "HEADERS" => said.headers = headers(args)?,
            "REQUEST" => said.request = Some(args.name("REQUEST")?),
            option if said.unique.hear(option, args)? => {}
            _ => return Err(Error::Syntax),
        }
        Ok(())
    }

    /// Whether what was said goes together, now that all is.
    pub fn check(&self) -> Result<(), Error> {
        self.unique.check()
    }

    /// What holds for each task that is pushed at `at`.
    pub fn options(&self, at: Millis) -> Options<'_> {
        Options {
            priority: self.priority,
            attempts: self.attempts,
            lease_ms: self.lease_ms,
            headers: &self.headers,
            group: self.group,
            unique: self.unique.at(at),
            ttl_ms: self.ttl_ms,
            retain_ms: self.retain_ms,
        }
    }
}

fn headers(args: &mut Args<'_>) -> Result<Vec<u8>, Error> {
    let count = args.unsigned("HEADERS", 1..=HEADERS_MAX as i64)? as usize;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((args.bytes()?, args.bytes()?));
    }
    if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > HEADERS_MAX_BYTES {
        return Err(Error::TooLong("HEADERS", HEADERS_MAX_BYTES));
    }
    if pairs.iter().any(|(name, _)| name.is_empty() || name.len() > NAME_MAX_BYTES) {
        return Err(Error::Bad("the name of a header must be 1 to 256 bytes long"));
    }
    Ok(Headers::pack(&pairs))
}

fn push<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let payload = args.take(1)?;
    let (said, _) = options(&mut args, PUSH)?;
    let (id, count) = push_all(ctx, key, &said, payload)?;
    if said.unique.is_some() {
        ctx.reply().array(2);
    }
    ctx.reply().bulk(&id.text());
    if said.unique.is_some() {
        ctx.reply().integer(i64::from(count.min(1)));
    }
    Ok(())
}

fn mpush<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let (said, tasks) = options(&mut args, MPUSH)?;
    let (first, count) = push_all(ctx, key, &said, tasks.ok_or(Error::Missing("TASKS"))?)?;
    ctx.reply().array(count as usize);
    for nth in 0..u64::from(count) {
        let id = first.nth(nth).unwrap_or(first);
        ctx.reply().bulk(&id.text());
    }
    Ok(())
}

/// Pushes, or finds that it was done before with the same token of a request: the first id, and how many there are from
/// it on. 0 for a task that was found, since it holds the UNIQUE token.
fn push_all<'a>(
    ctx: Context<'a>,
    key: Arg<'a>,
    said: &Said<'_>,
    tasks: &'a [Arg<'a>],
) -> Result<(TaskId, u32), Error> {
    let (one, many);
    let payloads: &[&[u8]] = match tasks {
        [task] => {
            one = [task.as_bytes()];
            &one
        }
        tasks => {
            many = tasks.iter().map(|task| task.as_bytes()).collect::<Vec<_>>();
            &many
        }
    };
    let max_payload = usize::try_from(MAX_PAYLOAD.get()).unwrap_or(usize::MAX);
    if payloads.iter().any(|payload| payload.len() > max_payload) {
        return Err(Error::TooLong("a payload", max_payload));
    }
    let pushed = write(ctx, key, Missing::Create, |write| {
        let before = said.request.and_then(|token| write.queue().recall_push(write.now, token));
        if let Some(before) = before {
            write.count_duplicate();
            return Ok(before);
        }
        let push = Pushing { due: said.when.due(&write.now), options: said.options(write.now.at), payloads };
        let event = match write.queue().push(write.now, &push) {
            Err(Refusal::Held(id)) => return found(write, id, said, tasks),
            pushed => pushed.inspect_err(|_| write.count_refused())?,
        };
        write.commit_push(&event, tasks)?;
        let Event::Pushed { first, count, .. } = event else { return Err(Refusal::Exhausted.into()) };
        if let Some(token) = said.request {
            let event = write.queue().answered(write.now, token, Answer::Pushed { first, count });
            write.commit(&event)?;
        }
        Ok((first, count))
    })?;
    pushed.ok_or(Error::Busy)
}

/// A task holds the token: nothing is pushed, and with REPLACE the task gets the new payload and headers if it waits.
fn found<'a>(
    write: &mut Txn<'a, '_>,
    id: TaskId,
    said: &Said<'_>,
    tasks: &'a [Arg<'a>],
) -> Result<(TaskId, u32), Error> {
    if let (true, [payload]) = (said.unique.replace, tasks) {
        let replaced = write.queue().replace(id, &said.headers, payload.as_bytes());
        if let Some(event) = replaced.inspect_err(|_| write.count_refused())? {
            write.commit_push(&event, tasks)?;
        }
    }
    write.count_found();
    if let Some(token) = said.request {
        let answer = Answer::Pushed { first: id, count: 0 };
        let event = write.queue().answered(write.now, token, answer);
        write.commit(&event)?;
    }
    Ok((id, 0))
}
