//! The server's strings: an argument as it is borrowed, and a string that is held.
//!
//! Both can be handed on to the server without a copy. They stay on the server's thread: their counts of references
//! aren't atomic.

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::raw::{self, api};

/// A string of the server's, borrowed for `'a`: an argument of a command, the name of a key.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Arg<'a> {
    raw: NonNull<raw::Str>,
    life: PhantomData<&'a raw::Str>,
}

impl<'a> Arg<'a> {
    /// # Safety
    /// The string lives, unchanged, for `'a`.
    pub(super) unsafe fn new(raw: NonNull<raw::Str>) -> Arg<'a> {
        Arg { raw, life: PhantomData }
    }

    /// The arguments of a command, as they lie: no copy.
    ///
    /// # Safety
    /// `argv` points to `argc` strings that live, unchanged, for `'a`.
    pub(super) unsafe fn slice(argv: *mut *mut raw::Str, argc: i32) -> &'a [Arg<'a>] {
        match usize::try_from(argc) {
            // SAFETY: `Arg` has the layout of the pointer, no argument is null, and the caller vouches for the rest.
            Ok(count) if count > 0 && !argv.is_null() => unsafe {
                std::slice::from_raw_parts(argv.cast::<Arg<'a>>(), count)
            },
            _ => &[],
        }
    }

    /// The bytes, which may be any.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the string lives for `'a`, and so do its bytes, which nothing changes meanwhile.
        unsafe {
            let bytes = (api().string_ptr_len)(self.raw.as_ptr(), &mut len);
            std::slice::from_raw_parts(bytes.cast::<u8>(), len)
        }
    }

    /// Holds the string beyond `'a`: one more reference, or a copy of the few that lie on the server's stack.
    pub fn hold(self) -> OwnedString {
        // SAFETY: the string lives. Without a context nothing else gives the reference back.
        let raw = unsafe { (api().hold_string)(ptr::null_mut(), self.raw.as_ptr()) };
        OwnedString::from_raw(raw)
    }

    #[inline]
    pub(super) fn raw(self) -> *mut raw::Str {
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

/// A reference to a string of the server's, given back when dropped.
pub struct OwnedString {
    raw: NonNull<raw::Str>,
}

impl OwnedString {
    /// A new string of these bytes.
    pub fn new(bytes: &[u8]) -> OwnedString {
        // SAFETY: the bytes are copied. Without a context the string is ours alone.
        let raw = unsafe { (api().create_string)(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len()) };
        OwnedString::from_raw(raw)
    }

    pub(super) fn from_raw(raw: *mut raw::Str) -> OwnedString {
        match NonNull::new(raw) {
            Some(raw) => OwnedString { raw },
            // The server ends itself when it is out of memory, so it never answers null.
            None => std::process::abort(),
        }
    }

    /// The string as one borrows it.
    #[inline]
    pub fn as_arg(&self) -> Arg<'_> {
        // SAFETY: the string lives as long as our reference to it.
        unsafe { Arg::new(self.raw) }
    }
}

impl Clone for OwnedString {
    fn clone(&self) -> OwnedString {
        self.as_arg().hold()
    }
}

impl Drop for OwnedString {
    fn drop(&mut self) {
        // SAFETY: gives our one reference back.
        unsafe { (api().free_string)(ptr::null_mut(), self.raw.as_ptr()) }
    }
}

impl fmt::Debug for OwnedString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_arg().fmt(f)
    }
}

/// The text as one line for C: control characters, NUL and line ends among them, become blanks.
pub(super) fn line(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }).collect();
    CString::new(bytes).unwrap_or_default()
}
