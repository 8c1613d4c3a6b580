//! taskslot: task queues with leases, inside Redis and Valkey.
//!
//! A command parses its arguments. If it changes a queue, it goes through `txn`; if it only reads, through `keyspace`.
//! The engine makes all decisions about tasks, and knows nothing of a server. `txn` applies them with `change`, gives
//! ready tasks to the blocked workers in `waiters`, and sends the effect to replicas and the AOF. `replication` names
//! the commands that carry effects. Their implementations in `commands` accept them only from the senders that `peers`
//! allows.
//!
//! Work for later is on the `agenda`. The `runner` does it, again through `txn`. Only `clock` reads the time, and
//! `zones` provides the rules of time zones.
//!
//! What needs no server is in the crates `taskslot-engine` and `taskslot-node`. All unsafe code is in `taskslot-api`.
//! Everything runs on the server's main thread, so that a thread-local is a global variable. One exception: the server
//! can free values on other threads, and `metrics` is safe for that.

#![deny(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agenda;
mod append_only;
mod arrival;
mod blocking;
mod change;
mod claims;
mod clock;
mod clock_notice;
mod commands;
mod connections;
mod datatype;
mod entropy;
mod errors;
mod events;
mod gone;
mod info;
mod keyspace;
mod metrics;
mod notifications;
mod ownership;
mod peers;
mod relations;
mod replication;
mod results;
mod runner;
mod settings;
mod term;
mod txn;
mod waiters;
mod warnings;
mod zones;

use taskslot_api::load::LoadError;
use taskslot_api::{Arg, Context, registration};
use taskslot_engine::Beginning;

taskslot_api::module! { name: c"taskslot", version: VERSION, register: register }

/// The version as `INFO modules` and `MODULE LIST` show it: 0.2.0 is 200, 1.2.3 is 10203.
const VERSION: i32 = 10_000 * number(env!("CARGO_PKG_VERSION_MAJOR"))
    + 100 * number(env!("CARGO_PKG_VERSION_MINOR"))
    + number(env!("CARGO_PKG_VERSION_PATCH"));

/// The number that these digits stand for.
const fn number(digits: &str) -> i32 {
    match i32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// Registers settings, type, commands, events and INFO, and sets up what runs later.
fn register(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), LoadError> {
    settings::load(ctx, args)?;
    datatype::QUEUES.register(ctx)?;
    registration::register(ctx, commands::TABLE, "task")?;
    events::register(ctx)?;
    taskslot_api::info::register(ctx, info::write)?;
    agenda::register(runner::run);
    term::begin(Beginning::Start);
    zones::choose();
    Ok(())
}
