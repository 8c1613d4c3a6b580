//! A page of the log: the records and entries of up to 256 tasks.

use std::collections::VecDeque;

use taskslot_edges::{edge, rare};

use crate::bounds::PAYLOAD_MAX_BYTES;
use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::store::entry::{Entry, PACKED_BYTES, Packed};
use crate::store::record::{NewRecord, Record, put_record, read_head, read_record};
use crate::task::TaskId;
use crate::time::Millis;
use crate::varint;

/// Bytes of records in a page. A larger record has a page of its own.
pub(crate) const PAGE_BYTES: usize = edge(16_384, 512);
/// The first page of a queue starts this small and doubles. Each later one has room for as much as the one before.
const FIRST_BYTES: usize = edge(256, 32);
/// Slots in a page: a slot fits in one byte, and the work of scanning a page is bounded.
pub(crate) const PAGE_SLOTS: u64 = edge(256, 12);
/// The most slots and the most bytes before the last record of a page that a file or a peer sent.
const STORED_SLOTS: u64 = 256;
const STORED_BYTES: usize = 16_384;
/// The offset of a slot without a record.
const VACANT: u16 = u16::MAX;

/// The records of a few dozen tasks, one after the other, and an entry for each of them that was touched.
///
/// A slot is an order number counted from the page's first. `slots` says where the task's record begins, or that there
/// is none (any more).
///
/// Invariants: ids and slots grow together; entries are sorted by slot, and each belongs to a slot with a record; no
/// lease in the page ends before `bound`.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    first: Order,
    base: TaskId,
    bytes: Vec<u8>,
    slots: Vec<u16>,
    entries: VecDeque<Packed>,
    live: u16,
    dead_bytes: u32,
    /// At or before the first deadline in this page; `None` if it has no lease.
    pub bound: Option<Millis>,
}

impl Page {
    /// An empty page that begins with the task `id` at `first`, with room for a record of this length.
    pub fn new(first: Order, id: TaskId, record_bytes: usize) -> Page {
        Page::with_room(first, id, record_bytes.max(FIRST_BYTES), 0)
    }

    /// The page after this one. It will probably become as large, so it needn't grow step by step.
    pub fn next(&self, first: Order, id: TaskId, record_bytes: usize) -> Page {
        let bytes = self.bytes.len().min(PAGE_BYTES).max(record_bytes).max(FIRST_BYTES);
        Page::with_room(first, id, bytes, self.slots.len())
    }

    fn with_room(first: Order, id: TaskId, bytes: usize, slots: usize) -> Page {
        Page {
            first,
            base: id,
            bytes: Vec::with_capacity(bytes),
            slots: Vec::with_capacity(slots),
            entries: VecDeque::new(),
            live: 0,
            dead_bytes: 0,
            bound: None,
        }
    }

    /// Empties a page whose last task was removed, and keeps its memory.
    pub fn reuse(&mut self, first: Order, id: TaskId) {
        self.first = first;
        self.base = id;
        self.bytes.clear();
        self.slots.clear();
        self.entries.clear();
        self.dead_bytes = 0;
        self.bound = None;
    }

    /// The order number of the first slot.
    pub fn first(&self) -> Order {
        self.first
    }

    /// The id of the first record pushed here. No id in this page is smaller.
    pub fn base(&self) -> TaskId {
        self.base
    }

    /// How many tasks are in the page.
    pub fn live(&self) -> u16 {
        self.live
    }

    /// How many slots there are, with or without a record.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the records that still belong to a task.
    pub fn live_bytes(&self) -> usize {
        self.bytes.len() - self.dead_bytes as usize
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.slots.capacity() * size_of::<u16>()
            + self.entries.capacity() * PACKED_BYTES
    }

    /// Whether a record of this length fits as the task `order`.
    pub fn has_room(&self, order: Order, record_bytes: usize) -> bool {
        self.bytes.len() + record_bytes <= PAGE_BYTES && order.0 - self.first.0 < PAGE_SLOTS
    }

    /// Appends a record. The page must be new or have room: see [`Page::has_room`].
    pub fn push(&mut self, order: Order, record: &NewRecord) {
        let slot = (order.0 - self.first.0) as usize;
        debug_assert!(slot >= self.slots.len() && record.id >= self.base, "numbers and ids grow");
        self.slots.resize(slot, VACANT);
        self.slots.push(self.bytes.len() as u16);
        put_record(&mut self.bytes, self.base, record);
        self.live += 1;
    }

    /// Releases memory that a page needs only while it grows.
    pub fn seal(&mut self) {
        self.bytes.shrink_to_fit();
        self.slots.shrink_to_fit();
        self.compact();
    }

    /// The order number of a slot.
    pub fn order(&self, slot: usize) -> Order {
        Order(self.first.0 + slot as u64)
    }

    /// The slot of an order number; `None` if its task is not here (any more).
    pub fn slot(&self, order: Order) -> Option<usize> {
        let slot = usize::try_from(order.0.checked_sub(self.first.0)?).ok()?;
        self.is_live(slot).then_some(slot)
    }

    /// Whether the slot holds a task.
    pub fn is_live(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|&offset| offset != VACANT)
    }

    /// Whether the slot holds a task that was never touched, so it is ready for the first time.
    pub fn is_fresh(&self, slot: usize) -> bool {
        self.is_live(slot) && self.entry_index(slot).is_err()
    }

    /// The slot of the task `id`; `None` if it is not here.
    pub fn find(&self, id: TaskId) -> Option<usize> {
        let (mut low, mut high) = (0, self.slots.len());
        while low < high {
            let middle = (low + high) / 2;
            let Some(slot) = (middle..high).find(|&slot| self.is_live(slot)) else {
                rare!("the rest of a page has no task");
                high = middle;
                continue;
            };
            match self.id(slot)?.cmp(&id) {
                std::cmp::Ordering::Equal => return Some(slot),
                std::cmp::Ordering::Less => low = slot + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The id of the task in the slot.
    #[inline(always)]
    pub fn id(&self, slot: usize) -> Option<TaskId> {
        let mut rest = self.record_bytes(slot)?;
        read_head(&mut rest, self.base).map(|(_, id)| id)
    }

    /// The record of the task in the slot.
    #[inline(always)]
    pub fn record(&self, slot: usize) -> Option<Record<'_>> {
        read_record(&mut self.record_bytes(slot)?, self.base)
    }

    /// The bytes from the record of a slot to the end of the page.
    fn record_bytes(&self, slot: usize) -> Option<&[u8]> {
        let offset = *self.slots.get(slot)?;
        if offset == VACANT { None } else { self.bytes.get(usize::from(offset)..) }
    }

    /// Removes the task in the slot and its entry. Returns the length of its record.
    pub fn vacate(&mut self, slot: usize) -> usize {
        let bytes = self.record_len(slot);
        debug_assert!(bytes <= self.live_bytes(), "bytes are counted");
        let Some(offset) = self.slots.get_mut(slot).filter(|offset| **offset != VACANT) else { return 0 };
        *offset = VACANT;
        if let Ok(index) = self.entry_index(slot) {
            self.entries.remove(index);
        }
        self.live -= 1;
        self.dead_bytes += bytes as u32;
        bytes
    }

    /// Bytes of the record in the slot; 0 if it is vacant.
    pub fn record_len(&self, slot: usize) -> usize {
        let Some(bytes) = self.record_bytes(slot) else { return 0 };
        let mut rest = bytes;
        read_record(&mut rest, self.base);
        bytes.len() - rest.len()
    }

    /// Rewrites a page when three quarters of its bytes are unused, so that a few old tasks don't occupy much memory.
    pub fn compact(&mut self) {
        if self.live == 0 || self.dead_bytes as usize * 4 < self.bytes.len() * 3 {
            return;
        }
        rare!("a page is rewritten because most of its bytes are unused");
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes as usize);
        for offset in self.slots.iter_mut().filter(|offset| **offset != VACANT) {
            let Some(rest) = self.bytes.get(usize::from(*offset)..) else { continue };
            let mut after = rest;
            read_record(&mut after, self.base);
            *offset = bytes.len() as u16;
            bytes.extend_from_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
        }
        self.bytes = bytes;
        self.dead_bytes = 0;
        self.entries.shrink_to_fit();
    }

    /// Where the entry of a slot is in `entries`, or where it would be inserted.
    fn entry_index(&self, slot: usize) -> Result<usize, usize> {
        // Tasks are mostly touched one after another and removed likewise. So the entry mostly is as far behind the
        // first one as their slots are apart, or it comes after all others.
        let slot_of = |entry: &Packed| usize::from(entry.slot);
        let near = slot.wrapping_sub(self.entries.front().map_or(0, slot_of));
        if self.entries.get(near).is_some_and(|entry| slot_of(entry) == slot) {
            return Ok(near);
        }
        if self.entries.back().is_none_or(|last| slot_of(last) < slot) {
            return Err(self.entries.len());
        }
        rare!("an entry is neither near nor the last");
        self.entries.binary_search_by_key(&slot, |entry| usize::from(entry.slot))
    }

    /// The entry of a touched task; `None` if it was never touched.
    #[inline(always)]
    pub fn entry(&self, slot: usize) -> Option<Entry> {
        let index = self.entry_index(slot).ok()?;
        self.entries.get(index).map(Packed::entry)
    }

    /// The slot and the deadline of each leased task.
    pub fn deadlines(&self) -> impl Iterator<Item = (usize, Millis)> + '_ {
        self.entries.iter().filter_map(|entry| Some((usize::from(entry.slot), entry.deadline()?)))
    }

    /// The slot and the entry of each touched task.
    pub fn entries(&self) -> impl Iterator<Item = (usize, Entry)> + '_ {
        self.entries.iter().map(|entry| (usize::from(entry.slot), entry.entry()))
    }

    /// Stores the entry of the task in the slot.
    pub fn set_entry(&mut self, slot: usize, entry: &Entry) {
        let packed = Packed::new(slot as u8, entry);
        match self.entry_index(slot) {
            Ok(index) => {
                if let Some(old) = self.entries.get_mut(index) {
                    *old = packed;
                }
            }
            Err(index) => {
                if self.entries.len() == self.entries.capacity() {
                    // Where one task of a page is touched, the others usually follow.
                    let untouched = usize::from(self.live).saturating_sub(self.entries.len());
                    self.entries.reserve_exact(untouched.max(4));
                }
                self.entries.insert(index, packed);
            }
        }
    }

    /// Raises `bound` to the first deadline.
    pub fn tighten(&mut self) {
        self.bound = self.deadlines().map(|(_, deadline)| deadline).min();
    }

    /// The stored form: first order number, base id, number of slots, number of entries, the record of each slot with
    /// its length (0 if vacant), the entries. It depends on how tasks are distributed over pages, so it can't serve as
    /// a digest.
    pub fn save(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(self.bytes.len() + self.slots.len() * 2 + self.entries.len() * 50 + 32);
        let (slots, entries) = (self.slots.len() as u64, self.entries.len() as u64);
        for number in [self.first.0, self.base.ms, self.base.seq, slots, entries] {
            varint::put(&mut out, number);
        }
        for slot in 0..self.slots.len() {
            let length = self.record_len(slot);
            varint::put(&mut out, length as u64);
            if let Some(record) = self.record_bytes(slot).and_then(|rest| rest.get(..length)) {
                out.extend_from_slice(record);
            }
        }
        for entry in &self.entries {
            entry.put(&mut out);
        }
        out
    }

    /// Reads the stored form and trusts nothing in it. Errors: it is damaged.
    pub fn load(bytes: &[u8]) -> Result<Page, Invalid> {
        let mut rest = bytes;
        let (mut page, slots, entries) = Page::load_head(&mut rest).ok_or(Invalid("a page's head"))?;
        let is_in_bounds = page.first.0.checked_add(slots).is_some_and(|end| end <= Order::MAX.0);
        ensure((1..=STORED_SLOTS).contains(&slots) && is_in_bounds, "a page's numbers")?;
        let mut last = None;
        for _ in 0..slots {
            let record = varint::get_bytes(&mut rest).ok_or(Invalid("a record for every slot"))?;
            last = page.load_slot(record, last)?.or(last);
        }
        ensure(page.live > 0, "a page with a task")?;
        ensure(
            entries <= slots && rest.len() as u64 == entries * PACKED_BYTES as u64,
            "as many entries as there are",
        )?;
        page.entries.reserve_exact(entries as usize);
        rest.chunks_exact(PACKED_BYTES).try_for_each(|stored| page.load_entry(stored))?;
        page.seal();
        page.tighten();
        Ok(page)
    }

    /// Reads the head: an empty page, the number of slots and the number of entries that follow.
    fn load_head(rest: &mut &[u8]) -> Option<(Page, u64, u64)> {
        let first = Order(varint::get(rest)?);
        let base = TaskId { ms: varint::get(rest)?, seq: varint::get(rest)? };
        Some((Page::new(first, base, 0), varint::get(rest)?, varint::get(rest)?))
    }

    /// Adds a slot after the task `last`; vacant if the record is empty. Returns the id of its task.
    fn load_slot(&mut self, record: &[u8], last: Option<TaskId>) -> Result<Option<TaskId>, Invalid> {
        if record.is_empty() {
            rare!("a stored page has a slot without a task");
            self.slots.push(VACANT);
            return Ok(None);
        }
        let mut tail = record;
        let read = read_record(&mut tail, self.base).filter(|_| tail.is_empty());
        let Record { id, payload, .. } = read.ok_or(Invalid("a record that can be read"))?;
        let options = read.and_then(|record| record.try_decode());
        let (options, _) = options.ok_or(Invalid("options that can be read"))?;
        let is_in_order = id >= self.base && id.ms <= Millis::MAX.0 && last.is_none_or(|last| id > last);
        ensure(is_in_order, "ids in ascending order")?;
        ensure(payload.len() <= PAYLOAD_MAX_BYTES && options.are_valid(), "a record in bounds")?;
        ensure(self.bytes.len() <= STORED_BYTES, "a page in bounds")?;
        self.slots.push(self.bytes.len() as u16);
        self.bytes.extend_from_slice(record);
        self.live += 1;
        Ok(Some(id))
    }

    /// Adds the entry of a task, after all others.
    fn load_entry(&mut self, stored: &[u8]) -> Result<(), Invalid> {
        let packed = Packed::read(stored).ok_or(Invalid("an entry that can be read"))?;
        let slot = packed.slot;
        ensure(self.entries.back().is_none_or(|last| last.slot < slot), "entries in order")?;
        ensure(self.is_live(usize::from(slot)), "entries of living tasks")?;
        self.entries.push_back(packed);
        Ok(())
    }

    /// Whether all invariants of the page hold. O(slots).
    pub fn validate(&self) -> Result<(), Invalid> {
        let live = || (0..self.slots.len()).filter(|&slot| self.is_live(slot));
        ensure(live().count() == usize::from(self.live), "a correct count of tasks in a page")?;
        let ids = live().map(|slot| self.record(slot).map(|record| record.id)).collect::<Option<Vec<_>>>();
        let ids = ids.ok_or(Invalid("a record for every task"))?;
        ensure(
            ids.is_sorted_by(|a, b| a < b) && ids.first().is_none_or(|&id| id >= self.base),
            "ids in ascending order",
        )?;
        let slots: Vec<usize> = self.entries().map(|(slot, _)| slot).collect();
        ensure(slots.is_sorted_by(|a, b| a < b), "entries in order")?;
        ensure(slots.iter().all(|&slot| self.is_live(slot)), "entries of living tasks")?;
        let bytes: usize = live().map(|slot| self.record_len(slot)).sum();
        ensure(bytes == self.live_bytes(), "a correct count of bytes in a page")?;
        let first = self.deadlines().map(|(_, deadline)| deadline).min();
        let is_bound = |first| self.bound.is_some_and(|bound| bound <= first);
        ensure(first.is_none_or(is_bound), "no lease that ends before its page's bound")
    }
}
