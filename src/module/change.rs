//! Applies an event to a queue. No queue changes in any other way, neither on a primary nor on a replica.

use taskslot_engine::{Changes, Event, Invalid, Now};
use taskslot_node::Health;

use crate::datatype::TaskQueue;
use crate::errors::Error;
use crate::results;
use taskslot_api::guard::guard;
use taskslot_api::{Arg, Context};

/// Applies an event to a queue, and reports ended tasks to the clients that wait for them. Returns what else has
/// changed.
///
/// If the engine refuses the event, or panics while it applies it, the queue is marked broken: it can be read, but not
/// changed any more.
pub fn apply<'e>(
    ctx: Context<'_>,
    key: Arg<'_>,
    value: &mut TaskQueue,
    now: &Now,
    event: &'e Event<'_>,
) -> Result<Changes<'e>, Error> {
    let applied = guard("a change of a queue", Err(Invalid("been applied without a panic")), || {
        value.queue.apply(event)
    });
    let changes = applied.map_err(|Invalid(what)| {
        value.give_up(ctx, key, Health::Broken(format!("a change should have {what}")));
        Error::Broken
    })?;
    results::on_change(ctx, key, &value.queue, now, &changes);
    Ok(changes)
}
