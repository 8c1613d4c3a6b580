//! `TASK.ACK`: finishes tasks.

use taskslot_engine::{Handle, Queue};

use super::args::{Args, OneOrMany};
use super::docs::{FIRST, errors};
use super::ending::{Ending, FINISHED, RESULT, RETAIN};
use super::handles::{HANDLES, work_on};
use super::step::{STEP, Step};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.ACK`.
pub struct Ack;

impl Command for Ack {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.ACK",
        summary: "Finishes tasks: removes them, or keeps them with their result if they are retained",
        details: "A handle is accepted until the task is claimed again, even after its deadline has \
            passed. With PUSH, the task is finished and the next one is pushed, or neither: if the task cannot be \
            finished, or if the push is refused, nothing changes. What the finished task takes counts as free for the \
            push, and so does its UNIQUE token. From Redis 7.0 on, PUSH needs the permission to run TASK.PUSH too.",
        complexity: "O(n log m) for n handles in a queue of m tasks",
        since: FIRST,
        arity: -3,
        flags: "write fast",
        acl: "write fast",
        keys: &[KeySpec::first(key_flags::RW | key_flags::DELETE)],
        args: &[ArgDoc::key("key", 0), HANDLES, RESULT, RETAIN, STEP],
        reply: "1 if the task was finished, 0 if there is nothing left to finish. With HANDLES: an \
            array, with -2 instead of the error STALE. With PUSH: [1, id of the pushed task], or [0, nil] if there is \
            nothing left to finish. With UNIQUE in the push: [1, id, 1] for a new task, [1, id, 0] if a task already \
            holds the token",
        replicates: "One TASK._APPLY with the tasks that are finished, their results, and how long they are \
            kept. With PUSH, the same TASK._APPLY has the pushed task, as for TASK.PUSH. Only TASK._CLOCK if the queue \
            exists and the handles are stale or have nothing left to finish",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            TOO_LONG,
            HANDLE,
            ID,
            ATTEMPTS,
            CLASH,
            REQUIRES,
            NO_PUSH,
            STALE,
            UNKNOWN_BATCH,
            CLOSED_BATCH,
            NEVER_PUSHED,
            CIRCULAR,
            PAUSED,
            FULL_LEN,
            FULL_BYTES,
            FULL_GROUPS,
            FULL_TOKENS,
            EXHAUSTED,
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
        let (mut ending, mut step) = (Ending::default(), None);
        while let Some(option) = args.option(&["RESULT", "RETAIN", "PUSH"])? {
            if !ending.read(option, &mut args)? {
                step = Some(Step::read(&mut args)?);
            }
        }
        ending.check(&handles)?;
        match (&step, &handles) {
            (Some(step), OneOrMany::One(handle)) => return step.run(ctx, key, handle, &ending),
            (Some(_), OneOrMany::Many(_)) => return Err(Error::Clash("HANDLES", "PUSH")),
            (None, _) => {}
        }
        let decide = |queue: &Queue, now, handle: &Handle| ending.decide(queue, now, handle);
        work_on(ctx, key, &handles, ending.may_grow(), decide, |_, _| FINISHED)
    }
}
