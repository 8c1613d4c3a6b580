//! What a value is written to and read from: RDB and AOF files, and digests.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;

use super::raw::{RedisModuleDigest, RedisModuleIO, api, optional};
use super::string::{Arg, line};

/// The longest string that a server tries to read as a number when it saves it.
const INTEGER_BYTES: usize = 11;

/// Writes a value to an RDB file.
pub struct RdbWriter<'a> {
    io: *mut RedisModuleIO,
    life: PhantomData<&'a mut RedisModuleIO>,
}

impl RdbWriter<'_> {
    /// # Safety
    /// The stream lives as long as what is made.
    pub(super) unsafe fn new(io: *mut RedisModuleIO) -> Self {
        RdbWriter { io, life: PhantomData }
    }

    /// Bytes, with their length.
    pub fn save_bytes(&mut self, bytes: &[u8]) {
        // Redis 6.2 takes a string of up to 11 bytes for a number if it can, and reads on to a NUL to find out.
        let mut short = [0; INTEGER_BYTES + 1];
        let text = match short.get_mut(..bytes.len()) {
            Some(start) if bytes.len() <= INTEGER_BYTES => {
                start.copy_from_slice(bytes);
                short.as_ptr()
            }
            _ => bytes.as_ptr(),
        };
        // SAFETY: the stream lives as long as `self`; so many bytes are there, and are read during the call; a NUL follows
        // where it is looked for.
        unsafe { api!(RedisModule_SaveStringBuffer)(self.io, text.cast(), bytes.len()) }
    }
}

/// Reads a value from an RDB file. After the first failure every read fails.
pub struct RdbReader<'a> {
    io: *mut RedisModuleIO,
    failed: bool,
    life: PhantomData<&'a mut RedisModuleIO>,
}

impl RdbReader<'_> {
    /// # Safety
    /// The stream lives as long as what is made.
    pub(super) unsafe fn new(io: *mut RedisModuleIO) -> Self {
        RdbReader { io, failed: false, life: PhantomData }
    }

    /// A read has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Bytes; `None` if there are none. Their length was told by the file, the bytes are there.
    pub fn load_bytes(&mut self) -> Option<Buffer> {
        if self.failed {
            return None;
        }
        let mut len = 0;
        // SAFETY: the stream lives as long as `self`; what the call answers is ours to free, and `len` bytes long.
        let bytes = unsafe { api!(RedisModule_LoadStringBuffer)(self.io, &mut len) };
        let buffer = NonNull::new(bytes.cast::<u8>()).map(|bytes| Buffer { bytes, len });
        let buffer = self.checked(buffer)?;
        self.failed |= buffer.is_none();
        buffer
    }

    /// The key that is being loaded, if the server knows it.
    pub fn key(&self) -> Option<Arg<'_>> {
        // SAFETY: the stream lives as long as `self`, and its key's name, which may be null, as long as the stream.
        unsafe {
            NonNull::new(api!(RedisModule_GetKeyNameFromIO)(self.io).cast_mut()).map(|raw| Arg::new(raw))
        }
    }

    /// The database that is being loaded; the server tells from 7.0 on.
    pub fn db(&self) -> Option<i32> {
        // SAFETY: the stream lives as long as `self`, and the call only reads it.
        optional!(RedisModule_GetDbIdFromIO).map(|db| unsafe { db(self.io) }).filter(|db| *db >= 0)
    }

    /// Logs what is wrong with the file, together with where it stands.
    pub fn log_error(&mut self, text: &str) {
        let text = line(text);
        // SAFETY: the stream lives as long as `self`; the format takes one C string, and gets one.
        unsafe { api!(RedisModule_LogIOError)(self.io, c"warning".as_ptr(), c"%s".as_ptr(), text.as_ptr()) }
    }

    fn checked<R>(&mut self, value: R) -> Option<R> {
        // SAFETY: the stream lives as long as `self`, and the call only reads it.
        self.failed = unsafe { api!(RedisModule_IsIOError)(self.io) != 0 };
        (!self.failed).then_some(value)
    }
}

/// Bytes that the server gave; its allocator gets them back.
pub struct Buffer {
    bytes: NonNull<u8>,
    len: usize,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the server gave so many bytes, which are ours alone until `self` is dropped.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the server's allocator gave the block, and this is the one place that frees it.
        unsafe { api!(RedisModule_Free)(self.bytes.as_ptr().cast()) }
    }
}

/// Writes commands to an AOF file or to a slot migration.
pub struct AofWriter<'a> {
    io: *mut RedisModuleIO,
    life: PhantomData<&'a mut RedisModuleIO>,
}

impl AofWriter<'_> {
    /// # Safety
    /// The stream lives as long as what is made.
    pub(super) unsafe fn new(io: *mut RedisModuleIO) -> Self {
        AofWriter { io, life: PhantomData }
    }

    /// Writes `cmd key part part` (each below 512 MB, the bound of a command's argument). False if it couldn't: the
    /// rest is wasted.
    pub fn emit(&mut self, cmd: &CStr, key: Arg<'_>, [a, b]: [&[u8]; 2]) -> bool {
        let (io, format) = (self.io, c"sbb".as_ptr());
        // SAFETY: the stream lives as long as `self`; "s" is a string, each "b" a pointer and a size, and all live through the call.
        unsafe {
            api!(RedisModule_EmitAOF)(
                io,
                cmd.as_ptr(),
                format,
                key.raw(),
                a.as_ptr(),
                a.len(),
                b.as_ptr(),
                b.len(),
            );
            api!(RedisModule_IsIOError)(io) == 0
        }
    }
}

/// Takes in what two equal values have in common. Elements of a sequence count in order; sequences don't.
pub struct Digest<'a> {
    md: *mut RedisModuleDigest,
    life: PhantomData<&'a mut RedisModuleDigest>,
}

impl Digest<'_> {
    /// # Safety
    /// The digest lives as long as what is made.
    pub(super) unsafe fn new(md: *mut RedisModuleDigest) -> Self {
        Digest { md, life: PhantomData }
    }

    /// Bytes of the sequence.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the digest lives as long as `self`; so many bytes are there, and are read during the call.
        unsafe {
            api!(RedisModule_DigestAddStringBuffer)(self.md, bytes.as_ptr().cast::<c_char>(), bytes.len())
        }
    }

    /// Ends the sequence.
    pub fn end_sequence(&mut self) {
        // SAFETY: the digest lives as long as `self`, and there is nothing else to the call.
        unsafe { api!(RedisModule_DigestEndSequence)(self.md) }
    }
}
