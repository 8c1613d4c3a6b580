//! What a worker said at a task's last failure, with the bytes of all of it counted.

use std::collections::BTreeMap;
use std::collections::btree_map::{Iter, Keys};

use crate::entry::Order;

/// Bytes of a text beside its own, about.
const BESIDE: usize = 48;

/// The texts, by task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    texts: BTreeMap<Order, Box<[u8]>>,
    bytes: usize,
}

impl Failures {
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn get(&self, order: &Order) -> Option<&[u8]> {
        self.texts.get(order).map(|text| &**text)
    }

    /// Puts a text in the place of any other of this task, which is returned.
    pub fn insert(&mut self, order: Order, text: Box<[u8]>) -> Option<Box<[u8]>> {
        self.bytes += text.len();
        let before = self.texts.insert(order, text);
        self.bytes -= before.as_ref().map_or(0, |text| text.len());
        before
    }

    pub fn remove(&mut self, order: &Order) -> Option<Box<[u8]>> {
        if self.texts.is_empty() {
            return None;
        }
        let text = self.texts.remove(order);
        self.bytes -= text.as_ref().map_or(0, |text| text.len());
        text
    }

    pub fn keys(&self) -> Keys<'_, Order, Box<[u8]>> {
        self.texts.keys()
    }

    pub fn iter(&self) -> Iter<'_, Order, Box<[u8]>> {
        self.texts.iter()
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        self.bytes + self.texts.len() * BESIDE
    }

    /// Whether the bytes are those of the texts.
    pub fn is_counted(&self) -> bool {
        self.bytes == self.texts.values().map(|text| text.len()).sum::<usize>()
    }
}
