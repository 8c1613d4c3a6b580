//! The last net: no panic leaves a function that the server calls.
//!
//! Every `extern "C"` body of the crate runs inside [`guard`] (or [`answering`], where a client waits). The hook logs
//! what panicked and where, through the server's log and nowhere else.

use std::panic::{self, AssertUnwindSafe};

use super::context::Context;
use super::log::{Level, log};
use super::replied;

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
    let outer = replied::begin();
    let done = guard(what, false, || {
        body();
        true
    });
    if !done {
        if replied::is_noted() {
            ctx.close_client();
        } else {
            ctx.reply().error_c(c"ERR internal error");
        }
    }
    replied::restore(outer);
}

/// Sends panics to the server's log instead of standard error. To be called when the server's functions are there.
pub(super) fn install_hook() {
    panic::set_hook(Box::new(|info| {
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
