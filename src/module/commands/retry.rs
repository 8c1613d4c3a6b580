//! `TASK.RETRY`: dead or delayed tasks are ready now.

use taskslot_engine::Event;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Makes dead and delayed tasks ready, behind all that are ready. A dead one begins anew: its failures and stalls are
/// 0. One whose UNIQUE token another task holds by now stays dead.
pub struct Retry;

impl Command for Retry {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.RETRY",
        summary: "Makes dead or delayed tasks ready, behind the others; COUNT takes the oldest dead",
        complexity: "O(n log m) for n tasks of m",
        since: FIRST,
        arity: -3,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "tasks",
                &[
                    ArgDoc::text("id"),
                    ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("id").multiple()])
                        .after("IDS"),
                    ArgDoc::integer("n").after("COUNT"),
                ],
            ),
        ],
        reply: "how many are ready now",
        replicates: "one TASK._APPLY: the tasks that are ready now; nothing where there are none",
        errors: errors![UNKNOWN, NO_VALUE, RANGE, ID, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let count = if args.word("COUNT") { Some(args.count("COUNT")?) } else { None };
        let ids = if count.is_none() { Some(args.one_or_many("IDS", Args::id)?) } else { None };
        args.finish()?;
        let retried = write(ctx, key, Missing::Skip, |txn| {
            let queue = &txn.queue();
            let event = match (&ids, count) {
                (Some(ids), _) => queue.retry(txn.now, ids.as_slice()),
                (None, count) => queue.retry_oldest(txn.now, count.unwrap_or_default()),
            };
            let Some(event) = event else { return Ok(0) };
            txn.commit(&event)?;
            Ok(if let Event::Retried { ids, .. } = &event { ids.len() } else { 0 })
        })?;
        ctx.reply().integer(retried.unwrap_or(0) as i64);
        Ok(())
    }
}
