//! The one way a queue changes: an event is applied, on a primary and on a replica alike.

use taskslot_engine::{Changes, Event, Invalid, Now};
use taskslot_node::Health;

use crate::datatype::TaskQueue;
use crate::errors::Error;
use crate::results;
use taskslot_api::guard::guard;
use taskslot_api::{Arg, Context};

/// Applies an event to a queue. A refusal or a panic in mid-change gives the queue up: it can be read from then on,
/// not changed. Who waits for a task that it ended is told. Returns what else follows from it.
pub fn apply<'e>(
    ctx: Context<'_>,
    key: Arg<'_>,
    value: &mut TaskQueue,
    now: &Now,
    event: &'e Event<'_>,
) -> Result<Changes<'e>, Error> {
    let applied = guard("a change of a queue", Err(Invalid("no panic")), || value.queue.apply(event));
    let changes = applied.map_err(|Invalid(what)| {
        value.give_up(Health::Broken(format!("a change should have {what}")));
        Error::Broken
    })?;
    results::on_change(ctx, key, &value.queue, now, &changes);
    Ok(changes)
}
