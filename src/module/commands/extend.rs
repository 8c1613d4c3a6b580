//! `TASK.EXTEND`: extends leases.

use taskslot_engine::{Event, LEASE_MAX_MS};

use super::args::Args;
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use super::progress::{PROGRESS, read_progress};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.EXTEND`.
pub struct Extend;

impl Command for Extend {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.EXTEND",
        summary: "Extends leases, and stores how far their tasks have got",
        details: "This is the heartbeat of a worker. A lease is never shortened, and the queue's setting \
            `run-max` limits its whole length. The reply also tells the worker that a task should be \
            cancelled.",
        complexity: "O(n log m) for n handles in a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            ArgDoc::integer("lease-ms")
                .after("LEASE")
                .optional()
                .about("The lease ends after this time from now: 1 ms to 24 hours. By default the length of the lease"),
            PROGRESS,
        ],
        reply: "The new deadline in Unix milliseconds, or 0 if there is nothing left to extend. With \
            HANDLES: an array, with -2 instead of the error STALE and -3 instead of CANCELLED",
        replicates: "One TASK._APPLY with the new deadlines and PROGRESS. Only TASK._CLOCK if the queue exists and \
            the handles are stale, cancelled or have nothing left to extend",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
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
        let handles = args.handles()?;
        let (mut lease_ms, mut progress) = (None, None);
        while let Some(option) = args.option(&["LEASE", "PROGRESS"])? {
            match option {
                "LEASE" => lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
                "PROGRESS" => progress = Some(read_progress(&mut args)?),
                _ => return Err(Error::Syntax),
            }
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
