//! What replaced parts of the records in the log: payloads, headers, priorities, groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::PAYLOAD_MAX_BYTES;
use crate::numbers::{GroupNumber, Order};
use crate::store::edit::Edit;
use crate::store::entry::Phase;
use crate::store::record::Record;
use crate::task::Options;

/// An edit in its stored form. Before version 4 it always had a payload and headers, and nothing else.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredEdit {
    pub order: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<ByteBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<ByteBuf>,
    /// The priority and the group's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<(i8, GroupNumber)>,
}

impl StoredEdit {
    /// Bytes of the stored form, approximately.
    pub fn stored_bytes(&self) -> usize {
        let part = |part: &Option<ByteBuf>| part.as_ref().map_or(0, |part| part.len());
        part(&self.payload) + part(&self.headers) + 32
    }
}

/// What replaced parts of tasks' records (SET, UNIQUE … REPLACE).
///
/// Records are packed and cannot grow in place. A change is therefore stored here, under the task's order number, until
/// the task is removed. A queue without changes pays for one check of an empty table.
///
/// Invariants: every edit belongs to a living task and replaces something, and `bytes` is the sum of all payloads and
/// headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edits {
    edits: BTreeMap<Order, Edit>,
    bytes: u64,
}

impl Edits {
    /// How many tasks were edited.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// Bytes of all replaced payloads and headers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of one task's replaced payload and headers; 0 if it still has those it was pushed with.
    pub fn bytes_of(&self, order: Order) -> u64 {
        self.edits.get(&order).map_or(0, Edit::bytes)
    }

    /// How many bytes it adds to give a task this payload and these headers, minus those that it releases here.
    pub fn growth(&self, order: Order, payload: Option<&[u8]>, headers: Option<&[u8]>) -> i64 {
        let edit = self.edits.get(&order);
        let before = |part: fn(&Edit) -> &Option<Box<[u8]>>| {
            edit.and_then(|edit| part(edit).as_ref()).map_or(0, |part| part.len() as i64)
        };
        let payload = payload.map_or(0, |payload| payload.len() as i64 - before(|edit| &edit.payload));
        payload + headers.map_or(0, |headers| headers.len() as i64 - before(|edit| &edit.headers))
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        self.bytes as usize + self.edits.len() * 96
    }

    /// The record as it is now.
    pub fn over<'a>(&'a self, order: Order, record: Record<'a>) -> Record<'a> {
        if self.edits.is_empty() {
            return record;
        }
        let Some(edit) = self.edits.get(&order) else { return record };
        record.edited(edit)
    }

    /// Changes a task's edit, which begins with nothing.
    fn change(&mut self, order: Order, change: impl FnOnce(&mut Edit)) {
        let edit = self.edits.entry(order).or_default();
        let before = edit.bytes();
        change(edit);
        self.bytes = self.bytes - before + edit.bytes();
    }

    /// Replaces a task's payload and its headers, each if it is given. `headers` is encoded; empty means no headers.
    pub fn put_body(&mut self, order: Order, payload: Option<&[u8]>, headers: Option<&[u8]>) {
        if payload.is_none() && headers.is_none() {
            return;
        }
        self.change(order, |edit| {
            payload.into_iter().for_each(|payload| edit.payload = Some(payload.into()));
            headers.into_iter().for_each(|headers| edit.headers = Some(headers.into()));
        });
    }

    /// Replaces a task's priority and group.
    pub fn put_lane(&mut self, order: Order, priority: i8, group: GroupNumber) {
        self.change(order, |edit| edit.lane = Some((priority, group)));
    }

    /// Adds an edit that was stored. Returns false if the task has one already, or if it replaces nothing.
    pub fn load(&mut self, stored: &StoredEdit) -> bool {
        let part = |part: &Option<ByteBuf>| part.as_ref().map(|part| part.as_slice().into());
        let edit = Edit { payload: part(&stored.payload), headers: part(&stored.headers), lane: stored.lane };
        let order = Order(stored.order);
        let is_new = !edit.is_empty() && !self.edits.contains_key(&order);
        if is_new {
            self.change(order, |empty| *empty = edit);
        }
        is_new
    }

    /// The tasks that were edited.
    pub fn tasks(&self) -> impl Iterator<Item = Order> + '_ {
        self.edits.keys().copied()
    }

    /// Whether `bytes` is correct, and each edit replaces something. O(edits), for `check`.
    pub fn are_valid(&self) -> bool {
        self.bytes == self.edits.values().map(Edit::bytes).sum::<u64>()
            && self.edits.values().all(|edit| !edit.is_empty())
    }

    /// Drops the edit of a task that is being removed, if it has one.
    pub fn remove(&mut self, order: Order) {
        if let Some(edit) = self.edits.remove(&order) {
            self.bytes -= edit.bytes();
        }
    }

    /// All edits in their stored form.
    pub fn stored(&self) -> impl Iterator<Item = StoredEdit> + '_ {
        let part = |part: &Option<Box<[u8]>>| part.as_ref().map(|part| ByteBuf::from(&**part));
        self.edits.iter().map(move |(order, edit)| StoredEdit {
            order: order.0,
            payload: part(&edit.payload),
            headers: part(&edit.headers),
            lane: edit.lane,
        })
    }
}

/// Whether a task in this phase waits. Only a waiting task can be changed.
pub(crate) fn is_waiting(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. })
}

/// Whether a body's sizes are within bounds.
pub(crate) fn is_valid_body(headers: &[u8], payload: &[u8]) -> bool {
    payload.len() <= PAYLOAD_MAX_BYTES && Options { headers, ..Options::default() }.are_valid()
}
