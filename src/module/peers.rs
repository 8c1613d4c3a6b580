//! Who may send the commands that tell of changes: `TASK._APPLY`, `TASK._LOAD` and `TASK._CLOCK`.

use crate::errors::Error;
use crate::settings::ALLOW_EFFECTS;
use taskslot_api::Context;
use taskslot_api::server::replicates_scripts;

/// Whether the command comes from a primary, a slot's former owner or a file.
pub fn is_from_peer(ctx: Context<'_>) -> Result<bool, Error> {
    let flags = ctx.flags();
    if replicates_scripts(ctx) {
        return Err(Error::ScriptReplicated);
    }
    match flags.is_replicated() || flags.is_loading() {
        true => Ok(true),
        // An effect may hold anything: a tool waits until there is memory.
        false if ALLOW_EFFECTS.is_on() && ctx.is_out_of_memory() => Err(Error::OutOfMemory),
        false if ALLOW_EFFECTS.is_on() => Ok(false),
        _ => Err(Error::Bad("this command is reserved for replication and the AOF")),
    }
}

/// Ends such a command: what came is passed on, and replied to if it was taken.
pub fn pass_on(ctx: Context<'_>, result: Result<(), Error>) -> Result<(), Error> {
    // What a peer sent goes on as it came, also what doesn't fit: this node's AOF and replicas give up the same queue.
    if result.is_ok() || is_from_peer(ctx) == Ok(true) {
        ctx.replicate_verbatim();
    }
    result.inspect(|()| ctx.reply().status(c"OK"))
}
