//! Unsigned integers in as few bytes as they need (LEB128: seven bits per byte, the lowest first).

/// Appends `value`.
pub(crate) fn put(out: &mut impl Extend<u8>, mut value: u64) {
    while value >= 0x80 {
        out.extend([(value as u8 & 0x7f) | 0x80]);
        value >>= 7;
    }
    out.extend([value as u8]);
}

/// The number of bytes that [`put`] would append.
pub(crate) fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes a number off the front of `bytes`; `None` if they end too early or it doesn't fit in 64 bits.
#[inline]
pub(crate) fn get(bytes: &mut &[u8]) -> Option<u64> {
    // Most numbers are small.
    if let [number @ ..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(u64::from(*number));
    }
    let mut rest = bytes.iter();
    let value = get_from(&mut rest)?;
    *bytes = rest.as_slice();
    Some(value)
}

/// Like [`get`], from any source of bytes.
pub(crate) fn get_from<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.next()?;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes a length and that many bytes off the front; `None` if they end too early.
pub(crate) fn get_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(get(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}
