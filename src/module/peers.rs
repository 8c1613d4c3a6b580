//! Who can send the internal commands `TASK._APPLY`, `TASK._LOAD` and `TASK._CLOCK`.

use crate::errors::Error;
use crate::settings::ALLOW_EFFECTS;
use taskslot_api::server::replicates_scripts;
use taskslot_api::{Arg, Context, Level};
use taskslot_node::QueueKey;

/// Whether the command comes from a primary, the former owner of a slot, or a file. `false`: from a tool, which
/// `allow-effects` permits. Errors: it comes from an ordinary client.
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

/// Ends an internal command on a key: sends it on to replicas and the AOF, and replies.
pub fn pass_on(ctx: Context<'_>, args: &[Arg<'_>], result: Result<(), Error>) -> Result<(), Error> {
    // What a peer sent is passed on even if it doesn't fit the queue, so that this node's replicas and AOF mark the
    // same queue as broken.
    if result.is_ok() || is_from_peer(ctx) == Ok(true) {
        ctx.replicate_verbatim();
    }
    answer(ctx, args.get(1), result)
}

/// Like [`pass_on`], but if the result has bytes, `send` sends these on, in place of what came.
pub fn pass_on_instead<E>(
    ctx: Context<'_>,
    args: &[Arg<'_>],
    result: Result<Option<Vec<u8>>, Error>,
    send: impl FnOnce(Arg<'_>, &[u8]) -> Result<(), E>,
) -> Result<(), Error> {
    let (Ok(Some(bytes)), Some(key)) = (&result, args.get(1)) else {
        return pass_on(ctx, args, result.map(|_| ()));
    };
    if send(*key, bytes).is_err() {
        let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
        ctx.log(Level::Warning, &format!("a change of {queue} could not be replicated"));
    }
    answer(ctx, Some(key), Ok(()))
}

/// Replies OK or the error. Nobody reads the replies to a file and to a primary, so what can't be done is logged. A replica
/// then replies OK: for each error of the stream Redis would log its end, with the payloads in it.
pub fn answer(ctx: Context<'_>, key: Option<&Arg<'_>>, result: Result<(), Error>) -> Result<(), Error> {
    let flags = ctx.flags();
    let by_primary = flags.is_replicated() && !flags.is_primary();
    let source = if flags.is_loading() { "in the file" } else { "by the primary" };
    match result {
        // It was logged when the queue became broken.
        Ok(()) | Err(Error::Broken) => {}
        Err(ref error) if by_primary || flags.is_loading() => {
            let what = key.map(|key| format!("of {} ", QueueKey::new(ctx.selected_db(), key.as_bytes())));
            let what = what.unwrap_or_default();
            ctx.log(Level::Warning, &format!("a change {what}{source} can't be made here: {error}"));
        }
        Err(_) => {}
    }
    // The former owner of a slot ends the migration because of an error.
    if !by_primary {
        result?;
    }
    ctx.reply().status(c"OK");
    Ok(())
}
