//! taskslot: task queues with leases, inside Redis and Valkey.
//!
//! A command reads its arguments and goes through `write` (or `keyspace`, if it only looks) to the engine, which decides
//! everything about tasks and knows nothing of a server. `write` leaves word with `replication`, `waiters` and
//! `wakeups`; these come back to `write` when the time has come. What it tells replicas and the AOF comes in by
//! `replication` and `clock_notice`, if `peers` lets it. `clock` alone says what time it is, and `zones` the rules of time zones.
//! The crate `taskslot-api` is the only raw FFI. All of it runs on the server's main thread (but for the freeing of values, which `census`
//! bears); a thread-local is a global of that thread.

// All of it is in the crate `taskslot-api`.
#![deny(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod blocking;
mod census;
mod claims;
mod clock;
mod clock_notice;
mod commands;
mod datatype;
mod entropy;
mod errors;
mod events;
mod firsts;
mod info;
mod keyspace;
mod lines;
mod notices;
mod peers;
mod replication;
mod results;
mod settings;
mod slots;
mod stirred;
mod tally;
mod term;
mod ties;
mod waiters;
mod wakeups;
mod warnings;
mod write;
mod zones;

use taskslot_api as api;

use api::load::LoadError;
use api::{Arg, Context, command};
use taskslot_engine::Beginning;

api::module! { name: c"taskslot", version: 100, register: register }

/// Registers what there is.
fn register(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), LoadError> {
    settings::load(ctx, args)?;
    datatype::QUEUES.register(ctx)?;
    command::register(ctx, commands::TABLE, "task")?;
    events::register(ctx)?;
    api::info::register(ctx, info::write)?;
    term::begin(Beginning::Start);
    zones::begin();
    Ok(())
}
