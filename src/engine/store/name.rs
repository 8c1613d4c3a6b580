//! Names of groups, stored inline when they are short.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// Bytes stored inline. A longer name needs as much room for its pointer, length and discriminant.
const SHORT_BYTES: usize = 22;

/// A group's name, inline if it is short.
///
/// A queue with a million groups stores each name twice. Inline names need no allocation to create, copy or free.
/// A name compares, sorts and derefs like the slice of its bytes.
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

// Equal to the order of slices, which lookups use.
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
