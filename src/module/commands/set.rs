//! `TASK.SET`: changes tasks that wait.

use taskslot_engine::{self as engine, NAME_MAX_BYTES, TaskId, When};
use taskslot_node::ArgError;

use super::args::{Args, OneOrMany};
use super::docs::errors;
use super::named::TASKS;
use super::push_options::{headers, priority, when};
use crate::errors::Error;
use crate::settings::MAX_PAYLOAD;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.SET`.
pub struct Set;

const WHEN: ArgDoc = ArgDoc::one_of(
    "when",
    &[
        ArgDoc::integer("ms").after("DELAY").about(
            "The task becomes ready after this many milliseconds, up to 100 years. 0 makes a delayed task ready now",
        ),
        ArgDoc::unix_time("unix-ms").after("AT").about("The task becomes ready at this Unix time in milliseconds"),
    ],
)
.optional();
const PRIORITY: ArgDoc =
    ArgDoc::integer("priority").after("PRIORITY").optional().about("The priority, -128 to 127");
const GROUP: ArgDoc = ArgDoc::text("name")
    .after("GROUP")
    .optional()
    .about("The group, at most 256 bytes. An empty name takes the task out of its group");
const PAYLOAD: ArgDoc = ArgDoc::text("payload").after("PAYLOAD").optional().about(
    "The payload. With IDS it counts once for each id, and all together are at most as many bytes as the module's \
        setting `max-payload` allows",
);
const HEADERS: ArgDoc = ArgDoc::block(
    "headers",
    &[
        ArgDoc::integer("n"),
        ArgDoc::block("header", &[ArgDoc::text("name"), ArgDoc::text("value")]).multiple().optional(),
    ],
)
.after("HEADERS")
.optional()
.about("All headers from now on, as in TASK.PUSH. 0 removes them");

impl Command for Set {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.SET",
        summary: "Changes tasks that wait (ready, delayed or held): when they are due, their priority, group, payload or headers",
        details: "What is not given stays as it is. A ready task that gets another priority or group goes \
            behind the other ready tasks there, and a delayed task that becomes ready does so too. A task \
            whose time to live has not passed yet has it again from when it is due. A held task stays held: its DELAY \
            counts from the end of its wait. Either all of the \
            waiting tasks are changed or none.",
        complexity: "O(n log m) for n ids in a queue of m tasks",
        since: "0.3.0",
        arity: -5,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[ArgDoc::key("key", 0), TASKS, WHEN, PRIORITY, GROUP, PAYLOAD, HEADERS],
        reply: "1 if the task waits and is now as given, 0 if it does not wait (any more). With IDS: an array",
        replicates: "One TASK._APPLY with the tasks that change and what changes. Only TASK._CLOCK if the queue exists \
            and nothing changes",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            ID,
            CLASH,
            NO_CHANGE,
            TOO_LONG,
            FULL_BYTES,
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
        let tasks = args.tasks()?;
        let options = SetOptions::read(&mut args)?;
        options.check(tasks.as_slice().len())?;
        let waits = write(ctx, key, Missing::Skip, |txn| {
            txn.refer_back();
            let (queue, at) = (txn.queue(), txn.now.at);
            let ids: Vec<Option<TaskId>> = tasks.as_slice().iter().map(|task| task.id(queue, at)).collect();
            let waits: Vec<bool> = ids.iter().map(|id| id.is_some_and(|id| queue.waits(id))).collect();
            let ids: Vec<TaskId> = ids.into_iter().flatten().collect();
            if let Some(event) = queue.set(txn.now, &ids, &options.set())? {
                txn.afford(txn.queue().growth(&event))?;
                txn.commit_push(&event, options.payload)?;
            }
            Ok(waits)
        })?;
        let waits = waits.unwrap_or_else(|| vec![false; tasks.as_slice().len()]);
        if let OneOrMany::Many(_) = tasks {
            ctx.reply().array(waits.len());
        }
        waits.into_iter().for_each(|waits| ctx.reply().integer(i64::from(waits)));
        Ok(())
    }
}

/// What a SET changes.
#[derive(Default)]
struct SetOptions<'a> {
    when: Option<When>,
    priority: Option<i8>,
    group: Option<&'a [u8]>,
    headers: Option<Vec<u8>>,
    /// The payload, if one is given.
    payload: &'a [Arg<'a>],
}

impl<'a> SetOptions<'a> {
    /// Reads options up to the end. Errors: there is none.
    fn read(args: &mut Args<'a>) -> Result<SetOptions<'a>, Error> {
        let (mut options, mut is_empty) = (SetOptions::default(), true);
        while let Some(option) = args.option(&["DELAY", "AT", "PRIORITY", "GROUP", "PAYLOAD", "HEADERS"])? {
            is_empty = false;
            match option {
                "DELAY" | "AT" => options.when = Some(when(options.when.unwrap_or_default(), option, args)?),
                "PRIORITY" => options.priority = Some(priority(args)?),
                "GROUP" => options.group = Some(group(args)?),
                "PAYLOAD" => options.payload = args.take(1)?,
                "HEADERS" => options.headers = Some(headers(args, 0)?),
                _ => return Err(Error::Syntax),
            }
        }
        if is_empty { Err(Error::Bad("at least one option is required")) } else { Ok(options) }
    }

    /// Checks that the payload is not too long for this many tasks.
    fn check(&self, tasks: usize) -> Result<(), Error> {
        let max = usize::try_from(MAX_PAYLOAD.get()).unwrap_or(usize::MAX);
        let bytes = self.payload.iter().map(|payload| payload.as_bytes().len()).sum::<usize>();
        match bytes.saturating_mul(tasks) {
            _ if bytes > max => Err(Error::TooLong("a payload", max)),
            all if all > max => Err(Error::TooLong("PAYLOAD, once for each id,", max)),
            _ => Ok(()),
        }
    }

    fn set(&self) -> engine::Set<'_> {
        engine::Set {
            when: self.when,
            priority: self.priority,
            group: self.group,
            headers: self.headers.as_deref(),
            payload: self.payload.first().map(|payload| payload.as_bytes()),
        }
    }
}

/// Reads the name of a group, or an empty one for none.
fn group<'a>(args: &mut Args<'a>) -> Result<&'a [u8], Error> {
    let name = args.bytes()?;
    if name.len() > NAME_MAX_BYTES { Err(ArgError::Name("GROUP").into()) } else { Ok(name) }
}
