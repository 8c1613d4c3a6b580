//! Who may send the commands that tell of changes: `TASK._APPLY`, `TASK._LOAD` and `TASK._CLOCK`.

use crate::api::Context;
use crate::api::server::replicates_scripts;
use crate::errors::Error;
use crate::settings::ALLOW_EFFECTS;

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
        _ => Err(Error::Bad("only a primary and its AOF send this command")),
    }
}
