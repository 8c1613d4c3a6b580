//! Records: what a push stores in the log, and its encoding.
//!
//! A record is encoded as: flags, milliseconds since the page's first id, the id's sequence number unless 0, the number
//! of the batch if any, the options if any, the length of the payload, the payload.

use std::num::NonZeroU64;

use crate::numbers::{BatchNumber, GroupNumber};
use crate::store::edit::Edit;
use crate::task::{Hold, Options, TaskId, Unique};
use crate::time::Millis;
use crate::varint;

const HAS_OPTIONS: u8 = 1;
const HAS_SEQ: u8 = 2;
const HAS_BATCH: u8 = 4;

const HAS_PRIORITY: u8 = 1;
const HAS_ATTEMPTS: u8 = 2;
const HAS_LEASE: u8 = 4;
const HAS_HEADERS: u8 = 8;
const HAS_GROUP: u8 = 16;
const HAS_UNIQUE: u8 = 32;
const HAS_TTL: u8 = 64;
const HAS_RETAIN: u8 = 128;

/// A record to be written: what a push stores in the log. It never changes: see [`Edit`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub id: TaskId,
    pub payload: &'a [u8],
    /// The names of the group and the batch in them are not stored, but their numbers.
    options: &'a Options<'a>,
    group: GroupNumber,
    batch: BatchNumber,
    options_len: usize,
}

impl<'a> NewRecord<'a> {
    /// A record without a payload yet.
    pub fn new(
        id: TaskId,
        options: &'a Options<'a>,
        group: GroupNumber,
        batch: BatchNumber,
    ) -> NewRecord<'a> {
        NewRecord { id, payload: &[], options, group, batch, options_len: options_len(options, group) }
    }
}

/// A record as it is read from the log: the id, the options and the payload.
///
/// Most tasks have no options, and who asks for a task seldom asks for them. So they are decoded when they are asked
/// for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Record<'a> {
    pub id: TaskId,
    pub payload: &'a [u8],
    /// The batch it was pushed into. The batch may be forgotten by now.
    pub batch: BatchNumber,
    /// The encoded options; empty if there are none.
    encoded: &'a [u8],
    /// What is not that of the push any more.
    edit: Option<&'a Edit>,
}

impl<'a> Record<'a> {
    /// The record with what replaced parts of it.
    pub fn edited(self, edit: &'a Edit) -> Record<'a> {
        Record { payload: edit.payload.as_deref().unwrap_or(self.payload), edit: Some(edit), ..self }
    }

    /// Whether the push gave no options, and nothing has changed since.
    pub fn is_plain(&self) -> bool {
        self.encoded.is_empty() && self.edit.is_none()
    }

    /// The current options. The name of the group is not among them: it has a number, see [`Record::group`].
    pub fn options(&self) -> Options<'a> {
        if self.is_plain() { Options::default() } else { self.decoded().0 }
    }

    /// The group.
    pub fn group(&self) -> GroupNumber {
        if self.is_plain() { GroupNumber::NONE } else { self.decoded().1 }
    }

    /// The priority and the group.
    pub fn priority_and_group(&self) -> (i8, GroupNumber) {
        if self.is_plain() {
            return (0, GroupNumber::NONE);
        }
        let (options, group) = self.decoded();
        (options.priority, group)
    }

    #[inline(never)]
    fn decoded(&self) -> (Options<'a>, GroupNumber) {
        // They could be decoded when the record was loaded.
        let (options, group) = self.try_decode().unwrap_or_default();
        let Some(edit) = self.edit else { return (options, group) };
        let (priority, group) = edit.lane.unwrap_or((options.priority, group));
        (Options { headers: edit.headers.as_deref().unwrap_or(options.headers), priority, ..options }, group)
    }

    /// The options of the push and the group; `None` if they are damaged.
    pub fn try_decode(&self) -> Option<(Options<'a>, GroupNumber)> {
        if self.encoded.is_empty() { Some(Default::default()) } else { read_options(self.encoded) }
    }
}

/// The length of the encoded record.
pub(crate) fn record_len(base: TaskId, record: &NewRecord) -> usize {
    let (ms, seq) = relative(base, record.id);
    let options = record.options_len;
    let options = if options > 1 { varint::len(options as u64) + options } else { 0 };
    let seq = if seq == 0 { 0 } else { varint::len(seq) };
    let batch = if record.batch.is_none() { 0 } else { varint::len(record.batch.0) };
    1 + varint::len(ms)
        + seq
        + batch
        + options
        + varint::len(record.payload.len() as u64)
        + record.payload.len()
}

/// An id relative to the page's first: milliseconds and sequence number. In the base's own millisecond the sequence
/// number counts from the base's.
fn relative(base: TaskId, id: TaskId) -> (u64, u64) {
    let ms = id.ms.saturating_sub(base.ms);
    (ms, if ms == 0 { id.seq.saturating_sub(base.seq) } else { id.seq })
}

/// Appends the encoded record.
pub(crate) fn put_record(out: &mut Vec<u8>, base: TaskId, record: &NewRecord) {
    let (ms, seq) = relative(base, record.id);
    let options_len = record.options_len;
    let has_options = if options_len > 1 { HAS_OPTIONS } else { 0 };
    let has_batch = if record.batch.is_none() { 0 } else { HAS_BATCH };
    out.push(has_options | has_batch | if seq == 0 { 0 } else { HAS_SEQ });
    varint::put(out, ms);
    if seq != 0 {
        varint::put(out, seq);
    }
    if has_batch != 0 {
        varint::put(out, record.batch.0);
    }
    if has_options != 0 {
        varint::put(out, options_len as u64);
        put_options(out, record.options, record.group);
    }
    varint::put(out, record.payload.len() as u64);
    out.extend_from_slice(record.payload);
}

/// Reads a record's flags and id from the front of `bytes`.
#[inline(always)]
pub(crate) fn read_head(bytes: &mut &[u8], base: TaskId) -> Option<(u8, TaskId)> {
    let (&flags, rest) = bytes.split_first()?;
    *bytes = rest;
    let delta = varint::get(bytes)?;
    let seq = if flags & HAS_SEQ == 0 { 0 } else { varint::get(bytes)? };
    let seq = if delta == 0 { base.seq.checked_add(seq)? } else { seq };
    Some((flags, TaskId { ms: base.ms.checked_add(delta)?, seq }))
}

/// Reads one record from the front of `bytes`; `None` if it is damaged, except in its options, which aren't decoded.
#[inline(always)]
pub(crate) fn read_record<'a>(bytes: &mut &'a [u8], base: TaskId) -> Option<Record<'a>> {
    let (flags, id) = read_head(bytes, base)?;
    let batch = match flags & HAS_BATCH {
        0 => BatchNumber::NONE,
        _ => varint::get(bytes).map(BatchNumber).filter(|number| !number.is_none())?,
    };
    let encoded = match flags & HAS_OPTIONS {
        0 => &[],
        _ => varint::get_bytes(bytes).filter(|options| !options.is_empty())?,
    };
    let payload = varint::get_bytes(bytes)?;
    let is_known = flags & !(HAS_OPTIONS | HAS_SEQ | HAS_BATCH) == 0;
    is_known.then_some(Record { id, payload, batch, encoded, edit: None })
}

/// The length of the encoded options; 1 (the flags) means there are none, and then they are left out.
fn options_len(options: &Options, group: GroupNumber) -> usize {
    let Options { priority, attempts, lease_ms, headers, unique, ttl_ms, retain_ms, group: _, batch: _ } =
        *options;
    let unique_len = |unique: Unique| {
        let until = unique.hold.until().map_or(0, |until| varint::len(until.0));
        1 + until + varint::len(unique.token.len() as u64) + unique.token.len()
    };
    1 + usize::from(priority != 0)
        + attempts.map_or(0, |n| varint::len(n.saturating_add(1).max(0) as u64))
        + lease_ms.map_or(0, |ms| varint::len(u64::from(ms)))
        + group.stored().map_or(0, varint::len)
        + unique.map_or(0, unique_len)
        + ttl_ms.map_or(0, |ms| varint::len(ms.get()))
        + retain_ms.map_or(0, varint::len)
        + headers.len()
}

fn put_options(out: &mut Vec<u8>, options: &Options, group: GroupNumber) {
    let Options { priority, attempts, lease_ms, headers, unique, ttl_ms, retain_ms, group: _, batch: _ } =
        *options;
    let group = group.stored();
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
    [ttl_ms.map(NonZeroU64::get), retain_ms].into_iter().flatten().for_each(|ms| varint::put(out, ms));
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
        options.ttl_ms = Some(NonZeroU64::new(varint::get(&mut rest)?)?);
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
