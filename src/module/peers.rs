//! Who can send the internal commands `TASK._APPLY`, `TASK._LOAD` and `TASK._CLOCK`, and how such a command ends.

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

/// What an internal command has done to a queue, if it wasn't refused.
pub enum Outcome {
    /// The change that came.
    Done,
    /// The change that these bytes say. They go on in place of those that came.
    DoneAs(Vec<u8>),
    /// The queue is broken now. That is an error, but a change too.
    Broke,
}

/// Ends an internal command on a key: sends the change on to replicas and the AOF, and replies. `send` sends other bytes
/// than those that came.
pub fn pass_on(
    ctx: Context<'_>,
    args: &[Arg<'_>],
    result: Result<Outcome, Error>,
    send: impl FnOnce(Arg<'_>, &[u8]),
) -> Result<(), Error> {
    let key = args.get(1);
    match (&result, key) {
        (Ok(Outcome::DoneAs(bytes)), Some(key)) => send(*key, bytes),
        (Ok(_), _) => ctx.replicate_verbatim(),
        // What a peer sent is passed on even if it doesn't fit the queue, so that this node's replicas and AOF mark the
        // same queue as broken.
        (Err(_), _) if is_from_peer(ctx) == Ok(true) => ctx.replicate_verbatim(),
        (Err(_), _) => {}
    }
    let result = result.and_then(|outcome| match outcome {
        Outcome::Done | Outcome::DoneAs(_) => Ok(()),
        Outcome::Broke => Err(Error::Broken),
    });
    answer(ctx, key, result)
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
