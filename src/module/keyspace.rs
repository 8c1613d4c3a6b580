//! From a key to the queue in it.

use taskslot_engine::Now;

use crate::api::key::KeyRead;
use crate::api::{Arg, Context};
use crate::clock;
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;

/// Looks at a queue; `None` where there is no key. Changes nothing, not even what is due.
pub fn read<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    look: impl FnOnce(&TaskQueue, Now) -> R,
) -> Result<Option<R>, Error> {
    let Some(open) = KeyRead::open(ctx, key) else { return Ok(None) };
    let now = clock::now(ctx);
    Ok(open.value(&QUEUES)?.map(|value| look(value, now)))
}
