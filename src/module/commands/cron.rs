//! `TASK.CRON`: sets and removes the schedules of a queue, and makes runs of them.

use taskslot_engine::{
    BadRule, Catchup, EVERY_MIN_MS, Event, Millis, SCHEDULED_MAX_BYTES, SPAN_MAX_MS, ScheduleError,
    ScheduleSpec, TaskId, Trigger,
};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::push_options::{PushOptions, push_args};
use super::unique::UNIQUE_RUNS;
use crate::errors::Error;
use crate::settings::MAX_PAYLOAD;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

const RULE: ArgDoc = ArgDoc::one_of(
    "rule",
    &[
        ArgDoc::integer("ms").after("EVERY").about("Runs at this interval, 100 ms to 100 years"),
        ArgDoc::block("calendar", &[ArgDoc::text("expression"), ZONE]).after("CRON").about(
            "Runs at the times of a cron expression of five fields, at most 256 bytes: minute, hour, day of month, month, \
                day of week",
        ),
    ],
);
const ZONE: ArgDoc = ArgDoc::text("zone")
    .after("TZ")
    .optional()
    .about("The IANA name of the expression's time zone, such as Europe/Berlin. UTC by default");
const CATCHUP: ArgDoc = ArgDoc::one_of(
    "catchup",
    &[ArgDoc::word("none", "NONE"), ArgDoc::word("one", "ONE")],
)
.after("CATCHUP")
.optional()
.about("What happens to runs that were missed in an outage: ONE run for all of them (the default), or NONE");
const PAYLOAD: ArgDoc = ArgDoc::text("payload")
    .after("PAYLOAD")
    .about("The payload of each task, at most 1 MiB and `max-payload`");
const SET: ArgDoc =
    ArgDoc::block("set", push_args!(ArgDoc::text("name"), RULE, CATCHUP; UNIQUE_RUNS; PAYLOAD))
        .after("SET")
        .about("Adds or replaces the schedule of this name, 1 to 256 bytes");
const DEL: ArgDoc = ArgDoc::text("name")
    .after("DEL")
    .about("Removes the schedule. Tasks that it has pushed are not affected");

const RUN: ArgDoc = ArgDoc::text("name")
    .after("RUN")
    .about("Makes a run now, besides those that are planned: it pushes a task with the schedule's payload and options");

/// The command `TASK.CRON`.
pub struct Cron;

impl Command for Cron {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CRON",
        summary: "Sets a schedule, which pushes a task at intervals or at the times of a cron expression, \
            removes one, or makes a run of it now",
        details: "Each run pushes a task as TASK.PUSH does, and sets the time of the next run in the same \
            change. So a failover does not repeat a run. A queue has at most 1000 \
            schedules. SET creates the queue if it does not exist. If the schedule exists, SET \
            replaces it: the counts continue, and so does the next time if the timing is the same. \
            TASK.INFO key CRON shows the schedules.",
        complexity: "O(n) for n schedules of the queue, at most 1000",
        since: FIRST,
        arity: -4,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[ArgDoc::key("key", 0), ArgDoc::one_of("action", &[SET, DEL, RUN])],
        reply: "With SET: 1 for a new schedule, 0 if it replaced one. With DEL: 1 if the schedule was \
            removed, 0 if there is none. With RUN: the id of the task",
        replicates: "One TASK._APPLY with the schedule and its next time, or with its removal, or with the run. \
            Only TASK._CLOCK for a DEL if the queue exists, but not the schedule",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            TOO_MANY,
            NAME,
            TOO_LONG,
            ATTEMPTS,
            REQUIRED,
            CLASH,
            REQUIRES,
            CRON_FIELDS,
            CRON_ZONE,
            CRON_NEVER,
            SCHEDULES,
            NO_SCHEDULE,
            PAUSED,
            FULL_LEN,
            FULL_BYTES,
            FULL_GROUPS,
            FULL_TOKENS,
            TOKEN_HELD,
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
        let action = args.one_of(&["SET", "DEL", "RUN"])?;
        if action == 0 {
            ctx.reply().integer(set(ctx, key, args)?.into());
            return Ok(());
        }
        let name = args.name("the name of a schedule")?;
        args.finish()?;
        if action == 2 {
            ctx.reply().bulk(&run(ctx, key, name)?.text());
            return Ok(());
        }
        let changed = delete(ctx, key, name)?;
        ctx.reply().integer(changed.into());
        Ok(())
    }
}

const OPTIONS: &[&str] = &[
    "EVERY", "CRON", "TZ", "CATCHUP", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "UNIQUE",
    "UNTIL", "FOR", "KEEP", "HEADERS", "PAYLOAD",
];

/// The options of SET, as they were given: [`ScheduleOptions::spec`] checks that they fit together.
#[derive(Default)]
struct ScheduleOptions<'a> {
    every_ms: Option<u64>,
    expression: Option<&'a [u8]>,
    zone: Option<&'a [u8]>,
    catchup: Catchup,
    payload: Option<&'a [u8]>,
    push: PushOptions<'a>,
}

impl<'a> ScheduleOptions<'a> {
    /// Reads options up to the end.
    fn read(args: &mut Args<'a>) -> Result<ScheduleOptions<'a>, Error> {
        let mut options = ScheduleOptions::default();
        while let Some(option) = args.option(OPTIONS)? {
            match option {
                "EVERY" => {
                    options.every_ms = Some(args.unsigned("EVERY", EVERY_MIN_MS as i64..=SPAN_MAX_MS)?);
                }
                "CRON" => options.expression = Some(args.bytes()?),
                "TZ" => options.zone = Some(args.bytes()?),
                "CATCHUP" => options.catchup = catchup(args)?,
                "PAYLOAD" => options.payload = Some(args.bytes()?),
                option => options.push.accept(option, args)?,
            }
        }
        Ok(options)
    }

    /// The schedule to set. Errors: options are missing or cannot be combined.
    fn spec(&self) -> Result<ScheduleSpec<'_>, Error> {
        let (timing, payload) = (self.timing()?, self.payload.ok_or(Error::Required("PAYLOAD"))?);
        let most = usize::try_from(MAX_PAYLOAD.get()).unwrap_or(usize::MAX).min(SCHEDULED_MAX_BYTES);
        if payload.len() > most {
            return Err(Error::TooLong("the payload of a schedule", most));
        }
        self.push.check()?;
        Ok(ScheduleSpec { timing, catchup: self.catchup, options: self.push.at(Millis(0)), payload })
    }

    fn timing(&self) -> Result<Trigger<'a>, Error> {
        match (self.every_ms, self.expression, self.zone) {
            (Some(ms), None, None) => Ok(Trigger::Every(ms)),
            (None, Some(expression), zone) => {
                let text =
                    |bytes, bad| std::str::from_utf8(bytes).map_err(|_| error(ScheduleError::Bad(bad)));
                let expression = text(expression, BadRule::Expression)?;
                Ok(Trigger::Cron(expression, text(zone.unwrap_or(b"UTC"), BadRule::Zone)?))
            }
            (None, None, _) => Err(Error::Required("EVERY or CRON")),
            (Some(_), Some(_), _) => Err(Error::Clash("EVERY", "CRON")),
            (Some(_), None, Some(_)) => Err(Error::Clash("EVERY", "TZ")),
        }
    }
}

fn catchup(args: &mut Args<'_>) -> Result<Catchup, Error> {
    Ok(if args.one_of(&["NONE", "ONE"])? == 0 { Catchup::None } else { Catchup::One })
}

/// Sets a schedule, and returns whether it is new.
fn set<'a>(ctx: Context<'a>, key: Arg<'a>, mut args: Args<'a>) -> Result<bool, Error> {
    let name = args.name("the name of a schedule")?;
    let options = ScheduleOptions::read(&mut args)?;
    let spec = options.spec()?;
    let is_new = write(ctx, key, Missing::CreateWithMemory, |txn| {
        let is_new = !txn.queue().has_schedule(name);
        let event = txn.queue().schedule(txn.now, name, spec).map_err(error)?;
        txn.afford(txn.queue().growth(&event))?;
        txn.commit(&event)?;
        Ok(is_new)
    })?;
    is_new.ok_or(Error::Busy)
}

/// Removes a schedule, and returns whether there was one.
fn delete(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<bool, Error> {
    let removed = write(ctx, key, Missing::Skip, |txn| {
        txn.refer_back();
        let event = txn.queue().unschedule(name);
        event.as_ref().map_or(Ok(()), |event| txn.commit(event))?;
        Ok(event.is_some())
    })?;
    Ok(removed.unwrap_or(false))
}

/// Makes a run of a schedule now, and returns the id of its task.
fn run(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<TaskId, Error> {
    let made = write(ctx, key, Missing::Skip, |txn| {
        let Some(run) = txn.queue().run_schedule(txn.now, name) else { return Ok(None) };
        let event = run.inspect_err(|refusal| txn.count_refused(refusal))?;
        txn.afford(txn.queue().growth(&event))?;
        txn.commit(&event)?;
        Ok(if let Event::Ran { id, .. } = event { Some(id) } else { None })
    })?;
    made.flatten().ok_or(Error::Bad("there is no such schedule"))
}

fn error(refused: ScheduleError) -> Error {
    Error::Bad(match refused {
        ScheduleError::Bad(BadRule::Expression) => {
            "CRON must have five fields: minute 0-59, hour 0-23, day of month 1-31 or L, month 1-12, day of week 0-7"
        }
        ScheduleError::Bad(BadRule::Zone) => "TZ must be the name of a time zone, such as Europe/Berlin",
        ScheduleError::Bad(BadRule::Never) => "CRON names a date that never comes",
        ScheduleError::TooMany => "a queue can have at most 1000 schedules",
    })
}
