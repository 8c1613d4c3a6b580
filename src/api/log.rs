//! Writing to the server's log.

use std::ffi::CStr;
use std::ptr;

use super::raw::{RedisModuleCtx, api};
use super::string::line;

/// The level of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something that an operator should know. Every `loglevel` shows it.
    Warning,
}

impl Level {
    pub(super) fn name(self) -> &'static CStr {
        match self {
            Level::Warning => c"warning",
        }
    }
}

/// Writes a line to the server's log, from any thread and without a context. Control characters become blanks.
pub fn log(level: Level, text: &str) {
    // SAFETY: the server takes null for "no context".
    unsafe { log_with(ptr::null_mut(), level, text) }
}

/// Writes a line to the server's log. Control characters become blanks.
///
/// # Safety
/// The context lives, or is null.
pub(super) unsafe fn log_with(ctx: *mut RedisModuleCtx, level: Level, text: &str) {
    let text = line(text);
    // SAFETY: the caller guarantees the context; the format takes one C string, and gets one that lives through the call.
    unsafe { api!(RedisModule_Log)(ctx, level.name().as_ptr(), c"%s".as_ptr(), text.as_ptr()) }
}
