//! One page of the log: the records of a few dozen tasks, one after the other, and an entry for each of
//! them that was touched.
//!
//! A slot is an order number counted from the page's first: it says where the task's record begins, or that
//! there is none (any more). A record is: flags, milliseconds since the page's first id, the id's sequence
//! number unless 0, options if any, the payload with its length. Invariants: ids and slots grow together;
//! entries are sorted by slot and belong to slots that hold a record.

use crate::mismatch::{Mismatch, ensure};
use crate::store::entry::{Entry, Order, PACKED_BYTES, Packed};
use crate::store::groups::GroupNumber;
use crate::task::{Hold, Options, PAYLOAD_MAX_BYTES, TaskId, Unique};
use crate::time::Millis;
use crate::varint;

/// Bytes of records in a page; a larger record has a page of its own.
pub(crate) const PAGE_BYTES: usize = 16_384;
/// A new page of a queue begins this small and doubles.
const FIRST_BYTES: usize = 256;
/// Slots in a page, so that one byte tells them apart: bounds the work of anything that goes through a page.
pub(crate) const PAGE_SLOTS: u64 = 256;
/// A slot without a record.
const VACANT: u16 = u16::MAX;

const HAS_OPTIONS: u8 = 1;
const HAS_SEQ: u8 = 2;

const HAS_PRIORITY: u8 = 1;
const HAS_ATTEMPTS: u8 = 2;
const HAS_LEASE: u8 = 4;
const HAS_HEADERS: u8 = 8;
const HAS_GROUP: u8 = 16;
const HAS_UNIQUE: u8 = 32;
const HAS_TTL: u8 = 64;
const HAS_RETAIN: u8 = 128;

/// What a push left in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub id: TaskId,
    /// What was said of it, but for the name of its group.
    pub options: Options<'a>,
    pub group: GroupNumber,
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn new(id: TaskId, options: &Options<'a>, group: GroupNumber, payload: &'a [u8]) -> Record<'a> {
        Record { id, options: Options { group: &[], ..*options }, group, payload }
    }
}

/// See the head of the file.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    first: Order,
    base: TaskId,
    bytes: Vec<u8>,
    slots: Vec<u16>,
    entries: Vec<Packed>,
    live: u16,
    dead_bytes: u32,
    /// At or before the first deadline of a leased task here; `None` where none is leased.
    pub bound: Option<Millis>,
}

impl Page {
    /// An empty page for the task `id` at `first`, whose record will be `record_bytes` long.
    pub fn new(first: Order, id: TaskId, record_bytes: usize) -> Page {
        Page {
            first,
            base: id,
            bytes: Vec::with_capacity(record_bytes.max(FIRST_BYTES)),
            slots: Vec::new(),
            entries: Vec::new(),
            live: 0,
            dead_bytes: 0,
            bound: None,
        }
    }

    /// Makes an empty page out of one whose last task is gone, keeping its memory.
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

    /// The id that the first record pushed here had: no id here is smaller.
    pub fn base(&self) -> TaskId {
        self.base
    }

    /// How many tasks live here.
    pub fn live(&self) -> u16 {
        self.live
    }

    /// How many slots there are, with and without a record.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the records of living tasks.
    pub fn live_bytes(&self) -> usize {
        self.bytes.len() - self.dead_bytes as usize
    }

    /// Bytes that it took from the allocator.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.slots.capacity() * size_of::<u16>()
            + self.entries.capacity() * PACKED_BYTES
    }

    /// Whether a record of this size can be pushed as the task `order`.
    pub fn has_room(&self, order: Order, record_bytes: usize) -> bool {
        self.bytes.len() + record_bytes <= PAGE_BYTES && order.0 - self.first.0 < PAGE_SLOTS
    }

    /// Appends a record. The caller asked [`Page::has_room`], or the page is new.
    pub fn push(&mut self, order: Order, record: &Record) {
        let slot = (order.0 - self.first.0) as usize;
        self.slots.resize(slot, VACANT);
        self.slots.push(self.bytes.len() as u16);
        put_record(&mut self.bytes, self.base, record);
        self.live += 1;
    }

    /// Gives back memory that a page needs only while it grows.
    pub fn seal(&mut self) {
        self.bytes.shrink_to_fit();
        self.slots.shrink_to_fit();
        self.compact();
    }

    /// The order number of a slot.
    pub fn order(&self, slot: usize) -> Order {
        Order(self.first.0 + slot as u64)
    }

    /// The slot of an order number, if a task lives there.
    pub fn slot(&self, order: Order) -> Option<usize> {
        let slot = usize::try_from(order.0.checked_sub(self.first.0)?).ok()?;
        self.is_live(slot).then_some(slot)
    }

    /// Whether a task lives in the slot.
    pub fn is_live(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|&offset| offset != VACANT)
    }

    /// Whether a task lives in the slot and was never touched: it is ready, for the first time.
    pub fn is_fresh(&self, slot: usize) -> bool {
        self.is_live(slot) && (self.entries.is_empty() || self.entry_place(slot).is_err())
    }

    /// The slot of the task `id`, if it lives here.
    pub fn find(&self, id: TaskId) -> Option<usize> {
        let (mut low, mut high) = (0, self.slots.len());
        while low < high {
            let middle = (low + high) / 2;
            let Some(slot) = (middle..high).find(|&slot| self.is_live(slot)) else {
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
    pub fn id(&self, slot: usize) -> Option<TaskId> {
        let mut rest = self.record_bytes(slot)?;
        read_head(&mut rest, self.base).map(|(_, id)| id)
    }

    /// The record of the task in the slot.
    pub fn record(&self, slot: usize) -> Option<Record<'_>> {
        read_record(&mut self.record_bytes(slot)?, self.base)
    }

    /// The bytes from the record of a slot to the end of the page.
    fn record_bytes(&self, slot: usize) -> Option<&[u8]> {
        let offset = *self.slots.get(slot)?;
        if offset == VACANT { None } else { self.bytes.get(usize::from(offset)..) }
    }

    /// Removes the task in the slot, with its entry. Returns the bytes its record took.
    pub fn vacate(&mut self, slot: usize) -> usize {
        let bytes = self.record_len(slot);
        let Some(offset) = self.slots.get_mut(slot).filter(|offset| **offset != VACANT) else { return 0 };
        *offset = VACANT;
        if let Ok(place) = self.entry_place(slot) {
            self.entries.remove(place);
        }
        self.live -= 1;
        self.dead_bytes += bytes as u32;
        bytes
    }

    /// Bytes of the record in the slot.
    pub fn record_len(&self, slot: usize) -> usize {
        let Some(bytes) = self.record_bytes(slot) else { return 0 };
        let mut rest = bytes;
        read_record(&mut rest, self.base);
        bytes.len() - rest.len()
    }

    /// Rewrites a page that is three quarters dead, so that a few old tasks don't hold the memory of many.
    pub fn compact(&mut self) {
        if self.live == 0 || self.dead_bytes as usize * 4 < self.bytes.len() * 3 {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes as usize);
        for slot in 0..self.slots.len() {
            let length = self.record_len(slot);
            let record = self.record_bytes(slot).and_then(|rest| rest.get(..length));
            if let (Some(record), Some(offset)) = (record, self.slots.get(slot)) {
                let new = if *offset == VACANT { VACANT } else { bytes.len() as u16 };
                bytes.extend_from_slice(record);
                if let Some(offset) = self.slots.get_mut(slot) {
                    *offset = new;
                }
            }
        }
        self.bytes = bytes;
        self.dead_bytes = 0;
        self.entries.shrink_to_fit();
    }

    fn entry_place(&self, slot: usize) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&slot, |entry| usize::from(entry.slot))
    }

    /// The entry of a touched task.
    pub fn entry(&self, slot: usize) -> Option<Entry> {
        let place = self.entry_place(slot).ok()?;
        self.entries.get(place).map(Packed::entry)
    }

    /// Every touched task's slot and deadline, where it is leased.
    pub fn deadlines(&self) -> impl Iterator<Item = (usize, Millis)> + '_ {
        self.entries.iter().filter_map(|entry| Some((usize::from(entry.slot), entry.deadline()?)))
    }

    /// Every touched task's slot and entry.
    pub fn entries(&self) -> impl Iterator<Item = (usize, Entry)> + '_ {
        self.entries.iter().map(|entry| (usize::from(entry.slot), entry.entry()))
    }

    /// Stores what is now known of the task in the slot.
    pub fn set_entry(&mut self, slot: usize, entry: &Entry) {
        let packed = Packed::new(slot as u8, entry);
        match self.entry_place(slot) {
            Ok(place) => {
                if let Some(old) = self.entries.get_mut(place) {
                    *old = packed;
                }
            }
            Err(place) => {
                if self.entries.len() == self.entries.capacity() {
                    // A page whose first task was touched will mostly see the others touched too.
                    let untouched = usize::from(self.live).saturating_sub(self.entries.len());
                    self.entries.reserve_exact(untouched.max(4));
                }
                self.entries.insert(place, packed);
            }
        }
    }

    /// Moves `bound` to the first deadline there is.
    pub fn tighten(&mut self) {
        self.bound = self.deadlines().map(|(_, deadline)| deadline).min();
    }

    /// The stored form: first order number, base id, how many slots and entries, each slot's record with its
    /// length (0 for none), the entries. Equal tasks have equal stored forms only in equal pages: it is no digest.
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

    /// Reads the stored form, trusting nothing; `None` where it is damaged.
    pub fn load(bytes: &[u8]) -> Option<Page> {
        let mut rest = bytes;
        let first = Order(varint::get(&mut rest)?);
        let base = TaskId { ms: varint::get(&mut rest)?, seq: varint::get(&mut rest)? };
        let (slots, entries) = (varint::get(&mut rest)?, varint::get(&mut rest)?);
        if slots == 0 || slots > PAGE_SLOTS || first.0.checked_add(slots)? > Order::MAX.0 {
            return None;
        }
        let mut page = Page::new(first, base, 0);
        let mut last: Option<TaskId> = None;
        for _ in 0..slots {
            let record = varint::get_bytes(&mut rest)?;
            if record.is_empty() {
                page.slots.push(VACANT);
                continue;
            }
            let mut tail = record;
            let read = read_record(&mut tail, base)?;
            let ordered =
                read.id >= base && read.id.ms <= Millis::MAX.0 && last.is_none_or(|last| read.id > last);
            let bounded = read.payload.len() <= PAYLOAD_MAX_BYTES && read.options.are_valid();
            if !tail.is_empty() || !ordered || !bounded || page.bytes.len() > PAGE_BYTES {
                return None;
            }
            last = Some(read.id);
            page.slots.push(page.bytes.len() as u16);
            page.bytes.extend_from_slice(record);
            page.live += 1;
        }
        if page.live == 0 || entries > slots || rest.len() as u64 != entries * PACKED_BYTES as u64 {
            return None;
        }
        page.entries.reserve_exact(entries as usize);
        for stored in rest.chunks_exact(PACKED_BYTES) {
            let packed = Packed::read(stored)?;
            let slot = packed.slot;
            let sorted = page.entries.last().is_none_or(|last| last.slot < slot);
            if !sorted || !page.is_live(usize::from(slot)) {
                return None;
            }
            page.entries.push(packed);
        }
        page.seal();
        page.tighten();
        Some(page)
    }

    /// Whether all invariants of the page hold. O(slots).
    pub fn validate(&self) -> Result<(), Mismatch> {
        let live = || (0..self.slots.len()).filter(|&slot| self.is_live(slot));
        ensure(live().count() == usize::from(self.live), "living tasks are counted")?;
        let ids = live().map(|slot| self.record(slot).map(|record| record.id)).collect::<Option<Vec<_>>>();
        let ids = ids.ok_or(Mismatch("a record for every task"))?;
        ensure(ids.is_sorted_by(|a, b| a < b) && ids.first().is_none_or(|&id| id >= self.base), "ids grow")?;
        let slots: Vec<usize> = self.entries().map(|(slot, _)| slot).collect();
        ensure(slots.is_sorted_by(|a, b| a < b), "entries are sorted")?;
        ensure(slots.iter().all(|&slot| self.is_live(slot)), "entries belong to living tasks")?;
        let bytes: usize = live().map(|slot| self.record_len(slot)).sum();
        ensure(bytes == self.live_bytes(), "bytes are counted")?;
        let first = self.deadlines().map(|(_, deadline)| deadline).min();
        let is_bound = |first| self.bound.is_some_and(|bound| bound <= first);
        ensure(first.is_none_or(is_bound), "no lease ends before its page's bound")
    }
}

/// The bytes of a record.
pub(crate) fn record_len(base: TaskId, record: &Record) -> usize {
    let (ms, seq) = relative(base, record.id);
    let options = options_len(record);
    let options = if options > 1 { varint::len(options as u64) + options } else { 0 };
    let seq = if seq == 0 { 0 } else { varint::len(seq) };
    1 + varint::len(ms) + seq + options + varint::len(record.payload.len() as u64) + record.payload.len()
}

/// An id as it stands in a record: sequence numbers count from the base's within its millisecond.
fn relative(base: TaskId, id: TaskId) -> (u64, u64) {
    let ms = id.ms.saturating_sub(base.ms);
    (ms, if ms == 0 { id.seq.saturating_sub(base.seq) } else { id.seq })
}

fn put_record(out: &mut Vec<u8>, base: TaskId, record: &Record) {
    let (ms, seq) = relative(base, record.id);
    let options_len = options_len(record);
    let has_options = if options_len > 1 { HAS_OPTIONS } else { 0 };
    out.push(has_options | if seq == 0 { 0 } else { HAS_SEQ });
    varint::put(out, ms);
    if seq != 0 {
        varint::put(out, seq);
    }
    if has_options != 0 {
        varint::put(out, options_len as u64);
        put_options(out, record);
    }
    varint::put(out, record.payload.len() as u64);
    out.extend_from_slice(record.payload);
}

fn read_head(bytes: &mut &[u8], base: TaskId) -> Option<(u8, TaskId)> {
    let (&flags, rest) = bytes.split_first()?;
    *bytes = rest;
    let delta = varint::get(bytes)?;
    let seq = if flags & HAS_SEQ == 0 { 0 } else { varint::get(bytes)? };
    let seq = if delta == 0 { base.seq.checked_add(seq)? } else { seq };
    Some((flags, TaskId { ms: base.ms.checked_add(delta)?, seq }))
}

fn read_record<'a>(bytes: &mut &'a [u8], base: TaskId) -> Option<Record<'a>> {
    let (flags, id) = read_head(bytes, base)?;
    let (options, group) = match flags & HAS_OPTIONS {
        0 => <(Options, GroupNumber)>::default(),
        _ => read_options(varint::get_bytes(bytes)?)?,
    };
    let payload = varint::get_bytes(bytes)?;
    (flags & !(HAS_OPTIONS | HAS_SEQ) == 0).then_some(Record { id, options, group, payload })
}

fn options_len(record: &Record) -> usize {
    let Options { priority, attempts, lease_ms, headers, unique, ttl_ms, retain_ms, group: _ } =
        record.options;
    let unique_len = |unique: Unique| {
        let until = unique.hold.until().map_or(0, |until| varint::len(until.0));
        1 + until + varint::len(unique.token.len() as u64) + unique.token.len()
    };
    1 + usize::from(priority != 0)
        + attempts.map_or(0, |n| varint::len(n.saturating_add(1).max(0) as u64))
        + lease_ms.map_or(0, |ms| varint::len(u64::from(ms)))
        + record.group.stored().map_or(0, varint::len)
        + unique.map_or(0, unique_len)
        + ttl_ms.map_or(0, varint::len)
        + retain_ms.map_or(0, varint::len)
        + headers.len()
}

fn put_options(out: &mut Vec<u8>, record: &Record) {
    let Options { priority, attempts, lease_ms, headers, unique, ttl_ms, retain_ms, group: _ } =
        record.options;
    let group = record.group.stored();
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        flag(priority != 0, HAS_PRIORITY)
            | flag(attempts.is_some(), HAS_ATTEMPTS)
            | flag(lease_ms.is_some(), HAS_LEASE)
            | flag(!headers.is_empty(), HAS_HEADERS)
            | flag(group.is_some(), HAS_GROUP)
            | flag(unique.is_some(), HAS_UNIQUE)
            | flag(ttl_ms.is_some(), HAS_TTL)
            | flag(retain_ms.is_some(), HAS_RETAIN),
    );
    if priority != 0 {
        out.push(priority as u8);
    }
    let attempts = attempts.map(|attempts| attempts.saturating_add(1).max(0) as u64);
    for number in [attempts, lease_ms.map(u64::from), group].into_iter().flatten() {
        varint::put(out, number);
    }
    if let Some(Unique { token, hold }) = unique {
        out.push(match hold {
            Hold::End => 0,
            Hold::Start => 1,
            Hold::AtMost(_) => 2,
            Hold::Exactly(_) => 3,
        });
        hold.until().into_iter().for_each(|until| varint::put(out, until.0));
        varint::put(out, token.len() as u64);
        out.extend_from_slice(token);
    }
    [ttl_ms, retain_ms].into_iter().flatten().for_each(|ms| varint::put(out, ms));
    out.extend_from_slice(headers);
}

fn read_options(bytes: &[u8]) -> Option<(Options<'_>, GroupNumber)> {
    let (&flags, mut rest) = bytes.split_first()?;
    let has = |bit: u8| flags & bit != 0;
    let mut options = Options::default();
    let mut group = GroupNumber::default();
    if has(HAS_PRIORITY) {
        options.priority = take_byte(&mut rest)? as i8;
    }
    if has(HAS_ATTEMPTS) {
        options.attempts = Some(i32::try_from(varint::get(&mut rest)?).ok()? - 1);
    }
    if has(HAS_LEASE) {
        options.lease_ms = Some(u32::try_from(varint::get(&mut rest)?).ok()?);
    }
    if has(HAS_GROUP) {
        group = GroupNumber::from_stored(varint::get(&mut rest)?)?;
    }
    if has(HAS_UNIQUE) {
        let hold = match take_byte(&mut rest)? {
            0 => Hold::End,
            1 => Hold::Start,
            2 => Hold::AtMost(Millis(varint::get(&mut rest)?)),
            3 => Hold::Exactly(Millis(varint::get(&mut rest)?)),
            _ => return None,
        };
        options.unique = Some(Unique { token: varint::get_bytes(&mut rest)?, hold });
    }
    if has(HAS_TTL) {
        options.ttl_ms = Some(varint::get(&mut rest)?);
    }
    if has(HAS_RETAIN) {
        options.retain_ms = Some(varint::get(&mut rest)?);
    }
    options.headers = rest;
    (rest.is_empty() != has(HAS_HEADERS)).then_some((options, group))
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}
