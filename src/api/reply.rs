//! Replies, written straight into the client's output: nothing is built before.
//!
//! Maps are flat arrays of twice the length in RESP2, which the server sees to itself, and on Redis 6.2, which has no
//! maps for modules, in RESP3 too.

use std::ffi::{CStr, c_long};

use super::context::Context;
use super::raw::{self, RedisModuleCtx, api, optional};
use super::replied;
use super::string::line;

/// Writes the reply of a command. Whoever opens an array writes exactly as many elements as it said.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    ctx: Context<'a>,
}

/// A map while it is written: a name, then its value, in turn. It ends where it is dropped, an inner one before the one
/// around it; so no map is left open, which would leave the client waiting.
#[must_use = "a map that is dropped at once is empty"]
pub struct Map<'a> {
    reply: Reply<'a>,
    written: usize,
    length: Length,
}

/// What the client was told of a map's length at its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// So many fields.
    Told(usize),
    /// Nothing: it is told at the end, for which the server keeps a place open in the client's output.
    Open,
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

    /// A map of so many fields. The cheap kind.
    pub fn map(self, len: usize) -> Map<'a> {
        match optional!(RedisModule_ReplyWithMap) {
            // SAFETY: the context lives as long as `self`. Too few fields confuse the client, not the server.
            Some(map) => unsafe {
                map(self.raw(), long(len));
            },
            None => self.array(len.saturating_mul(2)),
        }
        Map { reply: self, written: 0, length: Length::Told(len) }
    }

    /// A map that counts its fields.
    pub fn open_map(self) -> Map<'a> {
        match (optional!(RedisModule_ReplyWithMap), optional!(RedisModule_ReplySetMapLength)) {
            // SAFETY: the context lives as long as `self`; the length, which is still to come, is told when the map is dropped.
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

    /// Tells the length of the innermost open map.
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

impl<'a> Map<'a> {
    /// Writes a field's name; its value is to follow, of any kind.
    #[inline]
    pub fn field(&mut self, name: impl AsRef<[u8]>) -> Reply<'a> {
        self.written += 1;
        self.reply.bulk(name.as_ref());
        self.reply
    }

    /// A field of any bytes.
    #[inline]
    pub fn text(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.field(name).bulk(value.as_ref());
    }

    /// A field that is a number.
    #[inline]
    pub fn integer(&mut self, name: impl AsRef<[u8]>, value: impl Into<i64>) {
        self.field(name).integer(value.into());
    }

    /// A field that is a number, at most the largest that a reply can hold.
    #[inline]
    pub fn number(&mut self, name: impl AsRef<[u8]>, value: u64) {
        self.integer(name, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// The same of what may be unknown or endless: −1 for none.
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
            Length::Told(len) => {
                debug_assert!(len == self.written || std::thread::panicking(), "a map's length")
            }
            Length::Open => self.reply.end_map(self.written),
        }
    }
}

/// The length that is told later.
const POSTPONED: c_long = raw::REDISMODULE_POSTPONED_LEN as c_long;

fn long(len: usize) -> c_long {
    c_long::try_from(len).unwrap_or(c_long::MAX)
}
