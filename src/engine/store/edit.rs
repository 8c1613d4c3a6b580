//! What of a task's record has changed since its push.

use crate::numbers::GroupNumber;

/// What replaces parts of a task's record. Each part that is `None` is still that of the push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    pub payload: Option<Box<[u8]>>,
    /// Encoded; empty if the task has no headers any more.
    pub headers: Option<Box<[u8]>>,
    /// The priority and the group. Once set, the group in the record means nothing: its number may be another group's.
    pub lane: Option<(i8, GroupNumber)>,
}

impl Edit {
    /// Bytes of the payload and the headers.
    pub fn bytes(&self) -> u64 {
        (len(&self.payload) + len(&self.headers)) as u64
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        *self == Edit::default()
    }
}

fn len(part: &Option<Box<[u8]>>) -> usize {
    part.as_ref().map_or(0, |part| part.len())
}
