//! The streams that values are written to and read from: RDB files, AOF files and digests.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;

use super::raw::{RedisModuleDigest, RedisModuleIO, api, optional};
use super::string::{Arg, line};

/// The longest string that a server tries to parse as a number when it saves it.
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

    /// Writes bytes and their number.
    pub fn save_bytes(&mut self, bytes: &[u8]) {
        // Redis 6.2 tries to parse a string of up to 11 bytes as a number, and reads until a NUL. So one has to follow.
        let mut short = [0; INTEGER_BYTES + 1];
        let text = match short.get_mut(..bytes.len()) {
            Some(start) if bytes.len() <= INTEGER_BYTES => {
                start.copy_from_slice(bytes);
                short.as_ptr()
            }
            _ => bytes.as_ptr(),
        };
        // SAFETY: the stream lives as long as `self`; the slice has that many bytes, which are read during the call; a NUL follows
        // where it is looked for.
        unsafe { api!(RedisModule_SaveStringBuffer)(self.io, text.cast(), bytes.len()) }
    }
}

/// Reads a value from an RDB file. After the first failure, all reads fail.
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

    /// Whether a read has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads bytes, as many as the file says. `None` if the file ends before.
    pub fn load_bytes(&mut self) -> Option<Buffer> {
        if self.failed {
            return None;
        }
        let mut len = 0;
        // SAFETY: the stream lives as long as `self`; the block that the call returns is ours to free, and `len` bytes long.
        let bytes = unsafe { api!(RedisModule_LoadStringBuffer)(self.io, &mut len) };
        let buffer = NonNull::new(bytes.cast::<u8>()).map(|bytes| Buffer { bytes, len });
        let buffer = self.checked(buffer)?;
        self.failed |= buffer.is_none();
        buffer
    }

    /// The key that is being loaded, if the server provides it.
    pub fn key(&self) -> Option<Arg<'_>> {
        // SAFETY: the stream lives as long as `self`, and its key's name, which may be null, as long as the stream.
        unsafe {
            NonNull::new(api!(RedisModule_GetKeyNameFromIO)(self.io).cast_mut()).map(|raw| Arg::new(raw))
        }
    }

    /// The database that is being loaded; `None` before 7.0.
    pub fn db(&self) -> Option<i32> {
        // SAFETY: the stream lives as long as `self`, and the call only reads it.
        optional!(RedisModule_GetDbIdFromIO).map(|db| unsafe { db(self.io) }).filter(|db| *db >= 0)
    }

    /// Logs what is wrong with the file. The server adds the position in it.
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

/// Bytes in a block of the server's allocator, which is freed when this is dropped.
pub struct Buffer {
    bytes: NonNull<u8>,
    len: usize,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the server gave `len` bytes, which are ours alone until `self` is dropped.
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

    /// Writes `cmd key part part`. Each part must be below 512 MB, the limit of an argument. Returns false if the write failed;
    /// then later writes are useless.
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

/// Computes the digest of a value. The order of elements in a sequence matters, the order of sequences doesn't.
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

    /// Adds bytes to the sequence.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the digest lives as long as `self`; the slice has that many bytes, which are read during the call.
        unsafe {
            api!(RedisModule_DigestAddStringBuffer)(self.md, bytes.as_ptr().cast::<c_char>(), bytes.len())
        }
    }

    /// Ends the sequence.
    pub fn end_sequence(&mut self) {
        // SAFETY: the digest lives as long as `self`, and the call has no other requirements.
        unsafe { api!(RedisModule_DigestEndSequence)(self.md) }
    }
}
