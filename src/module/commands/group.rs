//! `TASK.GROUP`: sets the share and the limits of a group.

use taskslot_engine::{GroupLimits, GroupRate, NUMBER_MAX, RATE_MAX, Rate, SPAN_MAX_MS, WEIGHT_MAX};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

const WEIGHT: ArgDoc = ArgDoc::integer("share")
    .after("WEIGHT")
    .optional()
    .about("How many tasks the group gives in each of its turns, 1 to 1,000,000. 1 by default");
const CONCURRENCY: ArgDoc = ArgDoc::integer("leases").after("CONCURRENCY").optional().about(
    "The most leases at a time, up to 9,007,199,254,740,991. 0 stops the group, -1 sets no limit. By default the queue's \
        setting `group-concurrency`",
);
const RATE: ArgDoc = ArgDoc::block("rate", &[ArgDoc::integer("claims"), PER]).after("RATE").optional().about(
    "The most claims in a span of time, up to 1,000,000. 0 stops the group, -1 sets no limit. By default the queue's \
        setting `group-rate`",
);
const PER: ArgDoc = ArgDoc::integer("ms")
    .after("PER")
    .optional()
    .about("The span of RATE, 1 ms to 100 years. 1000 ms by default");
const ORDERED: ArgDoc =
    ArgDoc::one_of("order", &[ArgDoc::word("yes", "YES"), ArgDoc::word("no", "NO")])
        .after("ORDERED")
        .optional()
        .about(
            "With YES, one task of the group is leased at a time, and a task that comes back goes first. The others wait \
                while it is delayed. NO by default",
        );

/// The command `TASK.GROUP`.
pub struct Group;

impl Command for Group {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.GROUP",
        summary: "Sets the share and the limits of a group, or removes them",
        details: "Options that SET does not name keep their values. SET creates the queue if it does not \
            exist; the group needs no tasks. TASK.INFO key GROUPS shows the groups.",
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
                    ArgDoc::block("set", &[ArgDoc::text("name"), WEIGHT, CONCURRENCY, RATE, ORDERED])
                        .after("SET")
                        .about("Sets options of the group, at least one. The name has 1 to 256 bytes"),
                    ArgDoc::text("name")
                        .after("DEL")
                        .about("Removes everything that SET has set for the group"),
                ],
            ),
        ],
        reply: "OK. With DEL: 1, or 0 if nothing was set for the group",
        replicates: "One TASK._APPLY with the limits of the group, or with their removal. Only TASK._CLOCK if the \
            queue exists and they stay the same",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            TOO_MANY,
            NAME,
            REQUIRED,
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
            _ => delete(ctx, key, args),
        }
    }
}

/// Reads options up to the end into `limits`. Limits that no option names keep their values.
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

/// The span of a rate without PER, in ms.
const PER_MS: u64 = 1000;

fn set(ctx: Context<'_>, key: Arg<'_>, mut args: Args<'_>) -> Result<(), Error> {
    let name = args.name("the name of a group")?;
    if args.left() == 0 {
        return Err(Error::Required("WEIGHT, CONCURRENCY, RATE or ORDERED"));
    }
    // Checks all options before the queue is opened. Then they are read again, on top of the group's limits.
    read_limits(&mut args.clone(), &mut GroupLimits::default())?;
    write(ctx, key, Missing::CreateWithMemory, |txn| {
        let before = txn.queue().group_limits(name);
        let mut limits = before;
        read_limits(&mut args, &mut limits)?;
        if limits == before {
            txn.refer_back();
            return Ok(());
        }
        let event = txn.queue().set_group(name, limits)?;
        txn.afford(txn.queue().growth(&event))?;
        txn.commit(&event)
    })?;
    ctx.reply().status(c"OK");
    Ok(())
}

fn delete(ctx: Context<'_>, key: Arg<'_>, mut args: Args<'_>) -> Result<(), Error> {
    let name = args.name("the name of a group")?;
    args.finish()?;
    let deleted = write(ctx, key, Missing::Skip, |txn| match txn.queue().forget_group(name) {
        Some(event) => txn.commit(&event).map(|()| true),
        None => {
            txn.refer_back();
            Ok(false)
        }
    })?;
    ctx.reply().integer(i64::from(deleted.unwrap_or(false)));
    Ok(())
}
