//! `TASK.GROUP`: what holds for one group of a queue.

use taskslot_engine::{GroupLimits, GroupRate, NUMBER_MAX, RATE_MAX, Rate, SPAN_MAX_MS, WEIGHT_MAX};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Sets what holds for one group: its share, its limits, whether its order is strict. What SET doesn't name stays. It
/// makes the queue where there is none; the group needs no task.
pub struct Group;

impl Command for Group {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.GROUP",
        summary: "Sets a group's share and limits, or forgets them; TASK.INFO key GROUPS shows them",
        complexity: "O(log g) for g groups",
        since: FIRST,
        arity: -4,
        flags: "write fast",
        acl: "write fast",
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
                            ArgDoc::integer("share").after("WEIGHT").optional(),
                            ArgDoc::integer("leases").after("CONCURRENCY").optional(),
                            ArgDoc::block(
                                "rate",
                                &[ArgDoc::integer("claims"), ArgDoc::integer("ms").after("PER").optional()],
                            )
                            .after("RATE")
                            .optional(),
                            ArgDoc::one_of("order", &[ArgDoc::word("yes", "YES"), ArgDoc::word("no", "NO")])
                                .after("ORDERED")
                                .optional(),
                        ],
                    )
                    .after("SET"),
                    ArgDoc::text("name").after("DEL"),
                ],
            ),
        ],
        reply: "OK; with DEL 1, or 0 where nothing was said of the group",
        replicates: "one TASK._APPLY: the group's limits, or that there are none any more; nothing where they \
                stay the same",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            WORD,
            NAME,
            MISSING,
            FULL_GROUPS,
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
        match args.one_of(&["SET", "DEL"])? {
            0 => set(ctx, key, args),
            _ => forget(ctx, key, args),
        }
    }
}

/// Reads options up to the end into `limits`; what they don't name stays.
fn read_limits(args: &mut Args<'_>, limits: &mut GroupLimits) -> Result<(), Error> {
    while let Some(option) = args.option(&["WEIGHT", "CONCURRENCY", "RATE", "ORDERED"])? {
        match option {
            "WEIGHT" => limits.weight = Some(args.unsigned("WEIGHT", 1..=i64::from(WEIGHT_MAX))? as u32),
            "CONCURRENCY" => limits.concurrency = Some(args.integer("CONCURRENCY", -1..=NUMBER_MAX)?),
            "RATE" => {
                let claims = args.integer("RATE", -1..=RATE_MAX)?;
                let per_ms = if args.word("PER") { args.unsigned("PER", 1..=SPAN_MAX_MS)? } else { PER_MS };
                let limited = |claims| GroupRate::Limited(Rate { claims, per_ms });
                limits.rate = u32::try_from(claims).map_or(GroupRate::Unlimited, limited);
            }
            "ORDERED" => limits.ordered = args.one_of(&["NO", "YES"])? == 1,
            _ => return Err(Error::Syntax),
        }
    }
    Ok(())
}

/// The span of a rate where PER says none.
const PER_MS: u64 = 1000;

fn set(ctx: Context<'_>, key: Arg<'_>, mut args: Args<'_>) -> Result<(), Error> {
    let name = args.name("the name of a group")?;
    if args.left() == 0 {
        return Err(Error::Missing("WEIGHT, CONCURRENCY, RATE or ORDERED"));
    }
    // All options are checked before the queue is looked at; then they are read again, on top of its limits.
    read_limits(&mut args.clone(), &mut GroupLimits::default())?;
    write(ctx, key, Missing::CreateWithMemory, |txn| {
        let before = txn.queue().group_limits(name);
        let mut limits = before;
        read_limits(&mut args, &mut limits)?;
        if limits == before {
            return Ok(());
        }
        let event = txn.queue().set_group(name, limits)?;
        txn.afford(txn.queue().growth(&event))?;
        txn.commit(&event)
    })?;
    ctx.reply().status(c"OK");
    Ok(())
}

fn forget(ctx: Context<'_>, key: Arg<'_>, mut args: Args<'_>) -> Result<(), Error> {
    let name = args.name("the name of a group")?;
    args.finish()?;
    let forgotten = write(ctx, key, Missing::Skip, |txn| match txn.queue().forget_group(name) {
        Some(event) => txn.commit(&event).map(|()| true),
        None => Ok(false),
    })?;
    ctx.reply().integer(i64::from(forgotten.unwrap_or(false)));
    Ok(())
}
