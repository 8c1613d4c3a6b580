//! The last net: no panic leaves a function that the server calls.
//!
//! Every `extern "C"` body of the crate runs inside [`guard`] (or [`answering`], where a client waits). The hook logs
//! what panicked and where, through the server's log and nowhere else.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::context::{Context, Level, log};
use super::raw;

/// Whether the running command has begun its reply. Commands run on one thread; a nested one keeps its own.
static REPLIED: AtomicBool = AtomicBool::new(false);

/// Notes that the running command has begun its reply.
#[inline]
pub(super) fn replied() {
    REPLIED.store(true, Relaxed);
}

/// Runs `body`; if it panics, logs that `what` did, and answers `fallback`.
pub fn guard<R>(what: &str, fallback: R, body: impl FnOnce() -> R) -> R {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            // Dropping what was thrown runs foreign code, which may panic again.
            std::mem::forget(payload);
            log(Level::Warning, &format!("a panic was caught in {what}: this is a bug of the module"));
            fallback
        }
    }
}

/// Runs what replies to a client. If it panics before it replied, the client gets `ERR internal error`; if it
/// panics in mid-reply its connection is closed, since what it got can't be read to its end.
pub(super) fn answering(what: &str, ctx: Context<'_>, body: impl FnOnce()) {
    let outer = REPLIED.swap(false, Relaxed);
    let done = guard(what, false, || {
        body();
        true
    });
    if !done {
        if REPLIED.load(Relaxed) {
            ctx.close_client();
        } else {
            ctx.reply().error_c(c"ERR internal error");
        }
    }
    REPLIED.store(outer, Relaxed);
}

/// Sends panics to the server's log instead of standard error.
pub(super) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        if raw::api_if_loaded().is_none() {
            return;
        }
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        match info.location() {
            Some(place) => log(Level::Warning, &format!("panic at {place}: {message}")),
            None => log(Level::Warning, &format!("panic: {message}")),
        }
    }));
}
