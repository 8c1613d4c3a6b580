//! `TASK.NEXT`: finishes tasks, and claims the next ones.

use std::slice;

use super::args::Args;
use super::claim::{self, Given, Options, give, wait_or_reply_nothing};
use super::docs::errors;
use super::ending::{Ending, FINISHED, RESULT, RETAIN};
use super::handles::{HANDLES, all_gone, answer_all};
use crate::claims::{ClaimRequest, Head};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec};
use taskslot_api::{Arg, Context};

/// The options of TASK.ACK, then those of TASK.CLAIM.
const OPTIONS: &[&str] = &[
    "RESULT", "RETAIN", "COUNT", "BYTES", "LEASE", "BLOCK", "GATHER", "WORKER", "GROUP", "TIED", "NOACK",
    "REQUEST", "WITHMETA",
];

/// The command `TASK.NEXT`.
pub struct Next;

impl Command for Next {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.NEXT",
        summary: "Finishes tasks as TASK.ACK does, and claims the next ones as TASK.CLAIM does",
        details: "It does the work of both commands, one after the other, in one round trip. The answers count at \
            once, also while the command waits with BLOCK. An error that ends the wait does not undo them: \
            UNBLOCKED, NOPERM, and in a cluster MOVED and CLUSTERDOWN. After one of these, or if no reply comes, send \
            the same command again: tasks that the first copy finished are answered with 0, and with \
            REQUEST the same tasks are claimed.",
        complexity: "O(n log m + k) for n handles in a queue of m tasks, and k tasks that are claimed",
        since: "0.3.0",
        arity: -3,
        flags: "write fast blocking",
        acl: "write fast blocking",
        keys: &[KeySpec::first(claim::TAKES)],
        args: &[
            ArgDoc::key("key", 0),
            HANDLES,
            RESULT,
            RETAIN,
            claim::COUNT,
            claim::BYTES,
            claim::LEASE,
            claim::BLOCK,
            claim::GATHER,
            claim::WORKER,
            claim::GROUP,
            claim::TIED,
            claim::NOACK,
            claim::REQUEST,
            claim::WITHMETA,
        ],
        reply: "[answers, tasks]. answers is what TASK.ACK replies, an integer or with HANDLES an array, with -2 \
            instead of the error STALE in both. tasks is an array as TASK.CLAIM returns it",
        replicates: "One TASK._APPLY with the tasks that are finished, as for TASK.ACK, and the leases, as for \
            TASK.CLAIM. If the worker waited, the leases are part of the effect of the write that served it",
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
            NOACK,
            REQUIRES,
            NO_CONNECTION,
            EXHAUSTED,
            NO_PERMISSION,
            UNBLOCKED,
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
        let (mut ending, mut options) = (Ending::default(), Options::new());
        while let Some(option) = args.option(OPTIONS)? {
            if !ending.read(option, &mut args)? {
                options.read(option, &mut args)?;
            }
        }
        ending.check(&handles)?;
        let (request, block_ms) = options.request(ctx, Head::Nothing)?;
        let done = write(ctx, key, Missing::Skip, |txn| {
            let decide = |queue: &_, now, handle: &_| ending.decide(queue, now, handle);
            let answers = answer_all(txn, &handles, ending.may_grow(), decide, |_, _| FINISHED)?;
            // What the answers made claimable goes first to the workers that wait, as after an ack.
            txn.settle()?;
            let request = ClaimRequest { head: Head::Answers(&answers), ..request };
            let given = give(txn, &request, block_ms.is_some())?;
            Ok((answers, given))
        })?;
        let (answers, given) = done.unwrap_or_else(|| (all_gone(&handles), Given::Nothing));
        let gathers_ms = match given {
            Given::Tasks => return Ok(()),
            Given::Nothing => None,
            Given::Gathers(ms) => Some(ms),
        };
        let request = ClaimRequest { head: Head::Answers(&answers), ..request };
        wait_or_reply_nothing(ctx, slice::from_ref(&key), &request, block_ms, gathers_ms);
        Ok(())
    }
}
