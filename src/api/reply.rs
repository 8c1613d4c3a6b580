//! Replies. They are written directly to the client's output.
//!
//! In RESP2, the server writes a map as a flat array of twice its length. On Redis 6.2, modules can't write maps, so this
//! file does the same there, in RESP3 too.

use std::ffi::{CStr, c_long};

use super::context::Context;
use super::raw::{self, RedisModuleCtx, api, optional};
use super::replied;
use super::string::line;

/// Writes the reply of a command. After an array is opened, exactly as many elements as its length must follow.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    ctx: Context<'a>,
}

/// A map that is being written. It ends when it is dropped, an inner map before the outer one. So a map can't be left open, for
/// whose end the client would wait.
#[must_use = "a map that is dropped at once is empty"]
pub struct Map<'a> {
    reply: Reply<'a>,
    written: usize,
    length: Length,
}

/// How the length of a map is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// At the beginning: this many fields.
    Known(usize),
    /// At the end. The server keeps a place for it in the client's output.
    Open,
}

impl<'a> Context<'a> {
    /// The reply to the present client.
    #[inline]
    pub fn reply(self) -> Reply<'a> {
        Reply { ctx: self }
    }
}

impl<'a> Reply<'a> {
    /// The context, for writing a part of the reply: notes that the reply has begun.
    #[inline]
    fn raw(self) -> *mut RedisModuleCtx {
        replied::note();
        self.ctx.raw()
    }

    /// Writes an integer.
    #[inline]
    pub fn integer(self, value: i64) {
        // SAFETY: the context lives as long as `self`, and the number is copied.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.raw(), value) };
    }

    /// Writes a bulk string of any bytes, which are copied once.
    #[inline]
    pub fn bulk(self, bytes: &[u8]) {
        // SAFETY: the context lives as long as `self`; the slice has that many bytes, which are copied during the call.
        unsafe { api!(RedisModule_ReplyWithStringBuffer)(self.raw(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Writes a status, such as `OK`.
    pub fn status(self, text: &'static CStr) {
        // SAFETY: the context lives as long as `self`; the text ends with its NUL, and is copied during the call.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw(), text.as_ptr()) };
    }

    /// Writes a line of text as a status. Control characters become blanks.
    pub fn line(self, text: &str) {
        let text = line(text);
        // SAFETY: the context lives as long as `self`; `line` ended the text with a NUL, and it is copied during the call.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw(), text.as_ptr()) };
    }

    /// Writes null: `$-1` in RESP2, `_` in RESP3.
    pub fn null(self) {
        // SAFETY: the context lives as long as `self`, and the call has no other requirements.
        unsafe { api!(RedisModule_ReplyWithNull)(self.raw()) };
    }

    /// Begins an array. Its `len` elements must follow.
    #[inline]
    pub fn array(self, len: usize) {
        // SAFETY: the context lives as long as `self`. Too few elements confuse the client, not the server.
        unsafe { api!(RedisModule_ReplyWithArray)(self.raw(), long(len)) };
    }

    /// Begins a map of `len` fields. Cheaper than [`Reply::open_map`].
    pub fn map(self, len: usize) -> Map<'a> {
        match optional!(RedisModule_ReplyWithMap) {
            // SAFETY: the context lives as long as `self`. Too few fields confuse the client, not the server.
            Some(map) => unsafe {
                map(self.raw(), long(len));
            },
            None => self.array(len.saturating_mul(2)),
        }
        Map { reply: self, written: 0, length: Length::Known(len) }
    }

    /// Begins a map that counts its fields itself.
    pub fn open_map(self) -> Map<'a> {
        match (optional!(RedisModule_ReplyWithMap), optional!(RedisModule_ReplySetMapLength)) {
            // SAFETY: the context lives as long as `self`; the length, which is still to come, is written when the map is dropped.
            (Some(map), Some(_)) => unsafe {
                map(self.raw(), POSTPONED);
            },
            // SAFETY: the same, for the array that stands for a map.
            _ => unsafe {
                api!(RedisModule_ReplyWithArray)(self.raw(), POSTPONED);
            },
        }
        Map { reply: self, written: 0, length: Length::Open }
    }

    /// Writes the length of the innermost open map.
    fn end_map(self, len: usize) {
        let ctx = self.ctx.raw();
        match (optional!(RedisModule_ReplyWithMap), optional!(RedisModule_ReplySetMapLength)) {
            // SAFETY: the context lives as long as `self`; only a `Map` that is open calls this, so there is a map whose length
            // is still to come. Where it isn't, the server logs that and goes on.
            (Some(_), Some(set)) => unsafe { set(ctx, long(len)) },
            // SAFETY: the same, for the array that stands for a map.
            _ => unsafe { api!(RedisModule_ReplySetArrayLength)(ctx, long(len.saturating_mul(2))) },
        }
    }

    /// Writes an error: a code word, then a phrase. Control characters become blanks, because the client would take the text
    /// after a line end for another reply.
    pub fn error(self, text: &str) {
        let text = line(text);
        // SAFETY: the context lives as long as `self`; `line` ended the text with a NUL, and the server copies it and
        // doesn't use it as a format.
        unsafe { api!(RedisModule_ReplyWithError)(self.raw(), text.as_ptr()) };
    }

    /// Writes an error that has no control characters.
    pub fn error_c(self, text: &CStr) {
        // SAFETY: the context lives as long as `self`; a C string, which the server copies and doesn't use as a format.
        unsafe { api!(RedisModule_ReplyWithError)(self.raw(), text.as_ptr()) };
    }

    /// Writes the server's own error `ERR wrong number of arguments for '...' command`.
    pub fn wrong_arity(self) {
        // SAFETY: a command's context lives, and so does the command's name, which the server puts into the text.
        unsafe { api!(RedisModule_WrongArity)(self.raw()) };
    }
}

impl<'a> Map<'a> {
    /// Writes the name of a field. Its value must follow, of any type.
    #[inline]
    pub fn field(&mut self, name: impl AsRef<[u8]>) -> Reply<'a> {
        self.written += 1;
        self.reply.bulk(name.as_ref());
        self.reply
    }

    /// Writes a field of any bytes.
    #[inline]
    pub fn text(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.field(name).bulk(value.as_ref());
    }

    /// Writes a field that is a number.
    #[inline]
    pub fn integer(&mut self, name: impl AsRef<[u8]>, value: impl Into<i64>) {
        self.field(name).integer(value.into());
    }

    /// Writes a field that is an unsigned number. Numbers above the largest of a reply, 2^63-1, are written as that.
    #[inline]
    pub fn number(&mut self, name: impl AsRef<[u8]>, value: u64) {
        self.integer(name, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Writes a field that is a number, or −1 for `None`: unknown, or without a limit.
    pub fn number_or_none(&mut self, name: impl AsRef<[u8]>, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.integer(name, -1),
        }
    }
}

impl Drop for Map<'_> {
    fn drop(&mut self) {
        match self.length {
            Length::Known(len) => {
                debug_assert!(len == self.written || std::thread::panicking(), "a map's length")
            }
            Length::Open => self.reply.end_map(self.written),
        }
    }
}

/// The length of a map or an array that is written later.
const POSTPONED: c_long = raw::REDISMODULE_POSTPONED_LEN as c_long;

fn long(len: usize) -> c_long {
    c_long::try_from(len).unwrap_or(c_long::MAX)
}
