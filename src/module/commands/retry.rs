//! `TASK.RETRY`: makes dead, delayed or held tasks ready.

use taskslot_engine::Event;
use taskslot_node::ArgError;

use super::args::{Args, Named, OneOrMany};
use super::docs::{FIRST, errors};
use super::named::{ID, IDS, TOKEN, check_waits};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

const OF_GROUP: ArgDoc =
    ArgDoc::text("name").after("GROUP").optional().about("Only tasks of this group, 1 to 256 bytes");

/// The command `TASK.RETRY`.
pub struct Retry;

impl Command for Retry {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.RETRY",
        summary: "Makes dead, delayed or held tasks ready, behind the other ready tasks",
        details: "A dead task starts again with no failures and no stalls. It stays dead if another task \
            holds its UNIQUE token. A held task waits for nothing any more. With COUNT, a call examines at most 10,000 \
            dead tasks. With GROUP, the next such call goes on there. So in a queue with more dead tasks, repeat it as \
            often as it takes to look at all of them.",
        complexity: "O(n log m) for n tasks in a queue of m",
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
                    ID,
                    IDS,
                    TOKEN,
                    ArgDoc::block("oldest", &[ArgDoc::integer("n"), OF_GROUP])
                        .after("COUNT")
                        .about("The n oldest dead tasks, 1 to 1000 of them"),
                ],
            ),
        ],
        reply: "The number of tasks that became ready",
        replicates: "One TASK._APPLY with the tasks that became ready. Only TASK._CLOCK if the queue exists and has \
            none",
        errors: errors![
            TOO_MANY,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            ID,
            TASK,
            WAITS_OF_IDS,
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
        let count = if args.word("COUNT") { Some(args.count("COUNT")?) } else { None };
        let group = if count.is_some() && args.word("GROUP") { Some(args.name("GROUP")?) } else { None };
        let tasks = if count.is_none() { Some(tasks(&mut args)?) } else { None };
        args.finish()?;
        let retried = write(ctx, key, Missing::Skip, |txn| {
            txn.refer_back();
            let (queue, count) = (txn.queue(), count.unwrap_or_default());
            let (event, stopped) = match (&tasks, group) {
                (Some(tasks), _) => {
                    let ids = tasks.as_slice().iter().filter_map(|task| task.id(queue, txn.now.at));
                    let ids: Vec<_> = ids.collect();
                    check_waits(queue, &ids)?;
                    (queue.retry(txn.now, &ids), None)
                }
                (None, Some(group)) => queue.retry_group(txn.now, group, count),
                (None, None) => (queue.retry_oldest(txn.now, count), None),
            };
            stopped.into_iter().for_each(|stopped| txn.note_search(stopped));
            let Some(event) = event else { return Ok(0) };
            txn.commit(&event)?;
            Ok(if let Event::Retried { ids, .. } = &event { ids.len() } else { 0 })
        })?;
        ctx.reply().integer(retried.unwrap_or(0) as i64);
        Ok(())
    }
}

/// Reads which tasks. Errors: what comes first is neither an id nor one of the words.
fn tasks<'a>(args: &mut Args<'a>) -> Result<OneOrMany<Named<'a>>, Error> {
    let is_list = args.clone().word("IDS");
    args.tasks().map_err(|wrong| match wrong {
        ArgError::TaskId if !is_list => Error::Bad("invalid task id: expected an id, IDS, UNIQUE or COUNT"),
        wrong => wrong.into(),
    })
}
