//! taskslot: task queues with leases, inside Redis and Valkey.
//!
//! A command reads its arguments and goes through `txn` (or `keyspace`, if it only looks) to the engine, which decides
//! everything about tasks and knows nothing of a server. `txn` applies what was decided by `change`, gives what is ready
//! to `waiters`, and tells replicas and the AOF by the commands that `replication` names; their files in `commands` take
//! them in, if `peers` lets them. What is to be done later goes on the `agenda`; the `runner` does it, through `txn`
//! again. `clock` alone says what time it is, and `zones` the rules of time zones.
//!
//! What needs no server is in the crates `taskslot-engine` and `taskslot-node`; `taskslot-api` is the only raw FFI. All
//! of it runs on the server's main thread, except that the server may free values on another one, as `metrics` expects; a
//! thread-local is a global of that thread.

#![deny(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agenda;
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
mod info;
mod keyspace;
mod metrics;
mod notifications;
mod ownership;
mod peers;
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

/// Registers what there is.
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
