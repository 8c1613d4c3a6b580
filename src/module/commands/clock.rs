//! `TASK._CLOCK stamp`: what the primary's clock shows, for replicas, which go by it, and in the AOF, from which a restart
//! carries the clock on and learns when somebody last served.

use taskslot_engine::Stamp;

use super::docs::{FIRST, errors};
use crate::clock;
use crate::errors::Error;
use crate::peers::is_from_peer;
use crate::replication::CLOCK;
use taskslot_api::command::{ArgDoc, Command, CommandDoc};
use taskslot_api::{Arg, Context};

/// `TASK._CLOCK`
pub struct Clock;

impl Command for Clock {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._CLOCK",
        summary: "Internal: tells what the primary's clock shows",
        complexity: "O(1)",
        since: FIRST,
        arity: 2,
        flags: "write",
        acl: "write admin dangerous",
        args: &[ArgDoc::text("stamp")],
        reply: "OK",
        replicates: "a replica tells its AOF what its own clocks show, its replicas get the primary's word as it \
                came; else nothing",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, STAMP, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        hear(ctx, args).inspect(|()| ctx.reply().status(c"OK"))
    }
}

fn hear(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let is_from_peer = is_from_peer(ctx)?;
    let [_, stamp] = args else { return Err(Error::Syntax) };
    let stamp: Stamp = rmp_serde::from_slice(stamp.as_bytes()).map_err(|_| Error::Bad("invalid stamp"))?;
    if !stamp.is_valid() {
        return Err(Error::Bad("invalid stamp"));
    }
    // A tool that replays an AOF, or a slot's former owner, doesn't set this node's clock.
    if !is_from_peer || (ctx.flags().is_primary() && !ctx.flags().is_loading()) {
        return Ok(());
    }
    if ctx.flags().is_loading() {
        clock::resume(&stamp);
        return Ok(());
    }
    clock::follow(&stamp);
    // This node's AOF gets what its own clocks show; its replicas get the primary's word as it came.
    match rmp_serde::to_vec(&clock::stamp()) {
        Ok(bytes) => _ = ctx.replicate_keyless(CLOCK, &bytes),
        Err(_) => ctx.replicate_verbatim(),
    }
    Ok(())
}
