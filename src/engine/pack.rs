//! MessagePack encoding and decoding of the engine's own values.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

/// Encodes a value with its fields by position. This can't fail for our values, see [`encode_named`].
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap_or_default()
}

/// Encodes a value with field names. This can't fail for our values: they contain only numbers, bytes and names.
pub(crate) fn encode_named(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap_or_default()
}

/// Like [`encode_named`], into a buffer that is reused.
pub(crate) fn named_in<'a>(buffer: &'a mut Vec<u8>, value: &impl Serialize) -> &'a [u8] {
    buffer.clear();
    match rmp_serde::encode::write_named(buffer, value) {
        Ok(()) => buffer,
        Err(_) => &[],
    }
}

/// Decodes one value. `None` if it is damaged, or if bytes remain, which would otherwise be lost silently.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let value = rmp_serde::from_slice(bytes).ok()?;
    let mut whole = rmp_serde::Deserializer::new(Cursor::new(bytes));
    serde::de::IgnoredAny::deserialize(&mut whole).ok()?;
    (whole.position() == bytes.len() as u64).then_some(value)
}
