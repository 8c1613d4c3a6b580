//! The options of a push. PUSH, MPUSH, TASK.CRON SET and TASK.BATCH OPEN have them.

use std::num::NonZeroU64;

use taskslot_engine::{
    ATTEMPTS_MAX, After, Due, HEADERS_MAX, HEADERS_MAX_BYTES, Headers, LEASE_MAX_MS, Millis, NAME_MAX_BYTES,
    Now, OnDead, Options, SPAN_MAX_MS, TaskId, When,
};

use super::args::Args;
use super::unique::UniqueOptions;
use crate::errors::Error;
use taskslot_api::command::ArgDoc;

/// When the task becomes ready.
pub const WHEN: ArgDoc = ArgDoc::one_of(
    "when",
    &[
        ArgDoc::integer("ms")
            .after("DELAY")
            .about("The task becomes ready after this many milliseconds, up to 100 years"),
        ArgDoc::unix_time("unix-ms").after("AT").about(
            "The task becomes ready at this Unix time in milliseconds. Times before 1973 are refused, so that a time \
                in seconds is not taken for one in milliseconds",
        ),
    ],
)
.optional();
pub const PRIORITY: ArgDoc = ArgDoc::integer("priority")
    .after("PRIORITY")
    .optional()
    .about("Tasks with a higher priority are claimed first. -128 to 127, 0 by default");
pub const ATTEMPTS: ArgDoc = ArgDoc::integer("failures").after("ATTEMPTS").optional().about(
    "The number of failures after which the task is dead: 1 to 65,535, or -1 for no limit. By default the queue's setting \
        `attempts`",
);
pub const LEASE: ArgDoc = ArgDoc::integer("lease-ms").after("LEASE").optional().about(
    "The length of the task's leases, if a claim does not give one: 1 ms to 24 hours. By default the queue's setting \
        `lease`",
);
pub const GROUP: ArgDoc = ArgDoc::text("name")
    .after("GROUP")
    .optional()
    .about("The task's group, 1 to 256 bytes. Groups are served in turn and can have limits");
pub const TTL: ArgDoc = ArgDoc::integer("ttl-ms")
    .after("TTL")
    .optional()
    .about("The task expires if it is not claimed within this time after it was due: 1 ms to 100 years");
pub const RETAIN: ArgDoc = ArgDoc::integer("retain-ms").after("RETAIN").optional().about(
    "How long the task is kept once it is done, up to 100 years. 0 does not keep it. By default the queue's setting \
        `retain`",
);
pub const HEADERS: ArgDoc = ArgDoc::block(
    "headers",
    &[
        ArgDoc::integer("n"),
        ArgDoc::block("header", &[ArgDoc::text("name"), ArgDoc::text("value")]).multiple(),
    ],
)
.after("HEADERS")
.optional()
.about("1 to 64 headers, together at most 4096 bytes. A name has 1 to 256 bytes");
/// The batch that a task counts in.
pub const BATCH: ArgDoc = ArgDoc::text("name")
    .after("BATCH")
    .optional()
    .about("The task counts in this batch, 1 to 256 bytes, which was opened by TASK.BATCH");
/// The tasks to wait for.
pub const AFTER: ArgDoc = ArgDoc::block(
    "after",
    &[
        ArgDoc::block("parents", &[ArgDoc::integer("n"), ArgDoc::text("id").multiple()]).after("AFTER").about(
            "The task is held until all of these tasks of the queue are done: 1 to 1000 ids. One that does not exist \
                any more counts as done",
        ),
        ON_DEAD,
    ],
)
.optional();
const ON_DEAD: ArgDoc = ArgDoc::one_of(
    "on-dead",
    &[
        ArgDoc::word("wait", "WAIT")
            .about("The task stays held until that one is retried and done. This is the default"),
        ArgDoc::word("run", "RUN").about("That one counts as done"),
        ArgDoc::word("drop", "DROP").about("The task is cancelled"),
    ],
)
.after("ONDEAD")
.optional()
.about("What happens if one of them ends otherwise than done: dead, cancelled, expired or purged");
/// The token of a push that can be sent again.
pub const REQUEST: ArgDoc = ArgDoc::text("token").after("REQUEST").optional().about(
    "A token of 1 to 256 bytes that makes the push safe to send again: a push with the same token within 5 minutes, \
        and before 10,000 other tokens, gets the same reply and adds nothing",
);

/// The arguments of a command that pushes: its own first arguments; its UNIQUE, if it has one; its own last arguments.
macro_rules! push_args {
    ($($before:expr),+; $($unique:expr)?; $($after:expr),+) => {{
        use $crate::commands::push_options::{ATTEMPTS, GROUP, HEADERS, LEASE, PRIORITY, RETAIN, TTL};
        &[$($before,)+ PRIORITY, ATTEMPTS, LEASE, GROUP, TTL, RETAIN, $($unique,)? HEADERS, $($after,)+]
    }};
}
pub(super) use push_args;

/// The options of a push.
#[derive(Default)]
pub struct PushOptions<'a> {
    pub when: When,
    priority: i8,
    attempts: Option<i32>,
    lease_ms: Option<u32>,
    group: &'a [u8],
    retain_ms: Option<u64>,
    pub headers: Vec<u8>,
    ttl_ms: Option<u64>,
    batch: &'a [u8],
    /// The tasks to wait for; empty for none.
    pub after: Vec<TaskId>,
    on_dead: Option<OnDead>,
    pub unique: UniqueOptions<'a>,
    pub request: Option<&'a [u8]>,
}

/// The name of AT in an error. It names the unit, because most clocks give seconds.
const AT: &str = "AT in unix milliseconds";
/// The smallest AT, which is in 1973. A smaller number was meant in seconds (up to the year 5138), and would make the
/// task ready at once.
const AT_MIN: i64 = 100_000_000_000;

impl<'a> PushOptions<'a> {
    /// Reads the value of an option.
    pub fn accept(&mut self, option: &str, args: &mut Args<'a>) -> Result<(), Error> {
        match option {
            "DELAY" | "AT" => self.when = when(self.when, option, args)?,
            "PRIORITY" => self.priority = priority(args)?,
            "ATTEMPTS" => self.attempts = Some(attempts(args)?),
            "LEASE" => self.lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
            "TTL" => self.ttl_ms = Some(args.unsigned("TTL", 1..=SPAN_MAX_MS)?),
            "GROUP" => self.group = args.name("GROUP")?,
            "RETAIN" => self.retain_ms = Some(args.unsigned("RETAIN", 0..=SPAN_MAX_MS)?),
            "HEADERS" => self.headers = headers(args, 1)?,
            "BATCH" => self.batch = args.name("BATCH")?,
            "AFTER" => self.after = args.ids("AFTER")?,
            "ONDEAD" => self.on_dead = Some(on_dead(args)?),
            "REQUEST" => self.request = Some(args.name("REQUEST")?),
            option if self.unique.accept(option, args)? => {}
            _ => return Err(Error::Syntax),
        }
        Ok(())
    }

    /// Checks that the options fit together, after all were read.
    pub fn check(&self) -> Result<(), Error> {
        if self.on_dead.is_some() && self.after.is_empty() {
            return Err(Error::Requires("ONDEAD", "AFTER"));
        }
        self.unique.check()
    }

    /// When a task becomes ready that is pushed now; `None` for at once. POSTPONE … UNTIL bounds it too.
    pub fn due(&self, now: &Now) -> Option<Due> {
        let due = self.when.due(now)?;
        match self.unique.postpone_until_ms {
            Some(ms) => due.no_later_than(now.at.plus(ms), now),
            None => Some(due),
        }
    }

    /// What the task waits for; `None` for nothing.
    pub fn after(&self) -> Option<After<'_>> {
        let (on_dead, when) = (self.on_dead.unwrap_or_default(), self.when);
        (!self.after.is_empty()).then_some(After { parents: &self.after, on_dead, when })
    }

    /// The options of each task that is pushed at `at`.
    pub fn at(&self, at: Millis) -> Options<'_> {
        Options {
            priority: self.priority,
            attempts: self.attempts,
            lease_ms: self.lease_ms,
            headers: &self.headers,
            group: self.group,
            unique: self.unique.at(at),
            ttl_ms: self.ttl_ms.and_then(NonZeroU64::new),
            retain_ms: self.retain_ms,
            batch: self.batch,
        }
    }
}

fn attempts(args: &mut Args<'_>) -> Result<i32, Error> {
    match args.integer("ATTEMPTS", -1..=ATTEMPTS_MAX)? {
        0 => Err(Error::Bad("ATTEMPTS must be at least 1, or -1 for no limit")),
        attempts => Ok(attempts as i32),
    }
}

/// Reads the value of DELAY or AT. Errors: one of them was given before.
pub fn when(before: When, option: &str, args: &mut Args<'_>) -> Result<When, Error> {
    match option {
        _ if before != When::Now => Err(Error::Clash("DELAY", "AT")),
        "DELAY" => Ok(When::After(args.unsigned("DELAY", 0..=SPAN_MAX_MS)?)),
        "AT" => Ok(When::At(Millis(args.unsigned(AT, AT_MIN..=Millis::MAX.0 as i64)?))),
        _ => Err(Error::Syntax),
    }
}

/// Reads a priority.
pub fn priority(args: &mut Args<'_>) -> Result<i8, Error> {
    Ok(args.integer("PRIORITY", -128..=127)? as i8)
}

fn on_dead(args: &mut Args<'_>) -> Result<OnDead, Error> {
    let word = args.one_of(&["WAIT", "RUN", "DROP"])?;
    OnDead::ALL.get(word).copied().ok_or(Error::Syntax)
}

/// Reads a count of headers, at least `least`, and the headers. They are returned encoded.
pub fn headers(args: &mut Args<'_>, least: i64) -> Result<Vec<u8>, Error> {
    let count = args.number_of("headers", "HEADERS", least..=HEADERS_MAX as i64)?;
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
