//! The server's strings, borrowed and owned.
//!
//! Both can be passed back to the server without a copy. They stay on the server's thread, because their reference counts
//! aren't atomic.

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use redis_module::RedisString;

use super::raw::{RedisModuleString, api};

/// A borrowed string of the server, such as an argument of a command or the name of a key.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Arg<'a> {
    raw: NonNull<RedisModuleString>,
    life: PhantomData<&'a RedisModuleString>,
}

impl<'a> Arg<'a> {
    /// # Safety
    /// The string lives, unchanged, for `'a`.
    pub(super) unsafe fn new(raw: NonNull<RedisModuleString>) -> Arg<'a> {
        Arg { raw, life: PhantomData }
    }

    /// The arguments of a command, without a copy.
    ///
    /// # Safety
    /// `argv` points to `argc` strings that live, unchanged, for `'a`.
    pub(super) unsafe fn slice(argv: *mut *mut RedisModuleString, argc: i32) -> &'a [Arg<'a>] {
        match usize::try_from(argc) {
            // SAFETY: `Arg` has the layout of the pointer, no argument is null, and the caller guarantees the rest.
            Ok(count) if count > 0 && !argv.is_null() => unsafe {
                std::slice::from_raw_parts(argv.cast::<Arg<'a>>(), count)
            },
            _ => &[],
        }
    }

    /// The bytes of the string. They can be any bytes.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the string lives, unchanged, for `'a` (`new`), and so do the bytes that the server returns with their number.
        unsafe {
            let bytes = api!(RedisModule_StringPtrLen)(self.raw.as_ptr(), &mut len);
            std::slice::from_raw_parts(bytes.cast::<u8>(), len)
        }
    }

    /// Keeps the string beyond `'a`, by another reference. A string on the server's stack is copied instead.
    pub fn hold(self) -> OwnedString {
        // SAFETY: the string lives. Without a context the reference is ours: the server doesn't release it at the end of the call.
        let raw = unsafe { api!(RedisModule_HoldString)(ptr::null_mut(), self.raw.as_ptr()) };
        OwnedString::from_raw(raw)
    }

    #[inline]
    pub(super) fn raw(self) -> *mut RedisModuleString {
        self.raw.as_ptr()
    }
}

impl AsRef<[u8]> for Arg<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A reference to a string of the server, which is released when this is dropped. It wraps the crate's `RedisString`, whose own
/// `clone` aborts the server for strings on its stack, and whose `Debug` shows addresses.
#[repr(transparent)]
pub struct OwnedString(RedisString);

impl OwnedString {
    /// Creates a string of these bytes.
    pub fn new(bytes: &[u8]) -> OwnedString {
        OwnedString(RedisString::create_from_slice(ptr::null_mut(), bytes))
    }

    /// Takes over a reference that no context manages.
    pub(super) fn from_raw(raw: *mut RedisModuleString) -> OwnedString {
        OwnedString(RedisString::from_redis_module_string(ptr::null_mut(), raw))
    }

    /// Borrows the string.
    #[inline]
    pub fn as_arg(&self) -> Arg<'_> {
        // The server aborts if an allocation fails, so it never returns null.
        let Some(raw) = NonNull::new(self.0.inner) else { std::process::abort() };
        // SAFETY: the string lives as long as our reference to it.
        unsafe { Arg::new(raw) }
    }
}

impl Clone for OwnedString {
    fn clone(&self) -> OwnedString {
        self.as_arg().hold()
    }
}

impl fmt::Debug for OwnedString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_arg().fmt(f)
    }
}

/// The text as a C string of one line. Control characters, including NUL and line ends, become blanks.
pub(super) fn line(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }).collect();
    CString::new(bytes).unwrap_or_default()
}
