//! taskslot: task queues with leases, inside Redis and Valkey.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod api;

use std::ffi::c_int;

use api::load::LoadError;
use api::{Arg, Context, raw};

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
    unsafe { api::load::load(ctx, argv, argc, c"taskslot", 100, register) }
}

/// Registers what there is.
fn register(_ctx: Context<'_>, _args: &[Arg<'_>]) -> Result<(), LoadError> {
    Ok(())
}
