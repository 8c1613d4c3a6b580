//! `TASK._CLOCK stamp`: the time of the primary's clock. Replicas follow it. A server that restarts reads it from its
//! AOF, to continue the clock and to learn when clients were last served.

use taskslot_engine::Stamp;

use super::docs::{FIRST, errors};
use crate::clock;
use crate::errors::Error;
use crate::peers::{answer, is_from_peer};
use crate::replication::CLOCK;
use taskslot_api::command::{ArgDoc, Command, CommandDoc};
use taskslot_api::{Arg, Context};

/// The command `TASK._CLOCK`.
pub struct Clock;

impl Command for Clock {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._CLOCK",
        summary: "Internal: reports the time of the primary's clock",
        details: "A primary also sends it if a command changes nothing because an earlier one did its work, so that \
            `WAIT` and `WAITAOF` wait for that. Ordinary clients can send it only if the module's setting `allow-effects` is on. They get OK, and \
            the clock does not change: a valid stamp from a client is ignored.",
        complexity: "O(1)",
        since: FIRST,
        arity: 2,
        flags: "write",
        acl: "write admin dangerous",
        args: &[ArgDoc::text("stamp").about("The time, in the form of this module")],
        reply: "OK",
        replicates: "If a replica gets it from its primary: its own AOF gets the time of its own clock, and its \
            replicas get the primary's message unchanged. Nothing otherwise",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, STAMP, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        answer(ctx, None, take_stamp(ctx, args))
    }
}

fn take_stamp(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let is_from_peer = is_from_peer(ctx)?;
    let [_, stamp] = args else { return Err(Error::Syntax) };
    let stamp = Stamp::open(stamp.as_bytes()).map_err(|_| Error::Bad("invalid stamp"))?;
    // A tool that replays an AOF, and the former owner of a slot, must not set this node's clock.
    if !is_from_peer || (ctx.flags().is_primary() && !ctx.flags().is_loading()) {
        return Ok(());
    }
    if ctx.flags().is_loading() {
        clock::resume(&stamp);
        return Ok(());
    }
    clock::follow(&stamp);
    // This node's AOF gets the time of its own clock. Its replicas get the primary's message unchanged.
    let _ = ctx.replicate_keyless(CLOCK, &clock::stamp().seal());
    Ok(())
}
