//! Short strings on the stack, for the ids and handles in every reply.

use std::ops::Deref;

/// The longest string: two numbers and a lease number of 20 digits each, a nonce of 8, and three separators.
const BYTES: usize = 72;

/// A short ASCII string without an allocation. It is built from its end to its beginning, the order in which the digits
/// of a number are computed.
#[derive(Clone, Copy)]
pub struct InlineStr {
    bytes: [u8; BYTES],
    start: usize,
}

impl InlineStr {
    pub(crate) fn new() -> InlineStr {
        InlineStr { bytes: [0; BYTES], start: BYTES }
    }

    /// Prepends one byte. Does nothing if the string is full.
    pub(crate) fn byte(mut self, byte: u8) -> InlineStr {
        if let Some(free) = self.start.checked_sub(1).and_then(|at| self.bytes.get_mut(at)) {
            *free = byte;
            self.start -= 1;
        }
        self
    }

    /// Prepends a number in decimal.
    pub(crate) fn decimal(mut self, mut number: u64) -> InlineStr {
        loop {
            self = self.byte(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                return self;
            }
        }
    }

    /// Prepends a number as eight hexadecimal digits.
    pub(crate) fn hex(self, number: u32) -> InlineStr {
        (0..8).fold(self, |text, nibble| {
            let digit = (number >> (4 * nibble) & 0xf) as u8;
            text.byte(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 })
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self).unwrap_or_default()
    }
}

impl Deref for InlineStr {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl std::fmt::Debug for InlineStr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}
