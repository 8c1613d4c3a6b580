//! Replies, written straight into the client's output: nothing is built before.
//!
//! Maps are flat arrays of twice the length in RESP2, which the server sees to itself, and on Redis 6.2, which has no
//! maps for modules, in RESP3 too.

use std::ffi::{CStr, c_long};

use super::context::Context;
use super::raw::{self, RedisModuleCtx, api, optional};
use super::replied;
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

impl<'a> Context<'a> {
    /// To reply to the client we serve.
    #[inline]
    pub fn reply(self) -> Reply<'a> {
        Reply { ctx: self }
    }
}

impl<'a> Reply<'a> {
    /// The context of a client that is replied to: whoever takes it writes a part of the reply.
    #[inline]
    fn raw(self) -> *mut RedisModuleCtx {
        replied::note();
        self.ctx.raw()
    }

    /// An integer.
    #[inline]
    pub fn integer(self, value: i64) {
        // SAFETY: the context lives as long as `self`, and the number is copied.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.raw(), value) };
    }

    /// A bulk string of any bytes, which are copied once.
    #[inline]
    pub fn bulk(self, bytes: &[u8]) {
        // SAFETY: the context lives as long as `self`; so many bytes are there, and are copied during the call.
        unsafe { api!(RedisModule_ReplyWithStringBuffer)(self.raw(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// A status, such as `OK`.
    pub fn status(self, text: &'static CStr) {
        // SAFETY: the context lives as long as `self`; the text ends with its NUL, and is copied during the call.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw(), text.as_ptr()) };
    }

    /// A line of text, as a status. Control characters become blanks.
    pub fn line(self, text: &str) {
        let text = line(text);
        // SAFETY: the context lives as long as `self`; `line` ended the text with a NUL, and it is copied during the call.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw(), text.as_ptr()) };
    }

    /// Null: `$-1` in RESP2, `_` in RESP3.
    pub fn null(self) {
        // SAFETY: the context lives as long as `self`, and there is nothing else to the call.
        unsafe { api!(RedisModule_ReplyWithNull)(self.raw()) };
    }

    /// An array; its `len` elements follow.
    #[inline]
    pub fn array(self, len: usize) {
        // SAFETY: the context lives as long as `self`. Too few elements confuse the client, not the server.
        unsafe { api!(RedisModule_ReplyWithArray)(self.raw(), long(len)) };
    }

    /// A map; its `len` pairs follow, name and value in turn.
    pub fn map(self, len: usize) {
        match optional!(RedisModule_ReplyWithMap) {
            // SAFETY: the context lives as long as `self`. Too few pairs confuse the client, not the server.
            Some(map) => unsafe {
                map(self.raw(), long(len));
            },
            None => self.array(len.saturating_mul(2)),
        }
    }

    /// A map whose length isn't known yet.
    pub fn pending_map(self) -> Pending<'a> {
        match (optional!(RedisModule_ReplyWithMap), optional!(RedisModule_ReplySetMapLength)) {
            // SAFETY: the context lives as long as `self`; the length, which is still to come, is `Pending::finish`'s.
            (Some(map), Some(_)) => unsafe {
                map(self.raw(), POSTPONED);
            },
            // SAFETY: the same, for the array that stands for a map.
            _ => unsafe {
                api!(RedisModule_ReplyWithArray)(self.raw(), POSTPONED);
            },
        }
        Pending { ctx: self.ctx }
    }

    /// An error: a code word, then a phrase. Control characters become blanks, since a line end would let the text
    /// pass for a reply of its own.
    pub fn error(self, text: &str) {
        let text = line(text);
        // SAFETY: the context lives as long as `self`; `line` ended the text with a NUL, and the server copies it and takes
        // it for no format.
        unsafe { api!(RedisModule_ReplyWithError)(self.raw(), text.as_ptr()) };
    }

    /// An error of our own making, which carries no control characters.
    pub fn error_c(self, text: &CStr) {
        // SAFETY: the context lives as long as `self`; a C string, which the server copies and takes for no format.
        unsafe { api!(RedisModule_ReplyWithError)(self.raw(), text.as_ptr()) };
    }

    /// The server's own `ERR wrong number of arguments for '…' command`.
    pub fn wrong_arity(self) {
        // SAFETY: a command's context lives, and so does the command's name, which the server puts into the text.
        unsafe { api!(RedisModule_WrongArity)(self.raw()) };
    }
}

impl Pending<'_> {
    /// Tells how many pairs were written. The innermost open one is told first.
    pub fn finish(self, len: usize) {
        match (optional!(RedisModule_ReplyWithMap), optional!(RedisModule_ReplySetMapLength)) {
            // SAFETY: the context lives; `pending_map` opened a map, so there is one whose length is still to come.
            (Some(_), Some(set)) => unsafe { set(self.ctx.raw(), long(len)) },
            // SAFETY: the context lives; `pending_map` opened an array, so there is one whose length is still to come.
            _ => unsafe {
                api!(RedisModule_ReplySetArrayLength)(self.ctx.raw(), long(len.saturating_mul(2)))
            },
        }
    }
}

/// The length that is told later.
const POSTPONED: c_long = raw::REDISMODULE_POSTPONED_LEN as c_long;

fn long(len: usize) -> c_long {
    c_long::try_from(len).unwrap_or(c_long::MAX)
}
