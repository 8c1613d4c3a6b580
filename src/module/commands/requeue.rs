//! `TASK.REQUEUE`: a worker gives a task back.

use taskslot_engine::{Event, SPAN_MAX_MS};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// Gives tasks back that a worker doesn't want to work on, as if they had not been claimed: to their old place, behind
/// the others with BACK, or after DELAY ms. A task that is to be cancelled is gone by this.
pub struct Requeue;

impl Command for Requeue {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.REQUEUE",
        summary: "Gives tasks back, to their place, later, or to the back; counts nothing against them",
        complexity: "O(n log m) for n handles and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::integer("ms").after("DELAY").optional(),
            ArgDoc::word("back", "BACK").optional(),
        ],
        reply: "1 given back, 0 nothing left to work on, or STALE; with HANDLES an array, -2 for STALE",
        replicates: "one TASK._APPLY: the tasks that are given back, and when they are ready; nothing for \
                handles that are gone or stale",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, RANGE, HANDLE, STALE, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let handles = args.one_or_many("HANDLES", Args::handle)?;
        let (mut delay_ms, mut back) = (None, false);
        while let Some(option) = args.option(&["DELAY", "BACK"])? {
            match option {
                "DELAY" => delay_ms = Some(args.unsigned("DELAY", 0..=SPAN_MAX_MS)?),
                "BACK" => back = true,
                _ => return Err(Error::Syntax),
            }
        }
        work_on(
            ctx,
            key,
            &handles,
            false,
            |queue, now, handle| queue.requeue(now, handle, delay_ms, back),
            |_, event| i64::from(!matches!(event, Event::Cancelled { .. })),
        )
    }
}
