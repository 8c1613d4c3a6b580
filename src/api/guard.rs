//! Catches panics: none may leave a function that the server calls.
//!
//! The body of every `extern "C"` function of the crate runs inside [`guard`], or inside `answering` if a client waits
//! for a reply. A panic hook writes the message and the source location to the server's log.

use std::panic::{self, AssertUnwindSafe};

use super::context::Context;
use super::log::{Level, log};
use super::replied;

/// Runs `body`. If it panics, logs that with `what`, and returns `fallback`.
pub fn guard<R>(what: &str, fallback: R, body: impl FnOnce() -> R) -> R {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            // The payload isn't dropped, because its destructor could panic again.
            std::mem::forget(payload);
            log(Level::Warning, &format!("a panic was caught in {what}: this is a bug of the module"));
            fallback
        }
    }
}

/// Runs code that replies to a client. If it panics before the reply has begun, the client gets `ERR internal error`.
/// If it panics later, the connection is closed, because the client can't read a reply that is not complete.
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

/// Sends the messages of panics to the server's log instead of standard error. Called after the server's functions are
/// loaded.
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
