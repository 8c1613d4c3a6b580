//! Groups: the named lines of one queue that share its workers fairly.

/// A group, as its number in the queue's table; 0 for tasks without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct GroupNumber(pub u32);

impl GroupNumber {
    /// What a record holds; nothing for no group.
    pub fn stored(self) -> Option<u64> {
        (self.0 != 0).then_some(u64::from(self.0))
    }

    /// The number that a record holds; `None` for one that no group can have.
    pub fn from_stored(stored: u64) -> Option<GroupNumber> {
        u32::try_from(stored).ok().filter(|&number| number != 0).map(GroupNumber)
    }
}
