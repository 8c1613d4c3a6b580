//! What clients remember: the handles that they got, wherever that was.

use taskslot_engine::Handle;

use super::message::Name;
use crate::dice::Dice;

/// How many of the last handles are used again.
const REMEMBERED: usize = 12;

#[derive(Default)]
pub struct Workers {
    handles: Vec<(Name, Handle)>,
    pushes: u64,
}

impl Workers {
    pub fn get(&mut self, queue: Name, handle: Handle) {
        self.handles.push((queue, handle));
    }

    /// One of the last handles, and its queue; sometimes a damaged one, or one of long ago.
    pub fn handle(&self, dice: &mut Dice) -> Option<(Name, Handle)> {
        let reach = if dice.below(8) == 0 { usize::MAX } else { REMEMBERED };
        let reach = reach.min(self.handles.len());
        let back = dice.below(reach as u64) as usize + 1;
        let (queue, mut handle) = *self.handles.get(self.handles.len().checked_sub(back)?)?;
        match dice.below(40) {
            0 => handle.nonce ^= 1,
            1 => handle.lease.0 -= 1,
            _ => {}
        }
        Some((queue, handle))
    }

    /// A payload that no other push has.
    pub fn payload(&mut self) -> Vec<u8> {
        self.pushes += 1;
        format!("push {}", self.pushes).into_bytes()
    }
}
