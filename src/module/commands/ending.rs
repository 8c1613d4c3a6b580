//! What an ack leaves of its tasks: `RESULT payload`, `RETAIN ms`. ACK and NEXT have these options.

use taskslot_engine::{Event, Handle, Now, Queue, RESULT_MAX_BYTES, Refusal, SPAN_MAX_MS};

use super::args::{Args, OneOrMany};
use crate::errors::Error;
use taskslot_api::command::ArgDoc;

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
