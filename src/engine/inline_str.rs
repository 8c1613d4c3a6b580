//! Short texts on the stack: the ids and handles that go out with every reply.

use std::ops::Deref;

/// The longest text: two numbers of 20 digits, a lease number of 20, a nonce of 8, and what stands between.
const BYTES: usize = 72;

/// A short text, written from its end to its beginning as digits come.
#[derive(Clone, Copy)]
pub struct InlineStr {
    bytes: [u8; BYTES],
    start: usize,
}

impl InlineStr {
    pub(crate) fn new() -> InlineStr {
        InlineStr { bytes: [0; BYTES], start: BYTES }
    }

    /// Puts one byte before what is there; a byte that doesn't fit is left out.
    pub(crate) fn byte(mut self, byte: u8) -> InlineStr {
        if let Some(place) = self.start.checked_sub(1).and_then(|at| self.bytes.get_mut(at)) {
            *place = byte;
            self.start -= 1;
        }
        self
    }

    /// Puts a number before what is there, in decimal.
    pub(crate) fn decimal(mut self, mut number: u64) -> InlineStr {
        loop {
            self = self.byte(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                return self;
            }
        }
    }

    /// Puts a number before what is there, as eight hexadecimal digits.
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
