//! taskslot: task queues with leases, inside Redis and Valkey.
//!
//! A command reads its arguments and goes through `write` (or `keyspace`, if it only looks) to the engine, which decides
//! everything about tasks and knows nothing of a server. `write` leaves word with `replication`, `waiters` and
//! `wakeups`; these come back to `write` when the time has come. What it tells replicas and the AOF comes in by
//! `replication` and `clock_notice`, if `peers` lets it. `clock` alone says what time it is, and `zones` the rules of time zones.
//! The crate `taskslot-api` is the only raw FFI. All of it runs on the server's main thread except that the server may free values on
//! another one, as `metrics` expects; a thread-local is a global of that thread.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod blocking;
mod claims;
mod clock;
mod clock_notice;
mod commands;
mod connections;
mod datatype;
mod entropy;
mod errors;
mod events;
mod firsts;
mod info;
mod keyspace;
mod lines;
mod metrics;
mod notices;
mod peers;
mod replication;
mod results;
mod settings;
mod stirred;
mod term;
mod waiters;
mod wakeups;
mod warnings;
mod write;
mod zones;

use std::ffi::c_int;

use taskslot_api as api;

use api::load::LoadError;
use api::{Arg, Context, command, raw};
use taskslot_engine::Beginning;

/// The version as the server counts it: 100 a minor, 10000 a major.
const VERSION: c_int = 100;

/// What the server looks for in the library.
///
/// # Safety
/// Called by the server only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::Ctx,
    argv: *mut *mut raw::Str,
    argc: c_int,
) -> c_int {
    // SAFETY: these are OnLoad's own arguments, and this is the first code of the crate to run.
    unsafe { api::load::load(ctx, argv, argc, c"taskslot", VERSION, register) }
}

/// Registers what there is.
fn register(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), LoadError> {
    settings::load(ctx, args)?;
    datatype::QUEUES.register(ctx)?;
    command::register(ctx, commands::TABLE, "task")?;
    events::register(ctx)?;
    api::info::register(ctx, info::write)?;
    term::begin(Beginning::Start);
    zones::choose();
    Ok(())
}
