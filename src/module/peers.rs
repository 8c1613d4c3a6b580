//! Who can send the internal commands `TASK._APPLY`, `TASK._LOAD` and `TASK._CLOCK`.

use crate::errors::Error;
use crate::settings::ALLOW_EFFECTS;
use taskslot_api::Context;
use taskslot_api::server::replicates_scripts;

/// Whether the command comes from a primary, the former owner of a slot, or a file. `false`: from a tool, which `allow-effects`
/// permits. Errors: it comes from an ordinary client.
pub fn is_from_peer(ctx: Context<'_>) -> Result<bool, Error> {
    let flags = ctx.flags();
    if replicates_scripts(ctx) {
        return Err(Error::ScriptReplicated);
    }
    match flags.is_replicated() || flags.is_loading() {
        true => Ok(true),
        // An effect can contain anything, so a tool has to wait until there is memory.
        false if ALLOW_EFFECTS.is_on() && ctx.is_out_of_memory() => Err(Error::OutOfMemory),
        false if ALLOW_EFFECTS.is_on() => Ok(false),
        _ => Err(Error::Bad("this command is reserved for replication and the AOF")),
    }
}

/// Ends an internal command: sends it on to replicas and the AOF, and replies OK if it succeeded.
pub fn pass_on(ctx: Context<'_>, result: Result<(), Error>) -> Result<(), Error> {
    // What a peer sent is passed on even if it doesn't fit the queue, so that this node's replicas and AOF mark the same queue
    // as broken.
    if result.is_ok() || is_from_peer(ctx) == Ok(true) {
        ctx.replicate_verbatim();
    }
    result.inspect(|()| ctx.reply().status(c"OK"))
}
