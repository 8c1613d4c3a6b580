//! `TASK.INFO`: returns the state of a queue. Each section has a file.

pub mod batches;
mod counts;
mod groups;
mod schedules;
mod settings;
mod times;
mod workers;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The section of the groups, which shows a thousand of them at a time.
const GROUPS: ArgDoc = ArgDoc::block(
    "groups",
    &[ArgDoc::text("name")
        .after("AFTER")
        .optional()
        .about("Continues after the group of this name, 1 to 256 bytes")],
)
.after("GROUPS")
.about("The groups with their limits, by name, 1000 at a time");

/// The section of the batches, which shows a thousand of them at a time.
const BATCHES: ArgDoc = ArgDoc::block(
    "batches",
    &[ArgDoc::text("name")
        .after("AFTER")
        .optional()
        .about("Continues after the batch of this name, 1 to 256 bytes")],
)
.after("BATCHES")
.about("The batches with their counts, by name, 1000 at a time");

/// The command `TASK.INFO`. Its time does not depend on the number of tasks.
pub struct Info;

impl Command for Info {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.INFO",
        summary: "Returns the counts, totals, rates, times and load of a queue; or its settings, \
            schedules, groups, batches or workers, or histograms of its times",
        details: "Rates, times and load are measured by this node since it started. [Observability](observability.md) describes the fields.",
        complexity: "O(n) for n waiting workers, at most 1000. With GROUPS or BATCHES O(n) for n of them, at most 1000. \
            With WORKERS O(n) for n workers, and at most 10,000 leases",
        since: FIRST,
        arity: -2,
        flags: "readonly random",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "section",
                &[
                    ArgDoc::word("config", "CONFIG").about("The settings"),
                    ArgDoc::word("cron", "CRON").about("The schedules"),
                    GROUPS,
                    BATCHES,
                    ArgDoc::word("workers", "WORKERS")
                        .about("The workers that hold leases or wait, by name, at most 1000"),
                    ArgDoc::word("times", "TIMES").about("Histograms of all wait and run times"),
                ],
            )
            .optional(),
        ],
        reply: "A map, or an array of maps with CRON. nil if the queue does not exist",
        replicates: "Nothing",
        errors: errors![UNKNOWN, TOO_MANY, NO_VALUE, NAME, WRONG_TYPE, BUSY],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let section = args.option(&["CONFIG", "CRON", "GROUPS", "BATCHES", "WORKERS", "TIMES"])?;
        let after: &[u8] = match section {
            Some("GROUPS" | "BATCHES") if args.word("AFTER") => args.name("AFTER")?,
            _ => &[],
        };
        args.finish()?;
        let (db, reply) = (ctx.selected_db(), ctx.reply());
        let shown = read(ctx, key, |value, now| match section {
            Some("CRON") => schedules::reply(reply, value, now),
            Some("CONFIG") => settings::reply(reply, value),
            Some("GROUPS") => groups::reply(reply, value, now, after),
            Some("BATCHES") => batches::reply(reply, value, after),
            Some("WORKERS") => workers::reply(reply, value, now, db, key),
            Some("TIMES") => times::reply(reply, value, now),
            _ => counts::reply(reply, value, now, db, key),
        })?;
        if shown.is_none() {
            reply.null();
        }
        Ok(())
    }
}
