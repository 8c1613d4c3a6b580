//! `TASK.PAUSE`, `TASK.RESUME`: close and open the gates of a queue, one for claims (OUT) and one for pushes (IN).

use taskslot_engine::{Event, Gate, SPAN_MAX_MS};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

const KEYS: &[KeySpec] = &[KeySpec::first(key_flags::RW | key_flags::UPDATE)];

const GATE: ArgDoc = ArgDoc::one_of(
    "gate",
    &[
        ArgDoc::word("out", "OUT").about("Claims. This is the default"),
        ArgDoc::word("in", "IN").about("Pushes, and the runs of schedules"),
        ArgDoc::word("all", "ALL").about("Both"),
    ],
)
.optional();
const FOR: ArgDoc = ArgDoc::integer("ms").after("FOR").optional().about(
    "Ends the pause after this many milliseconds, 1 ms to 100 years. Without it, TASK.RESUME ends the pause",
);

/// The command `TASK.PAUSE`.
pub struct Pause;

impl Command for Pause {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.PAUSE",
        summary: "Stops claims (OUT, the default), pushes (IN) or both (ALL), for a time or until \
            TASK.RESUME",
        details: "Blocked workers keep waiting. Leases still end, and tasks can still be acknowledged, \
            failed, requeued, extended and retried. Schedules skip their runs while pushes are \
            stopped. A later pause of the same direction replaces this one. Creates the queue if it \
            does not exist.",
        complexity: "O(1)",
        since: FIRST,
        arity: -2,
        flags: "write fast",
        acl: "write fast",
        keys: KEYS,
        args: &[ArgDoc::key("key", 0), GATE, FOR],
        reply: "OK",
        replicates: "One TASK._APPLY with the pause, and its end if FOR is given, even if the queue is \
            already paused",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            CLASH,
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
        let (gate, for_ms) = gate(&mut args, &["OUT", "IN", "ALL", "FOR"])?;
        write(ctx, key, Missing::CreateWithMemory, |txn| {
            let until = for_ms.map(|ms| txn.now.at.plus(ms));
            txn.commit(&Event::Paused { gate, until })
        })?;
        ctx.reply().status(c"OK");
        Ok(())
    }
}

/// The command `TASK.RESUME`.
pub struct Resume;

impl Command for Resume {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.RESUME",
        summary: "Ends a pause of claims (OUT, the default), of pushes (IN) or of both (ALL)",
        details: "Workers that wait get the ready tasks at once.",
        complexity: "O(n) for n waiting workers that get tasks",
        since: FIRST,
        arity: -2,
        flags: "write",
        acl: "write",
        keys: KEYS,
        args: &[ArgDoc::key("key", 0), GATE],
        reply: "OK",
        replicates: "One TASK._APPLY with the end of the pause. Nothing if the queue is not paused",
        errors: errors![UNKNOWN, TWICE, CLASH, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let (gate, _) = gate(&mut args, &["OUT", "IN", "ALL"])?;
        write(ctx, key, Missing::Skip, |txn| {
            let is_closed = [Gate::In, Gate::Out]
                .into_iter()
                .any(|one| gate.covers(one) && !txn.queue().paused(txn.now.at, one).is_open());
            if is_closed { txn.commit(&Event::Resumed { gate }) } else { Ok(()) }
        })?;
        ctx.reply().status(c"OK");
        Ok(())
    }
}

/// Reads the gate, and the value of FOR if that is among `known`. More than one gate is an error.
fn gate(args: &mut Args<'_>, known: &[&'static str]) -> Result<(Gate, Option<u64>), Error> {
    let (mut gate, mut for_ms) = (None, None);
    while let Some(option) = args.option(known)? {
        let named = match option {
            "OUT" => Gate::Out,
            "IN" => Gate::In,
            "ALL" => Gate::All,
            "FOR" => {
                for_ms = Some(args.unsigned("FOR", 1..=SPAN_MAX_MS)?);
                continue;
            }
            _ => return Err(Error::Syntax),
        };
        if let Some((other, _)) = gate.replace((option, named)) {
            return Err(Error::Clash(other, option));
        }
    }
    Ok((gate.map_or(Gate::Out, |(_, gate)| gate), for_ms))
}
