//! The numbers by which a queue's tables name tasks, workers and groups.

use serde::{Deserialize, Serialize};

/// The number of a task's push, drawn from the queue's one counter: it says where the task's record lies, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Order(pub u64);

impl Order {
    /// Numbers are stored in six bytes; no server lives to see the last.
    pub const MAX: Order = Order((1 << 48) - 1);

    /// The number after this one. A client's cursor may name any number, so it stops at the last.
    pub fn next(self) -> Order {
        Order(self.0.saturating_add(1))
    }

    /// The turn that comes with the number.
    pub fn rank(self) -> Rank {
        Rank(self.0)
    }
}

/// A task's turn among the ready ones of a priority: the number of its push, or one that was drawn later from the same
/// counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Rank(pub u64);

impl Rank {
    /// Before all others.
    pub const FIRST: Rank = Rank(0);

    /// The turn after this one. A client's cursor may name any number.
    pub fn next(self) -> Rank {
        Rank(self.0.saturating_add(1))
    }

    /// The task that has this turn, of those that were never touched.
    pub fn order(self) -> Order {
        Order(self.0)
    }
}

/// A worker's name, as its number in the queue's table of names; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct WorkerNumber(pub u32);

/// A group, as its number in the queue's table; 0 for tasks without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct GroupNumber(pub u32);

impl GroupNumber {
    /// Of a task without a group.
    pub const NONE: GroupNumber = GroupNumber(0);

    pub fn is_none(self) -> bool {
        self == GroupNumber::NONE
    }

    /// What a record holds; nothing for no group.
    pub fn stored(self) -> Option<u64> {
        (!self.is_none()).then_some(u64::from(self.0))
    }

    /// The number that a record holds; `None` for one that no group can have.
    pub fn from_stored(stored: u64) -> Option<GroupNumber> {
        u32::try_from(stored).ok().filter(|&number| number != 0).map(GroupNumber)
    }
}
