//! MessagePack of our own values, and back.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

/// Our own values always encode: they hold only numbers, bytes and names.
pub(crate) fn encode_named(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap_or_default()
}

/// [`encode_named`] into a buffer that is used again.
pub(crate) fn named_in<'a>(buffer: &'a mut Vec<u8>, value: &impl Serialize) -> &'a [u8] {
    buffer.clear();
    match rmp_serde::encode::write_named(buffer, value) {
        Ok(()) => buffer,
        Err(_) => &[],
    }
}

/// Reads one value; `None` where it is damaged or doesn't take all bytes, since what stands behind it would be lost
/// without a word.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let value = rmp_serde::from_slice(bytes).ok()?;
    let mut whole = rmp_serde::Deserializer::new(Cursor::new(bytes));
    serde::de::IgnoredAny::deserialize(&mut whole).ok()?;
    (whole.position() == bytes.len() as u64).then_some(value)
}
