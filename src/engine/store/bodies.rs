//! Payloads and headers that took the place of what was pushed (UNIQUE … REPLACE).
//!
//! Records are packed and can't grow where they lie, so what is new stands here, by the task's number, until the task
//! is gone. A queue that replaces nothing pays for a look at an empty table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::event::Event;
use crate::mismatch::{Mismatch, ensure};
use crate::queue::Queue;
use crate::rules::decide::Refusal;
use crate::settings::Setting;
use crate::store::entry::{Order, Phase};
use crate::store::log::Place;
use crate::store::page::Record;
use crate::task::{Options, PAYLOAD_MAX_BYTES, TaskId};

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
    order: u64,
    payload: ByteBuf,
    headers: ByteBuf,
}

impl StoredBody {
    /// Bytes of the stored form, about.
    pub fn stored_bytes(&self) -> usize {
        self.payload.len() + self.headers.len() + 32
    }
}

/// See the head of the file.
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

    fn bytes_of(&self, order: Order) -> u64 {
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

    fn put(&mut self, order: Order, payload: &[u8], headers: &[u8]) {
        self.remove(order);
        let body = Body { payload: payload.into(), headers: headers.into() };
        self.bytes += body.bytes();
        self.bodies.insert(order, body);
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

impl Queue {
    /// Bytes of a task's record, and of the body that took the place of what is in it.
    pub(crate) fn task_bytes(&self, place: Place, order: Order) -> usize {
        self.log.record_len(place) + self.bodies.bytes_of(order) as usize
    }

    /// Puts another payload and other headers into a task that waits; `None` where it doesn't wait (any more).
    /// Errors: `FullBytes`.
    pub fn replace<'a>(
        &self,
        id: TaskId,
        headers: &'a [u8],
        payload: &'a [u8],
    ) -> Result<Option<Event<'a>>, Refusal> {
        let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));
        let Some(found) = found.filter(|found| found.record.options.unique.is_some()) else {
            return Ok(None);
        };
        let before = self.bodies.bytes_of(found.order);
        let added = (payload.len() + headers.len()) as u64;
        let others = self.record_bytes().saturating_sub(before + self.done_bytes());
        let bytes = others.saturating_add(added);
        if self.settings.limit(Setting::MaxBytes).is_some_and(|max| bytes > max) {
            return Err(Refusal::FullBytes);
        }
        Ok(Some(Event::Replaced { id, headers, payload }))
    }

    pub(crate) fn apply_replaced(
        &mut self,
        id: TaskId,
        headers: &[u8],
        payload: &[u8],
    ) -> Result<(), Mismatch> {
        let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));
        let found = found.ok_or(Mismatch("a task that waits"))?;
        ensure(found.record.options.unique.is_some(), "a task with a token")?;
        let order = found.order;
        ensure(are_valid(headers, payload), "a body's size")?;
        self.bodies.put(order, payload, headers);
        Ok(())
    }

    /// Adds a body that was stored.
    pub(crate) fn load_body(&mut self, stored: &StoredBody) -> Result<(), Mismatch> {
        let order = Order(stored.order);
        ensure(self.log.pages() == 0, "bodies before their tasks")?;
        ensure(are_valid(&stored.headers, &stored.payload), "a body's size")?;
        ensure(!self.bodies.bodies.contains_key(&order), "one body a task")?;
        self.bodies.put(order, &stored.payload, &stored.headers);
        Ok(())
    }

    /// Whether every body is a living task's, and all are counted.
    pub(crate) fn validate_bodies(&self) -> Result<(), Mismatch> {
        let bodies = &self.bodies.bodies;
        let record = |order| self.log.locate(order).and_then(|place| self.log.record(place));
        let has_token = |&order: &Order| record(order).is_some_and(|record| record.options.unique.is_some());
        ensure(bodies.keys().all(has_token), "bodies belong to tasks with a token")?;
        let bytes: u64 = bodies.values().map(Body::bytes).sum();
        ensure(bytes == self.bodies.bytes, "bytes of bodies are counted")
    }
}

fn is_waiting(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Delayed { .. })
}

fn are_valid(headers: &[u8], payload: &[u8]) -> bool {
    payload.len() <= PAYLOAD_MAX_BYTES && Options { headers, ..Options::default() }.are_valid()
}
