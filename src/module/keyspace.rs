//! Opens a key to read the queue in it.

use taskslot_engine::Now;

use crate::clock;
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use taskslot_api::key::KeyRead;
use taskslot_api::{Arg, Context};

/// Reads a queue; `None` if there is no key. Nothing changes, not even tasks that are due.
pub fn read<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    look: impl FnOnce(&TaskQueue, Now) -> R,
) -> Result<Option<R>, Error> {
    let Some(open) = KeyRead::open(ctx, key) else { return Ok(None) };
    let now = clock::now(ctx);
    Ok(open.value(&QUEUES)?.map(|value| look(value, value.now(now))))
}

/// Checks that a write to this key would be accepted: there is no key, or a queue that isn't broken. The check doesn't count as
/// an access of the key.
pub fn check(ctx: Context<'_>, key: Arg<'_>) -> Result<(), Error> {
    let Some(open) = KeyRead::peek(ctx, key) else { return Ok(()) };
    match open.value(&QUEUES)? {
        Some(value) if !value.health.is_sound() => Err(Error::Broken),
        _ => Ok(()),
    }
}
