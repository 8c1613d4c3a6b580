//! Replies, written straight into the client's output: nothing is built before.
//!
//! Maps are flat arrays of twice the length in RESP2, which the server sees to itself, and on Redis 6.2, which has no
//! maps for modules, in RESP3 too.

use std::ffi::{CStr, c_long};

use super::context::Context;
use super::guard::replied;
use super::raw::{self, api};
use super::string::line;

/// Writes the reply of a command. Who opens an array or map writes exactly as many elements as it said.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    ctx: Context<'a>,
}

/// A map whose length is told when it is complete. Dropping one untold would leave the client waiting.
#[must_use = "tell the length when all pairs are written"]
pub struct Pending<'a> {
    ctx: Context<'a>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(ctx: Context<'a>) -> Reply<'a> {
        Reply { ctx }
    }

    #[inline]
    fn raw(self) -> *mut raw::Ctx {
        replied();
        self.ctx.raw()
    }

    /// An integer.
    #[inline]
    pub fn integer(self, value: i64) {
        // SAFETY: the context lives (so in all that follow).
        unsafe { (api().reply_with_long_long)(self.raw(), value) };
    }

    /// A bulk string of any bytes, which are copied once.
    #[inline]
    pub fn bulk(self, bytes: &[u8]) {
        // SAFETY: the context lives, and the bytes are read during the call.
        unsafe { (api().reply_with_string_buffer)(self.raw(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// A status, such as `OK`.
    pub fn status(self, text: &'static CStr) {
        // SAFETY: the context and the text live.
        unsafe { (api().reply_with_simple_string)(self.raw(), text.as_ptr()) };
    }

    /// A line of text, as a status. Control characters become blanks.
    pub fn line(self, text: &str) {
        let text = line(text);
        // SAFETY: the context and the text live; the server copies it.
        unsafe { (api().reply_with_simple_string)(self.raw(), text.as_ptr()) };
    }

    /// Null: `$-1` in RESP2, `_` in RESP3.
    pub fn null(self) {
        // SAFETY: the context lives.
        unsafe { (api().reply_with_null)(self.raw()) };
    }

    /// An array; its `len` elements follow.
    #[inline]
    pub fn array(self, len: usize) {
        // SAFETY: the context lives.
        unsafe { (api().reply_with_array)(self.raw(), long(len)) };
    }

    /// A map; its `len` pairs follow, name and value in turn.
    pub fn map(self, len: usize) {
        match api().reply_with_map {
            // SAFETY: the context lives.
            Some(map) => unsafe {
                map(self.raw(), long(len));
            },
            None => self.array(len.saturating_mul(2)),
        }
    }

    /// A map whose length isn't known yet.
    pub fn pending_map(self) -> Pending<'a> {
        match (api().reply_with_map, api().reply_set_map_length) {
            // SAFETY: the context lives.
            (Some(map), Some(_)) => unsafe {
                map(self.raw(), raw::POSTPONED_LEN);
            },
            // SAFETY: the context lives.
            _ => unsafe {
                (api().reply_with_array)(self.raw(), raw::POSTPONED_LEN);
            },
        }
        Pending { ctx: self.ctx }
    }

    /// An error: a code word, then a phrase. Control characters become blanks, since a line end would let the text
    /// pass for a reply of its own.
    pub fn error(self, text: &str) {
        let text = line(text);
        // SAFETY: the context and the text live; the server copies it and takes it as no format.
        unsafe { (api().reply_with_error)(self.raw(), text.as_ptr()) };
    }

    /// An error of our own making, which carries no control characters.
    pub fn error_c(self, text: &CStr) {
        // SAFETY: as in `error`.
        unsafe { (api().reply_with_error)(self.raw(), text.as_ptr()) };
    }

    /// The server's own `ERR wrong number of arguments for '…' command`.
    pub fn wrong_arity(self) {
        // SAFETY: the context lives.
        unsafe { (api().wrong_arity)(self.raw()) };
    }
}

impl Pending<'_> {
    /// Tells how many pairs were written. The innermost open one is told first.
    pub fn finish(self, len: usize) {
        match (api().reply_with_map, api().reply_set_map_length) {
            // SAFETY: the context lives, and the innermost open reply is a map.
            (Some(_), Some(set)) => unsafe { set(self.ctx.raw(), long(len)) },
            // SAFETY: the context lives, and the innermost open reply is an array that stands for a map.
            _ => unsafe { (api().reply_set_array_length)(self.ctx.raw(), long(len.saturating_mul(2))) },
        }
    }
}

fn long(len: usize) -> c_long {
    c_long::try_from(len).unwrap_or(c_long::MAX)
}
