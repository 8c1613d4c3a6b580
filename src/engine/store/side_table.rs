//! Values that only some tasks have, stored beside the log.

use std::collections::BTreeMap;

use crate::numbers::Order;

/// What the tree takes for each value besides its bytes, approximately.
const EACH_BYTES: usize = 48;

/// Values that attempts leave with tasks: errors, how far a task has got, the result of a done task, and the last attempt
/// on a dead or done one.
///
/// A queue has one table for each of the four, keyed by the task's order number. Few tasks have a value, so it is not
/// part of the record: a queue that uses none pays nothing. The bytes of results and progress count towards
/// `max-bytes`.
///
/// Invariant: `bytes` is the sum of the lengths of all values.
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

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        self.bytes as usize + self.values.len() * EACH_BYTES
    }

    /// The value of a task; `None` if it has none.
    pub fn get(&self, order: Order) -> Option<&[u8]> {
        self.values.get(&order).map(|value| &**value)
    }

    /// Sets a task's value. Returns whether it replaced one.
    pub fn set(&mut self, order: Order, value: impl Into<Box<[u8]>>) -> bool {
        let value = value.into();
        self.bytes += value.len() as u64;
        let before = self.values.insert(order, value);
        self.bytes -= before.as_ref().map_or(0, |before| before.len() as u64);
        before.is_some()
    }

    /// Removes a task's value, if it has one.
    #[inline]
    pub fn forget(&mut self, order: Order) {
        if !self.values.is_empty() {
            self.bytes -= self.values.remove(&order).map_or(0, |before| before.len() as u64);
        }
    }

    /// All values, ordered by task.
    pub fn iter(&self) -> impl Iterator<Item = (Order, &[u8])> + '_ {
        self.values.iter().map(|(&order, value)| (order, &**value))
    }

    /// Whether `bytes` is correct. O(values), for `check`.
    pub fn is_counted(&self) -> bool {
        self.bytes == self.values.values().map(|value| value.len() as u64).sum::<u64>()
    }
}
