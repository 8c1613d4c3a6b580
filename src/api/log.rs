//! The server's log.

use std::ffi::CStr;
use std::ptr;

use super::raw::{RedisModuleCtx, api};
use super::string::line;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For operators, now.
    Warning,
}

impl Level {
    pub(super) fn name(self) -> &'static CStr {
        match self {
            Level::Warning => c"warning",
        }
    }
}

/// Writes one line to the server's log, from any thread and without a context. Control characters become blanks.
pub fn log(level: Level, text: &str) {
    // SAFETY: the server takes null for "no context".
    unsafe { log_with(ptr::null_mut(), level, text) }
}

/// Writes one line to the server's log.
///
/// # Safety
/// The context lives, or is null.
pub(super) unsafe fn log_with(ctx: *mut RedisModuleCtx, level: Level, text: &str) {
    let text = line(text);
    // SAFETY: the caller vouches for the context; the format takes one C string, and gets one that lives through the call.
    unsafe { api!(RedisModule_Log)(ctx, level.name().as_ptr(), c"%s".as_ptr(), text.as_ptr()) }
}
