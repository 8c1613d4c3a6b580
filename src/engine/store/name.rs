//! A group's name.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// Bytes that fit in place: such a name is as large as one that doesn't, which is a pointer, a length and a mark.
const SHORT_BYTES: usize = 22;

/// A group's name, in place if it is short: a queue with a million groups holds each twice, and makes, copies and frees
/// no block for most of them.
///
/// It is the slice of its bytes in all that is asked of it.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    Short(u8, [u8; SHORT_BYTES]),
    Long(Box<[u8]>),
}

impl Name {
    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        match self {
            Name::Short(..) => 0,
            Name::Long(bytes) => bytes.len(),
        }
    }
}

impl Default for Name {
    fn default() -> Name {
        Name::Short(0, [0; SHORT_BYTES])
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Name {
        let mut bytes = [0; SHORT_BYTES];
        match bytes.get_mut(..name.len()) {
            Some(start) => {
                start.copy_from_slice(name);
                Name::Short(name.len() as u8, bytes)
            }
            None => Name::Long(name.into()),
        }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Name::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Name::Long(bytes) => bytes,
        }
    }
}

// As the order of slices, by which they are looked up.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Name {}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        **self == **other
    }
}
