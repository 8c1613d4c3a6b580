//! Effects: the bytes that tell replicas and the AOF what happened to a queue.
//!
//! An effect is a version byte; one or more events and their end, in the form of [`super::event`]; its number in the
//! queue's history; the instant of the change on the queue's clock; and a checksum of the queue's name, all these bytes,
//! and the payloads beside them. Versions only grow, and old ones stay readable. Version 5 had no checksum. It has the
//! form of version 4, and more events and options; a claim no longer removes progress. In version 3,
//! number and instant had six bytes each and came before the events, which were MessagePack with fields by position.
//! Before that, an effect had neither number nor instant.

use super::checksum::{Checksum, DAMAGED, Gathered};
use super::event::{Coded, END, Reader, Writer};
use crate::event::{Event, Lease};
use crate::invalid::{Invalid, ensure};
use crate::pack::decode;
use crate::store::effect_count::EffectCount;
use crate::time::Millis;

/// The version of the effects that this build writes.
pub const EFFECT_VERSION: u8 = 6;

/// An effect to be sent: what happened to one queue in one step.
///
/// Add the events in order, then [`Effect::seal`] it. The payloads of pushes are not part of the bytes: they travel
/// beside them in the same order, so that the server can pass on its own strings without a copy.
#[derive(Debug, Default)]
pub struct Effect {
    /// The version and the encoded events; empty without events.
    bytes: Vec<u8>,
    /// See [`Writer::base`].
    base: u64,
}

/// An effect that was received and decoded.
#[derive(Debug)]
pub struct Received<'a> {
    /// The effect's number in the queue's history, and the instant of the change on the queue's clock. `None` before
    /// version 3.
    pub stamp: Option<(u64, Millis)>,
    /// The events, in order.
    pub events: Vec<Event<'a>>,
}

impl Effect {
    /// An empty effect that reuses a buffer.
    pub fn reusing(mut bytes: Vec<u8>) -> Effect {
        bytes.clear();
        Effect { bytes, base: 0 }
    }

    /// The buffer, for [`Effect::reusing`].
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an event. The payloads of pushes, replacements and edits are not included.
    pub fn add(&mut self, event: &Event) {
        if self.bytes.is_empty() {
            self.bytes.reserve(64);
            self.bytes.push(EFFECT_VERSION);
        }
        let mut writer = Writer { out: &mut self.bytes, base: self.base };
        event.put(&mut writer);
        self.base = writer.base;
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Finishes the effect and returns the bytes to send; empty without events. Called once. `number` comes from
    /// [`crate::Queue::count_effect`], `at` is the instant of the change on the queue's clock. The checksum is also of
    /// what is sent with the bytes: the queue's name, and all payloads.
    pub fn seal<'p>(
        &mut self,
        number: u64,
        at: Millis,
        name: &[u8],
        payloads: impl IntoIterator<Item = &'p [u8]>,
    ) -> &[u8] {
        if !self.is_empty() {
            self.bytes.push(END);
            (number, at).put(&mut Writer { out: &mut self.bytes, base: self.base });
            let mut words = Gathered::behind(&mut self.bytes);
            words.add(name);
            words.add_front();
            payloads.into_iter().for_each(|payload| words.add(payload));
            let checksum = words.bytes();
            self.bytes.extend_from_slice(&checksum);
        }
        &self.bytes
    }

    /// Decodes an effect, given the name of the queue for which it came, and the payloads that came beside it. Errors:
    /// it is damaged or newer than this build, or has not as many payloads as it needs. From version 6 on, a change of
    /// any byte is noticed.
    pub fn decode<'a>(
        name: &[u8],
        bytes: &'a [u8],
        payloads: &'a [&'a [u8]],
    ) -> Result<Received<'a>, Invalid> {
        let (&version, mut rest) = bytes.split_first().ok_or(Invalid("an effect"))?;
        ensure((1..=EFFECT_VERSION).contains(&version), "a known version")?;
        if version >= HAS_CHECKSUM {
            rest = checked(name, bytes, payloads).ok_or(DAMAGED)?;
        }
        let (stamp, mut events) = match version {
            1 | 2 => (None, decode(rest).ok_or(KNOWN_EVENTS)?),
            3 => (Some(old_stamp(&mut rest)?), decode(rest).ok_or(KNOWN_EVENTS)?),
            _ => read(rest)?,
        };
        if version < KEEPS_PROGRESS {
            events = without_progress(events);
        }
        let mut left = payloads;
        for event in &mut events {
            match event {
                Event::Pushed { count, payloads, .. } | Event::PushedAfter { count, payloads, .. } => {
                    let (mine, others) =
                        left.split_at_checked(*count as usize).ok_or(Invalid("a payload"))?;
                    *payloads = mine;
                    left = others;
                }
                Event::BatchOpened { payloads, .. } => {
                    let (mine, others) = left.split_at_checked(1).ok_or(Invalid("a payload"))?;
                    *payloads = mine;
                    left = others;
                }
                Event::Replaced { payload, .. } => {
                    let (mine, others) = left.split_first().ok_or(Invalid("a payload"))?;
                    *payload = mine;
                    left = others;
                }
                Event::Edited { has_payload: true, payload, .. } => {
                    let (mine, others) = left.split_first().ok_or(Invalid("a payload"))?;
                    *payload = Some(mine);
                    left = others;
                }
                _ => {}
            }
        }
        ensure(left.is_empty(), "an event for each payload")?;
        Ok(Received { stamp, events })
    }
}

/// The most events of an effect that is read, so that a forged one can't take a hundred times its size in memory. A write
/// makes one for each handle, some for due work, and two for each worker that it serves: a few thousand.
const EVENTS_MAX: usize = 100_000;

/// The first version with a checksum.
const HAS_CHECKSUM: u8 = 6;

/// What is between the version and the checksum. `None` if the checksum is another one.
fn checked<'a>(name: &[u8], bytes: &'a [u8], payloads: &[&[u8]]) -> Option<&'a [u8]> {
    let (covered, found) = bytes.split_last_chunk()?;
    let mut checksum = Checksum::default();
    checksum.add(name);
    checksum.add(covered);
    payloads.iter().for_each(|payload| checksum.add(payload));
    covered.get(1..).filter(|_| checksum.bytes() == *found)
}

/// The first version in which a task keeps its progress when it is claimed again.
const KEEPS_PROGRESS: u8 = 5;

/// Adds to each claim of an older version what it did besides: it removed the progress of the attempt before.
fn without_progress(events: Vec<Event<'_>>) -> Vec<Event<'_>> {
    let mut all = Vec::with_capacity(events.len());
    for event in events {
        let leases = if let Event::Claimed { leases, .. } = &event { leases.clone() } else { Vec::new() };
        all.push(event);
        all.extend(leases.into_iter().map(|Lease { id, deadline, .. }| Event::Extended {
            id,
            deadline,
            progress: Some(&[]),
        }));
    }
    all
}

const KNOWN_EVENTS: Invalid = Invalid("known events");

type Stamp = (u64, Millis);

/// Reads an effect after its version.
fn read(rest: &[u8]) -> Result<(Option<Stamp>, Vec<Event<'_>>), Invalid> {
    let (mut from, mut events) = (Reader::new(rest), Vec::new());
    while !from.ends() {
        ensure(events.len() < EVENTS_MAX, "at most a hundred thousand events")?;
        events.push(Event::get(&mut from).ok_or(KNOWN_EVENTS)?);
    }
    let (number, at) = Coded::get(&mut from).ok_or(Invalid("a number and an instant"))?;
    ensure(number <= EffectCount::MAX && at <= Millis::MAX, "a number and an instant in bounds")?;
    ensure(from.rest.is_empty(), "its end")?;
    Ok((Some((number, at)), events))
}

/// Takes number and instant of version 3 off the front.
fn old_stamp(rest: &mut &[u8]) -> Result<Stamp, Invalid> {
    let number = six_bytes(rest).ok_or(Invalid("a number"))?;
    let at = six_bytes(rest).ok_or(Invalid("an instant"))?;
    Ok((number, Millis(at)))
}

/// Takes a number of six bytes, big endian, off the front.
fn six_bytes(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, behind) = rest.split_first_chunk::<6>()?;
    *rest = behind;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
