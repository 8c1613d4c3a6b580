//! Short strings on the stack, for the ids and handles in every reply.

use std::ops::Deref;

/// The longest string: two numbers and a lease number of 20 digits each, a nonce of 8, and three separators.
const BYTES: usize = 72;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A short ASCII string without an allocation.
#[derive(Clone, Copy)]
pub struct InlineStr {
    bytes: [u8; BYTES],
    length: usize,
}

impl InlineStr {
    pub(crate) fn new() -> InlineStr {
        InlineStr { bytes: [0; BYTES], length: 0 }
    }

    /// Appends a text. Does nothing if there is no room for it.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        if let Some(free) = self.bytes.get_mut(self.length..end) {
            free.copy_from_slice(text);
            self.length = end;
        }
    }

    /// Appends a number in decimal.
    #[inline]
    pub(crate) fn decimal(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends a number as eight hexadecimal digits.
    #[inline]
    pub(crate) fn hex(&mut self, number: u32) {
        self.text(&std::array::from_fn::<u8, 8, _>(|at| HEX[(number >> (28 - 4 * at) & 0xf) as usize]));
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self).unwrap_or_default()
    }
}

impl Deref for InlineStr {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Debug for InlineStr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}
