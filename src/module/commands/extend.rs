//! `TASK.EXTEND`: a worker keeps a task for longer.

use taskslot_engine::{Event, LEASE_MAX_MS, PROGRESS_MAX_BYTES};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The heartbeat of a worker: it moves deadlines on, never back and never beyond run-max, and keeps PROGRESS beside
/// the task. It is also how a worker learns that somebody wants its task cancelled.
pub struct Extend;

impl Command for Extend {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.EXTEND",
        summary: "Keeps leases for their own length again, or for LEASE ms from now, never shorter; PROGRESS shows how far they are",
        complexity: "O(n log m) for n handles and m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::integer("lease-ms").after("LEASE").optional(),
            ArgDoc::text("payload").after("PROGRESS").optional(),
        ],
        reply: "the new deadline in unix ms, 0 nothing left to work on, STALE, or CANCELLED where somebody asked for \
                that; with HANDLES an array, -2 for STALE, -3 for CANCELLED; OOM for a longer PROGRESS in a full server",
        replicates: "one TASK._APPLY: the new deadlines, and PROGRESS; nothing for handles that are gone, stale \
                or to be cancelled",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            TOO_LONG,
            HANDLE,
            STALE,
            CANCELLED,
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
        let handles = args.one_or_many("HANDLES", Args::handle)?;
        let (mut lease_ms, mut progress) = (None, None);
        while let Some(option) = args.option(&["LEASE", "PROGRESS"])? {
            match option {
                "LEASE" => lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
                "PROGRESS" => progress = Some(args.bytes()?),
                _ => return Err(Error::Syntax),
            }
        }
        if progress.is_some_and(|progress| progress.len() > PROGRESS_MAX_BYTES) {
            return Err(Error::TooLong("PROGRESS", PROGRESS_MAX_BYTES));
        }
        work_on(
            ctx,
            key,
            &handles,
            progress.is_some(),
            |queue, now, handle| queue.progress(now, handle, lease_ms, progress),
            |_, event| match event {
                Event::Extended { deadline, .. } => i64::try_from(deadline.0).unwrap_or(i64::MAX),
                _ => 0,
            },
        )
    }
}
