//! `TASK.INFO`: what to know about a queue, a file for each section.

mod counts;
mod groups;
mod schedules;
mod settings;
mod workers;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::keyspace::read;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// GROUPS shows them a thousand at a time.
const GROUPS: ArgDoc =
    ArgDoc::block("groups", &[ArgDoc::text("name").after("AFTER").optional()]).after("GROUPS");

/// Shows a queue as a whole, or one of its sections. It costs the same however many tasks there are. Rates and times
/// are this node's own and start anew with it.
pub struct Info;

impl Command for Info {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.INFO",
        summary: "Tells counts, totals, rates, times and load of a queue; or its settings, schedules, groups or workers",
        complexity: "O(n) for n workers that wait, at most 1000; with GROUPS O(n) for n groups, at most 1000; with WORKERS O(n) for n workers and at most 10,000 leases",
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
                    ArgDoc::word("config", "CONFIG"),
                    ArgDoc::word("cron", "CRON"),
                    GROUPS,
                    ArgDoc::word("workers", "WORKERS"),
                ],
            )
            .optional(),
        ],
        reply: "a map, with CRON an array of maps, or nil where there is no queue",
        replicates: "nothing",
        errors: errors![UNKNOWN, NO_VALUE, NAME, WRONG_TYPE, BUSY],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let section = args.option(&["CONFIG", "CRON", "GROUPS", "WORKERS"])?;
        let after: &[u8] = match section {
            Some("GROUPS") if args.word("AFTER") => args.name("AFTER")?,
            _ => &[],
        };
        args.finish()?;
        let (db, reply) = (ctx.selected_db(), ctx.reply());
        let shown = read(ctx, key, |value, now| match section {
            Some("CRON") => schedules::reply(reply, value, now),
            Some("CONFIG") => settings::reply(reply, value),
            Some("GROUPS") => groups::reply(reply, value, now, after),
            Some("WORKERS") => workers::reply(reply, value, now, db, key),
            _ => counts::reply(reply, value, now, db, key),
        })?;
        if shown.is_none() {
            reply.null();
        }
        Ok(())
    }
}
