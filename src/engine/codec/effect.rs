//! Effects: the bytes that tell replicas and the AOF what happened to a queue.
//!
//! An effect is a version byte, its number in the queue's history, the instant of the change on the queue's clock, and
//! one or more events (MessagePack, fields by position). Versions only grow, and old ones stay readable. Before version
//! 3 an effect had neither number nor instant.

use crate::event::Event;
use crate::invalid::{Invalid, ensure};
use crate::pack::decode;
use crate::time::Millis;

/// The version of the effects that this build writes.
pub const EFFECT_VERSION: u8 = 3;

/// An effect to be sent: what happened to one queue in one step.
///
/// Add the events in order, then [`Effect::seal`] it. The payloads of pushes are not part of the bytes: they travel
/// beside them in the same order, so that the server can pass on its own strings without a copy.
#[derive(Debug, Default)]
pub struct Effect {
    /// The head (see [`HEAD_BYTES`]) and the encoded events.
    bytes: Vec<u8>,
    events: u32,
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

/// MessagePack's marker of an array whose length follows in four bytes.
const ARRAY32: u8 = 0xdd;
/// Where the number of events is written.
const LENGTH: std::ops::Range<usize> = 14..HEAD_BYTES;
/// The version, six bytes each for the number and the instant, the marker of the array and its length.
const HEAD_BYTES: usize = 18;

impl Effect {
    /// An empty effect that reuses a buffer.
    pub fn reusing(mut bytes: Vec<u8>) -> Effect {
        bytes.clear();
        Effect { bytes, events: 0 }
    }

    /// The buffer, for [`Effect::reusing`].
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an event. The payloads of a push or a replacement are not included.
    pub fn add(&mut self, event: &Event) {
        if self.events == 0 {
            self.bytes.reserve(96);
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        self.events += 1;
        // Writing numbers, bytes and names to a vector can't fail.
        let _ = rmp_serde::encode::write(&mut self.bytes, event);
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Finishes the effect and returns the bytes to send; empty without events. `number` comes from
    /// [`crate::Queue::count_effect`], `at` is the instant of the change on the queue's clock.
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

    /// Decodes an effect, given the payloads that came beside it. Errors: it is damaged or newer than this build, or
    /// has not as many payloads as it needs.
    pub fn decode<'a>(bytes: &'a [u8], payloads: &'a [&'a [u8]]) -> Result<Received<'a>, Invalid> {
        let (&version, mut rest) = bytes.split_first().ok_or(Invalid("an effect"))?;
        ensure((1..=EFFECT_VERSION).contains(&version), "a known version")?;
        let mut stamp = None;
        if version >= 3 {
            let number = six_bytes(&mut rest).ok_or(Invalid("a number"))?;
            let at = six_bytes(&mut rest).ok_or(Invalid("an instant"))?;
            stamp = Some((number, Millis(at)));
        }
        let mut events: Vec<Event> = decode(rest).ok_or(Invalid("known events"))?;
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
        ensure(left.is_empty(), "an event for each payload")?;
        Ok(Received { stamp, events })
    }
}

/// Takes a number of six bytes, big endian, off the front.
fn six_bytes(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, behind) = rest.split_first_chunk::<6>()?;
    *rest = behind;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
