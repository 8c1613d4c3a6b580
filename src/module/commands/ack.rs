//! `TASK.ACK`: finishes tasks.

use taskslot_engine::{Event, Handle, Now, Queue, RESULT_MAX_BYTES, Refusal, SPAN_MAX_MS};

use super::args::{Args, OneOrMany};
use super::docs::{FIRST, errors};
use super::handles::{HANDLES, work_on};
use super::step::{STEP, Step};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The most bytes of results that one call can store: each of its tasks gets its own copy.
const RESULTS_MAX_BYTES: usize = 64 << 20;

/// The option RESULT.
pub const RESULT: ArgDoc = ArgDoc::text("result").after("RESULT").optional().about(
    "The result that TASK.RESULT returns, at most 1 MiB, and at most 64 MiB for all handles of a call. If the \
        server is out of memory, a result that would be retained is refused with OOM; RETAIN 0 is accepted",
);
/// The option RETAIN.
pub const RETAIN: ArgDoc = ArgDoc::integer("retain-ms").after("RETAIN").optional().about(
    "How long the tasks are kept as done, up to 100 years. 0 does not keep them. By default what the push \
        gave, otherwise the queue's setting `retain`",
);

/// The options of an ack: what it leaves of its tasks.
#[derive(Default)]
pub struct Ending<'a> {
    result: Option<&'a [u8]>,
    retain_ms: Option<u64>,
}

impl<'a> Ending<'a> {
    /// Reads the value of this option. Returns false if it is an option of another command.
    pub fn read(&mut self, option: &str, args: &mut Args<'a>) -> Result<bool, Error> {
        match option {
            "RESULT" => self.result = Some(args.bytes()?),
            "RETAIN" => self.retain_ms = Some(args.unsigned("RETAIN", 0..=SPAN_MAX_MS)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks the length of the result.
    pub fn check(&self, handles: &OneOrMany<Handle>) -> Result<(), Error> {
        let bytes = self.result.map_or(0, <[u8]>::len);
        if bytes > RESULT_MAX_BYTES {
            return Err(Error::TooLong("RESULT", RESULT_MAX_BYTES));
        }
        if bytes * handles.as_slice().len() > RESULTS_MAX_BYTES {
            return Err(Error::TooLong("RESULT for all HANDLES together", RESULTS_MAX_BYTES));
        }
        Ok(())
    }

    /// Whether it can make the data grow.
    pub fn may_grow(&self) -> bool {
        self.result.is_some()
    }

    /// Decides on one task.
    pub fn decide(&self, queue: &Queue, now: Now, handle: &Handle) -> Result<Event<'a>, Refusal> {
        queue.finish(now, handle, self.retain_ms, self.result)
    }
}

/// The reply for a task that was finished.
pub const FINISHED: i64 = 1;

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
            push, and so does its UNIQUE token.",
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
            kept. With PUSH, the same TASK._APPLY has the pushed task, as for TASK.PUSH. Nothing for handles that are \
            stale or have nothing left to finish",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            NAME,
            TOO_LONG,
            HANDLE,
            ID,
            ATTEMPTS,
            CLASH,
            REQUIRES,
            ID,
            UNKNOWN_BATCH,
            CLOSED_BATCH,
            NEVER_PUSHED,
            CIRCULAR,
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
        let handles = args.one_or_many("HANDLES", Args::handle)?;
        let (mut ending, mut step) = (Ending::default(), None);
        while let Some(option) = args.option(&["RESULT", "RETAIN", "PUSH"])? {
            if !ending.read(option, &mut args)? {
                step = Some(Step::read(&mut args)?);
            }
        }
        ending.check(&handles)?;
        match (step, &handles) {
            (Some(step), OneOrMany::One(handle)) => return step.run(ctx, key, handle, &ending),
            (Some(_), OneOrMany::Many(_)) => return Err(Error::Clash("HANDLES", "PUSH")),
            (None, _) => {}
        }
        let decide = |queue: &Queue, now, handle: &Handle| ending.decide(queue, now, handle);
        work_on(ctx, key, &handles, ending.may_grow(), decide, |_, _| FINISHED)
    }
}
