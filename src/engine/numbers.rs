//! The numbers that a queue's tables use for tasks, ranks, workers, groups and batches.

use serde::{Deserialize, Serialize};

/// The order number of a task, drawn at its push from the queue's only counter. It locates the task's record for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Order(pub u64);

impl Order {
    /// Numbers are stored in six bytes. No server runs long enough to reach the last one.
    pub const MAX: Order = Order((1 << 48) - 1);

    /// The number after this one, up to the largest: a client's cursor can contain any number.
    pub fn next(self) -> Order {
        Order(self.0.saturating_add(1))
    }

    /// The rank of a task that was never touched.
    pub fn rank(self) -> Rank {
        Rank(self.0)
    }
}

/// A task's position among the ready tasks of its lane: its order number, or a later number from the same counter if it
/// went to the back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Rank(pub u64);

impl Rank {
    /// Before all others.
    pub const FIRST: Rank = Rank(0);

    /// The rank after this one, up to the largest: a client's cursor can contain any number.
    pub fn next(self) -> Rank {
        Rank(self.0.saturating_add(1))
    }

    /// The order number of the task with this rank, if it was never touched.
    pub fn order(self) -> Order {
        Order(self.0)
    }
}

/// A worker's name, as its number in the queue's table of names; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct WorkerNumber(pub u32);

/// A group, as its number in the queue's table; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct GroupNumber(pub u32);

impl GroupNumber {
    /// The number of tasks without a group.
    pub const NONE: GroupNumber = GroupNumber(0);

    pub fn is_none(self) -> bool {
        self == GroupNumber::NONE
    }

    /// The number as a record stores it; `None` for no group.
    pub fn stored(self) -> Option<u64> {
        (!self.is_none()).then_some(u64::from(self.0))
    }

    /// Reads the number that a record stores; `None` if no group can have it.
    pub fn from_stored(stored: u64) -> Option<GroupNumber> {
        u32::try_from(stored).ok().filter(|&number| number != 0).map(GroupNumber)
    }
}

/// A batch, as its number in the queue; 0 means none. Numbers ascend and are never given again, so a task can keep the
/// number of a batch that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BatchNumber(pub u64);

impl BatchNumber {
    /// The number of tasks without a batch.
    pub const NONE: BatchNumber = BatchNumber(0);
    /// The largest number. No server runs long enough to reach it.
    pub const MAX: BatchNumber = BatchNumber((1 << 48) - 1);

    pub fn is_none(self) -> bool {
        self == BatchNumber::NONE
    }
}
