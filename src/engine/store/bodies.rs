//! Payloads and headers that took the place of what was pushed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::PAYLOAD_MAX_BYTES;
use crate::numbers::Order;
use crate::store::entry::Phase;
use crate::store::record::Record;
use crate::task::Options;

/// What stands in for what was pushed.
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

/// A body as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredBody {
    pub order: u64,
    pub payload: ByteBuf,
    pub headers: ByteBuf,
}

impl StoredBody {
    /// Bytes of the stored form, about.
    pub fn stored_bytes(&self) -> usize {
        self.payload.len() + self.headers.len() + 32
    }
}

/// Payloads and headers that took the place of what was pushed (UNIQUE … REPLACE).
///
/// Records are packed and can't grow where they lie, so what is new stands here, by the task's number, until the task
/// is gone. A queue that replaces nothing pays for a look at an empty table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies {
    bodies: BTreeMap<Order, Body>,
    bytes: u64,
}

impl Bodies {
    /// How many tasks have another body than the one they were pushed with.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Bytes of payloads and headers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn bytes_of(&self, order: Order) -> u64 {
        self.bodies.get(&order).map_or(0, Body::bytes)
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        self.bytes as usize + self.bodies.len() * 90
    }

    /// The record as it is to be read now.
    pub fn over<'a>(&'a self, order: Order, record: Record<'a>) -> Record<'a> {
        if self.bodies.is_empty() {
            return record;
        }
        let Some(body) = self.bodies.get(&order) else { return record };
        let options = Options { headers: &body.headers, ..record.options };
        Record { options, payload: &body.payload, ..record }
    }

    pub fn put(&mut self, order: Order, payload: &[u8], headers: &[u8]) {
        self.remove(order);
        let body = Body { payload: payload.into(), headers: headers.into() };
        self.bytes += body.bytes();
        self.bodies.insert(order, body);
    }

    /// Whether a task has another body.
    pub fn has(&self, order: Order) -> bool {
        self.bodies.contains_key(&order)
    }

    /// The tasks that have another body.
    pub fn tasks(&self) -> impl Iterator<Item = Order> + '_ {
        self.bodies.keys().copied()
    }

    /// Whether the bytes are counted right. O(bodies).
    pub fn are_counted(&self) -> bool {
        self.bytes == self.bodies.values().map(Body::bytes).sum::<u64>()
    }

    /// Forgets the body of a task that is gone.
    pub fn remove(&mut self, order: Order) {
        if let Some(body) = self.bodies.remove(&order) {
            self.bytes -= body.bytes();
        }
    }

    /// All of them, as they are stored.
    pub fn stored(&self) -> impl Iterator<Item = StoredBody> + '_ {
        self.bodies.iter().map(|(order, body)| {
            let (payload, headers) = (ByteBuf::from(&*body.payload), ByteBuf::from(&*body.headers));
            StoredBody { order: order.0, payload, headers }
        })
    }
}

/// Whether a task that is so may get another body.
pub(crate) fn is_waiting(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Delayed { .. })
}

/// Whether a body's sizes are within their bounds.
pub(crate) fn is_valid_body(headers: &[u8], payload: &[u8]) -> bool {
    payload.len() <= PAYLOAD_MAX_BYTES && Options { headers, ..Options::default() }.are_valid()
}
