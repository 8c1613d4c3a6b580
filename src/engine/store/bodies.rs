//! Payloads and headers that replaced what a push stored in the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::PAYLOAD_MAX_BYTES;
use crate::numbers::Order;
use crate::store::entry::Phase;
use crate::store::record::Record;
use crate::task::Options;

/// The payload and the headers that replace a record's.
#[derive(Debug, Clone)]
struct Body {
    payload: Box<[u8]>,
    headers: Box<[u8]>,
}

impl Body {
    fn bytes(&self) -> u64 {
        (self.payload.len() + self.headers.len()) as u64
    }
}

/// A body in its stored form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredBody {
    pub order: u64,
    pub payload: ByteBuf,
    pub headers: ByteBuf,
}

impl StoredBody {
    /// Bytes of the stored form, approximately.
    pub fn stored_bytes(&self) -> usize {
        self.payload.len() + self.headers.len() + 32
    }
}

/// Payloads and headers that replaced those of the push (UNIQUE … REPLACE).
///
/// Records are packed and cannot grow in place. A replacement is therefore stored here, under the task's order number,
/// until the task is removed. A queue without replacements pays for one check of an empty table.
///
/// Invariants: every body belongs to a living task that has a token, and `bytes` is the sum of all bodies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies {
    bodies: BTreeMap<Order, Body>,
    bytes: u64,
}

impl Bodies {
    /// How many tasks have a replaced body.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Bytes of all replaced payloads and headers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of one task's replaced body; 0 if it still has the one it was pushed with.
    pub fn bytes_of(&self, order: Order) -> u64 {
        self.bodies.get(&order).map_or(0, Body::bytes)
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        self.bytes as usize + self.bodies.len() * 90
    }

    /// The record with the current payload and headers: the replacement if there is one, otherwise unchanged.
    pub fn over<'a>(&'a self, order: Order, record: Record<'a>) -> Record<'a> {
        if self.bodies.is_empty() {
            return record;
        }
        let Some(body) = self.bodies.get(&order) else { return record };
        record.with_body(&body.payload, &body.headers)
    }

    /// Replaces a task's payload and headers. `headers` is encoded; empty means no headers.
    pub fn put(&mut self, order: Order, payload: &[u8], headers: &[u8]) {
        self.remove(order);
        let body = Body { payload: payload.into(), headers: headers.into() };
        self.bytes += body.bytes();
        self.bodies.insert(order, body);
    }

    /// Whether a task has a replaced body.
    pub fn has(&self, order: Order) -> bool {
        self.bodies.contains_key(&order)
    }

    /// The tasks with a replaced body.
    pub fn tasks(&self) -> impl Iterator<Item = Order> + '_ {
        self.bodies.keys().copied()
    }

    /// Whether `bytes` is correct. O(bodies), for `check`.
    pub fn are_counted(&self) -> bool {
        self.bytes == self.bodies.values().map(Body::bytes).sum::<u64>()
    }

    /// Drops the replaced body of a task that is being removed, if it has one.
    pub fn remove(&mut self, order: Order) {
        if let Some(body) = self.bodies.remove(&order) {
            self.bytes -= body.bytes();
        }
    }

    /// All bodies in their stored form.
    pub fn stored(&self) -> impl Iterator<Item = StoredBody> + '_ {
        self.bodies.iter().map(|(order, body)| {
            let (payload, headers) = (ByteBuf::from(&*body.payload), ByteBuf::from(&*body.headers));
            StoredBody { order: order.0, payload, headers }
        })
    }
}

/// Whether a task in this phase waits. Only a waiting task can get a new body.
pub(crate) fn is_waiting(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. })
}

/// Whether a body's sizes are within bounds.
pub(crate) fn is_valid_body(headers: &[u8], payload: &[u8]) -> bool {
    payload.len() <= PAYLOAD_MAX_BYTES && Options { headers, ..Options::default() }.are_valid()
}
