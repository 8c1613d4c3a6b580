//! Bytes ⇄ events: what replicas and the AOF get of a change.
//!
//! An effect is a version byte and events one after the other (MessagePack, fields by place). Versions only grow, and old
//! ones stay readable.

use crate::codec::decode;
use crate::event::Event;
use crate::mismatch::{Mismatch, ensure};

/// The version of effects.
pub const EFFECT_VERSION: u8 = 2;

/// An effect: what happened to one queue in one step, as replicas and the AOF get it.
#[derive(Debug, Default)]
pub struct Effect {
    /// Version, the head of a MessagePack array, and as many events as `events`.
    bytes: Vec<u8>,
    events: u32,
}

/// MessagePack's mark of an array whose length follows in four bytes.
const ARRAY32: u8 = 0xdd;
const HEAD_BYTES: usize = 6;

impl Effect {
    /// An empty effect in the memory of an earlier one.
    pub fn reusing(mut bytes: Vec<u8>) -> Effect {
        bytes.clear();
        Effect { bytes, events: 0 }
    }

    /// The memory, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an event. The payloads of a push are not in it: they follow in the order of the events.
    pub fn add(&mut self, event: &Event) {
        if self.events == 0 {
            self.bytes.reserve(96);
            self.bytes.extend_from_slice(&[EFFECT_VERSION, ARRAY32, 0, 0, 0, 0]);
        }
        self.events += 1;
        if let Some(length) = self.bytes.get_mut(2..HEAD_BYTES) {
            length.copy_from_slice(&self.events.to_be_bytes());
        }
        // Writing numbers, bytes and names to a vector can't fail.
        let _ = rmp_serde::encode::write(&mut self.bytes, event);
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The events in the bytes of an effect, with the payloads that came beside them.
    pub fn decode<'a>(bytes: &'a [u8], payloads: &'a [&'a [u8]]) -> Result<Vec<Event<'a>>, Mismatch> {
        let (&version, rest) = bytes.split_first().ok_or(Mismatch("an effect"))?;
        ensure((1..=EFFECT_VERSION).contains(&version), "a known version")?;
        let mut events: Vec<Event> = decode(rest).ok_or(Mismatch("events that are known"))?;
        let mut left = payloads;
        for event in &mut events {
            match event {
                Event::Pushed { count, payloads, .. } => {
                    let (mine, others) =
                        left.split_at_checked(*count as usize).ok_or(Mismatch("a payload"))?;
                    *payloads = mine;
                    left = others;
                }
                Event::Replaced { payload, .. } => {
                    let (mine, others) = left.split_first().ok_or(Mismatch("a payload"))?;
                    *payload = mine;
                    left = others;
                }
                _ => {}
            }
        }
        ensure(left.is_empty(), "a push for each payload")?;
        Ok(events)
    }
}
