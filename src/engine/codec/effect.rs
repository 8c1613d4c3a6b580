//! Bytes ⇄ events: what replicas and the AOF get of a change.
//!
//! An effect is a version byte, its number in the queue's history, the instant of the change on the queue's clock, and
//! events one after the other (MessagePack, fields by place). Versions only grow, and old ones stay readable: before
//! version 3 an effect had neither number nor instant.

use crate::event::Event;
use crate::invalid::{Invalid, ensure};
use crate::pack::decode;
use crate::time::Millis;

/// The version of effects.
pub const EFFECT_VERSION: u8 = 3;

/// An effect: what happened to one queue in one step, as replicas and the AOF get it.
#[derive(Debug, Default)]
pub struct Effect {
    /// Version, number, instant, the head of a MessagePack array, and as many events as `events`.
    bytes: Vec<u8>,
    events: u32,
}

/// An effect that came.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its number in the queue's history and the instant of the change on the queue's clock; `None` before version 3.
    pub stamp: Option<(u64, Millis)>,
    /// What happened, in order.
    pub events: Vec<Event<'a>>,
}

/// MessagePack's mark of an array whose length follows in four bytes.
const ARRAY32: u8 = 0xdd;
/// Where the number of events stands.
const LENGTH: std::ops::Range<usize> = 14..HEAD_BYTES;
/// The version, six bytes each of the number and the instant, the mark of the array and its length.
const HEAD_BYTES: usize = 18;

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
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        self.events += 1;
        // Writing numbers, bytes and names to a vector can't fail.
        let _ = rmp_serde::encode::write(&mut self.bytes, event);
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Ends the effect: the bytes to send, empty where nothing happened. `number` is what [`crate::Queue::count_effect`]
    /// gave, `at` the instant on the queue's clock.
    pub fn seal(&mut self, number: u64, at: Millis) -> &[u8] {
        if let Some(head) = self.bytes.first_chunk_mut::<HEAD_BYTES>() {
            head[0] = EFFECT_VERSION;
            head[1..7].copy_from_slice(&number.to_be_bytes()[2..]);
            head[7..13].copy_from_slice(&at.0.to_be_bytes()[2..]);
            head[13] = ARRAY32;
            head[LENGTH].copy_from_slice(&self.events.to_be_bytes());
        }
        &self.bytes
    }

    /// Reads the bytes of an effect, with the payloads that came beside them.
    pub fn decode<'a>(bytes: &'a [u8], payloads: &'a [&'a [u8]]) -> Result<Received<'a>, Invalid> {
        let (&version, mut rest) = bytes.split_first().ok_or(Invalid("an effect"))?;
        ensure((1..=EFFECT_VERSION).contains(&version), "a known version")?;
        let mut stamp = None;
        if version >= 3 {
            let number = six_bytes(&mut rest).ok_or(Invalid("a number"))?;
            let at = six_bytes(&mut rest).ok_or(Invalid("an instant"))?;
            stamp = Some((number, Millis(at)));
        }
        let mut events: Vec<Event> = decode(rest).ok_or(Invalid("events that are known"))?;
        let mut left = payloads;
        for event in &mut events {
            match event {
                Event::Pushed { count, payloads, .. } => {
                    let (mine, others) =
                        left.split_at_checked(*count as usize).ok_or(Invalid("a payload"))?;
                    *payloads = mine;
                    left = others;
                }
                Event::Replaced { payload, .. } => {
                    let (mine, others) = left.split_first().ok_or(Invalid("a payload"))?;
                    *payload = mine;
                    left = others;
                }
                _ => {}
            }
        }
        ensure(left.is_empty(), "a push for each payload")?;
        Ok(Received { stamp, events })
    }
}

/// Takes a number of six bytes, the highest first.
fn six_bytes(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, behind) = rest.split_first_chunk::<6>()?;
    *rest = behind;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
