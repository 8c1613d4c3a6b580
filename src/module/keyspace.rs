//! From a key to the queue in it.

use taskslot_engine::Now;

use crate::clock;
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use taskslot_api::key::KeyRead;
use taskslot_api::{Arg, Context};

/// Looks at a queue; `None` where there is no key. Changes nothing, not even what is due.
pub fn read<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    look: impl FnOnce(&TaskQueue, Now) -> R,
) -> Result<Option<R>, Error> {
    let Some(open) = KeyRead::open(ctx, key) else { return Ok(None) };
    let now = clock::now(ctx);
    Ok(open.value(&QUEUES)?.map(|value| look(value, value.now(now))))
}

/// Whether a write to this key could go ahead: there is no key, or a queue that isn't broken. Leaves no trace.
pub fn check(ctx: Context<'_>, key: Arg<'_>) -> Result<(), Error> {
    let Some(open) = KeyRead::peek(ctx, key) else { return Ok(()) };
    match open.value(&QUEUES)? {
        Some(value) if !value.health.is_sound() => Err(Error::Broken),
        _ => Ok(()),
    }
}
