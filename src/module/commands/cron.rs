//! `TASK.CRON`: schedules of a queue, and what `TASK.INFO key CRON` tells of them.

use taskslot_engine::{
    BadRule, Catchup, EVERY_MIN_MS, Millis, Now, Plan, SCHEDULED_MAX_BYTES, SPAN_MAX_MS, ScheduleView,
    Timing, Unplanned,
};

use super::args::Args;
use super::push::{self, ATTEMPTS, GROUP, HEADERS, LEASE, PRIORITY, RETAIN, Said, TTL};
use super::unique::UNIQUE_RUNS;
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context, Reply};
use crate::datatype::TaskQueue;
use crate::errors::Error;
use crate::settings::MAX_PAYLOAD;
use crate::txn::{Missing, write};

/// `TASK.CRON`
pub struct Cron;

impl Command for Cron {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CRON",
        summary: "Sets a schedule, which pushes a task at intervals or at the instants of a cron expression, or removes one",
        complexity: "O(n) for n schedules of the queue, at most 1000",
        since: FIRST,
        arity: -4,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "action",
                &[
                    ArgDoc::block(
                        "set",
                        &[
                            ArgDoc::text("name"),
                            ArgDoc::one_of(
                                "rule",
                                &[
                                    ArgDoc::integer("ms").after("EVERY"),
                                    ArgDoc::block(
                                        "calendar",
                                        &[
                                            ArgDoc::text("expression"),
                                            ArgDoc::text("zone").after("TZ").optional(),
                                        ],
                                    )
                                    .after("CRON"),
                                ],
                            ),
                            ArgDoc::one_of(
                                "catchup",
                                &[ArgDoc::word("none", "NONE"), ArgDoc::word("one", "ONE")],
                            )
                            .after("CATCHUP")
                            .optional(),
                            PRIORITY,
                            ATTEMPTS,
                            LEASE,
                            GROUP,
                            TTL,
                            RETAIN,
                            UNIQUE_RUNS,
                            HEADERS,
                            ArgDoc::text("payload").after("PAYLOAD"),
                        ],
                    )
                    .after("SET"),
                    ArgDoc::text("name").after("DEL"),
                ],
            ),
        ],
        reply: "SET: 1 new, 0 in place of the one of this name; DEL: 1 removed, 0 there is none",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, cron(ctx, args));
    }
}

fn cron(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let changed = match args.one_of(&["SET", "DEL"])? {
        0 => set(ctx, key, args)?,
        _ => {
            let name = args.name("the name of a schedule")?;
            args.finish()?;
            delete(ctx, key, name)?
        }
    };
    ctx.reply().integer(changed.into());
    Ok(())
}

/// The rule as it is given: EVERY or CRON, TZ with the latter only.
#[derive(Default)]
struct Given<'a> {
    every_ms: Option<u64>,
    expression: Option<&'a [u8]>,
    zone: Option<&'a [u8]>,
}

impl<'a> Given<'a> {
    fn timing(&self) -> Result<Timing<'a>, Error> {
        match (self.every_ms, self.expression, self.zone) {
            (Some(ms), None, None) => Ok(Timing::Every(ms)),
            (None, Some(expression), zone) => {
                let text = |bytes, bad| std::str::from_utf8(bytes).map_err(|_| error(Unplanned::Bad(bad)));
                let expression = text(expression, BadRule::Expression)?;
                Ok(Timing::Cron(expression, text(zone.unwrap_or(b"UTC"), BadRule::Zone)?))
            }
            (None, None, _) => Err(Error::Missing("EVERY or CRON")),
            (Some(_), Some(_), _) => Err(Error::Clash("EVERY", "CRON")),
            (Some(_), None, Some(_)) => Err(Error::Clash("EVERY", "TZ")),
        }
    }
}

/// Sets a schedule: whether it is new.
fn set<'a>(ctx: Context<'a>, key: Arg<'a>, mut args: Args<'a>) -> Result<bool, Error> {
    let name = args.name("the name of a schedule")?;
    let (mut given, mut said, mut catchup, mut payload) =
        (Given::default(), Said::default(), Catchup::default(), None);
    while let Some(option) = args.option(push::CRON)? {
        match option {
            "EVERY" => given.every_ms = Some(args.unsigned("EVERY", EVERY_MIN_MS as i64..=SPAN_MAX_MS)?),
            "CRON" => given.expression = Some(args.bytes()?),
            "TZ" => given.zone = Some(args.bytes()?),
            "CATCHUP" => {
                catchup = if args.one_of(&["NONE", "ONE"])? == 0 { Catchup::None } else { Catchup::One };
            }
            "PAYLOAD" => payload = Some(args.bytes()?),
            option => said.read(option, &mut args)?,
        }
    }
    let (timing, payload) = (given.timing()?, payload.ok_or(Error::Missing("PAYLOAD"))?);
    let most = usize::try_from(MAX_PAYLOAD.get()).unwrap_or(usize::MAX).min(SCHEDULED_MAX_BYTES);
    if payload.len() > most {
        return Err(Error::TooLong("the payload of a schedule", most));
    }
    said.check()?;
    let plan = Plan { timing, catchup, options: said.options(Millis(0)), payload };
    let is_new = write(ctx, key, Missing::CreateWithMemory, |write| {
        let is_new = !write.queue().has_schedule(name);
        let event = write.queue().schedule(write.now, name, plan).map_err(error)?;
        write.afford(write.queue().growth(&event))?;
        write.commit(&event)?;
        Ok(is_new)
    })?;
    is_new.ok_or(Error::Busy)
}

/// Removes a schedule: whether there was one.
fn delete(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<bool, Error> {
    let removed = write(ctx, key, Missing::Skip, |write| {
        let event = write.queue().unschedule(name);
        event.as_ref().map_or(Ok(()), |event| write.commit(event))?;
        Ok(event.is_some())
    })?;
    Ok(removed.unwrap_or(false))
}

fn error(unplanned: Unplanned) -> Error {
    Error::Bad(match unplanned {
        Unplanned::Bad(BadRule::Expression) => {
            "CRON must be five fields in their bounds: minute 0-59, hour 0-23, day of month 1-31 or L, month 1-12, day of week 0-7"
        }
        Unplanned::Bad(BadRule::Zone) => "TZ must be the name of a time zone, such as Europe/Berlin",
        Unplanned::Bad(BadRule::Never) => "CRON names a date that never comes",
        Unplanned::TooMany => "a queue holds at most 1000 schedules",
    })
}

/// Replies what `TASK.INFO key CRON` tells: an array of maps, by name.
pub fn reply_schedules(reply: Reply<'_>, value: &TaskQueue, now: Now) {
    let schedules = value.queue.schedules(&now);
    reply.array(schedules.len());
    schedules.iter().for_each(|schedule| reply_schedule(reply, schedule));
}

fn reply_schedule(reply: Reply<'_>, schedule: &ScheduleView<'_>) {
    let ScheduleView { name, plan, next, runs } = schedule;
    let map = reply.pending_map();
    let mut fields = 0;
    let mut text = |name: &str, value: &[u8]| {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
        fields += 1;
    };
    text("name", name);
    if let Timing::Cron(expression, zone) = plan.timing {
        text("cron", expression.as_bytes());
        text("tz", zone.as_bytes());
    }
    text("catchup", if plan.catchup == Catchup::None { b"none" } else { b"one" });
    if let Some((last, _)) = runs.last {
        text("last-id", &last.text());
    }
    let mut number = |name: &str, number: u64| {
        reply.bulk(name.as_bytes());
        reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        fields += 1;
    };
    if let Timing::Every(ms) = plan.timing {
        number("every", ms);
    }
    if let Some((in_ms, at)) = next {
        number("next-ms", *in_ms);
        number("next", at.0);
    }
    if let Some((_, at)) = runs.last {
        number("last", at.0);
    }
    for (name, value) in [
        ("made", runs.made),
        ("skipped", runs.skipped),
        ("missed", runs.missed),
        ("disabled", u64::from(next.is_none())),
        ("payload-bytes", plan.payload.len() as u64),
    ] {
        number(name, value);
    }
    map.finish(fields);
}
