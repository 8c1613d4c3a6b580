//! Bytes that only some tasks have, beside the log.

use std::collections::BTreeMap;

use crate::numbers::Order;

/// What the tree takes for each value beside its bytes, about.
const EACH_BYTES: usize = 48;

/// What workers say of tasks: what went wrong (error), how far they have come (progress), what came of it (result).
///
/// A table by the task's number at the push for each. Few tasks have any, so none lies with the record: a queue that
/// uses none pays nothing. The bytes of results and progress count for `max-bytes`.
///
/// `bytes` is the sum of what the values hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct SideTable {
    values: BTreeMap<Order, Box<[u8]>>,
    bytes: u64,
}

impl SideTable {
    /// How many tasks have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        self.bytes as usize + self.values.len() * EACH_BYTES
    }

    /// The value of a task.
    pub fn get(&self, order: Order) -> Option<&[u8]> {
        self.values.get(&order).map(|value| &**value)
    }

    /// Puts a value in place of the one before; false where there was none.
    pub fn set(&mut self, order: Order, value: &[u8]) -> bool {
        self.bytes += value.len() as u64;
        let before = self.values.insert(order, value.into());
        self.bytes -= before.as_ref().map_or(0, |before| before.len() as u64);
        before.is_some()
    }

    /// Forgets a task's value, if it has one.
    pub fn forget(&mut self, order: Order) {
        let before = if self.values.is_empty() { None } else { self.values.remove(&order) };
        self.bytes -= before.map_or(0, |before| before.len() as u64);
    }

    /// All values, in the order of tasks.
    pub fn iter(&self) -> impl Iterator<Item = (Order, &[u8])> + '_ {
        self.values.iter().map(|(&order, value)| (order, &**value))
    }

    /// Whether the bytes are counted right. O(values).
    pub fn is_counted(&self) -> bool {
        self.bytes == self.values.values().map(|value| value.len() as u64).sum::<u64>()
    }
}
