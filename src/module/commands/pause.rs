//! `TASK.PAUSE`, `TASK.RESUME`: close and open the gates of a queue, one for claims (OUT) and one for pushes (IN); and
//! hold one group.

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
        ArgDoc::text("name")
            .after("GROUP")
            .about("Claims of the tasks of this group, 1 to 256 bytes. Other groups go on"),
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
        summary: "Stops claims (OUT, the default), pushes (IN) or both (ALL), or the claims of one group, for a time \
            or until TASK.RESUME",
        details: "Blocked workers keep waiting. Leases still end, and tasks can still be acknowledged, \
            failed, requeued, extended and retried. Schedules skip their runs while pushes are \
            stopped. A later pause of the same direction or group replaces this one. Creates the queue if it \
            does not exist; the group needs no tasks.",
        complexity: "O(1), with GROUP O(log g) for g groups",
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
            NAME,
            CLASH,
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
        let (what, for_ms) = what(&mut args, &["OUT", "IN", "ALL", "GROUP", "FOR"])?;
        write(ctx, key, Missing::CreateWithMemory, |txn| {
            let until = for_ms.map(|ms| txn.now.at.plus(ms));
            let event = match what {
                What::Gate(gate) => Event::Paused { gate, until },
                What::Group(name) => txn.queue().pause_group(name, until)?,
            };
            txn.afford(txn.queue().growth(&event))?;
            txn.commit(&event)
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
        summary: "Ends a pause of claims (OUT, the default), of pushes (IN), of both (ALL) or of a group",
        details: "Workers that wait get the ready tasks at once.",
        complexity: "O(n) for n waiting workers that get tasks",
        since: FIRST,
        arity: -2,
        flags: "write",
        acl: "write",
        keys: KEYS,
        args: &[ArgDoc::key("key", 0), GATE],
        reply: "OK",
        replicates: "One TASK._APPLY with the end of the pause. Only TASK._CLOCK if the queue exists, but it or the \
            group is not paused",
        errors: errors![UNKNOWN, TWICE, NO_VALUE, NAME, CLASH, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let (what, _) = what(&mut args, &["OUT", "IN", "ALL", "GROUP"])?;
        write(ctx, key, Missing::Skip, |txn| {
            txn.refer_back();
            let event = match what {
                What::Gate(gate) => {
                    let is_closed = |one| !txn.queue().paused(txn.now.at, one).is_open();
                    let mut covered = [Gate::In, Gate::Out].into_iter().filter(|&one| gate.covers(one));
                    covered.any(is_closed).then_some(Event::Resumed { gate })
                }
                What::Group(name) => txn.queue().resume_group(name),
            };
            event.map_or(Ok(()), |event| txn.commit(&event))
        })?;
        ctx.reply().status(c"OK");
        Ok(())
    }
}

/// What is paused or resumed.
#[derive(Clone, Copy)]
enum What<'a> {
    Gate(Gate),
    Group(&'a [u8]),
}

/// Reads what is meant, and the value of FOR if that is among `known`. More than one gate or group is an error.
fn what<'a>(args: &mut Args<'a>, known: &[&'static str]) -> Result<(What<'a>, Option<u64>), Error> {
    let (mut what, mut for_ms) = (None, None);
    while let Some(option) = args.option(known)? {
        let named = match option {
            "OUT" => What::Gate(Gate::Out),
            "IN" => What::Gate(Gate::In),
            "ALL" => What::Gate(Gate::All),
            "GROUP" => What::Group(args.name("GROUP")?),
            "FOR" => {
                for_ms = Some(args.unsigned("FOR", 1..=SPAN_MAX_MS)?);
                continue;
            }
            _ => return Err(Error::Syntax),
        };
        if let Some((other, _)) = what.replace((option, named)) {
            return Err(Error::Clash(other, option));
        }
    }
    Ok((what.map_or(What::Gate(Gate::Out), |(_, what)| what), for_ms))
}
