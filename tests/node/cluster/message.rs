//! What a primary sends to its replicas; files contain the same. Beside the bytes goes what the judge knows of them,
//! which no node looks at.

use std::fmt;
use std::rc::Rc;

use taskslot_engine::{Effect, Now, Stamp};

use super::ledger::Ledger;

/// The name of which effects carry the checksum. Queues are told apart by their numbers here.
pub const NAME: &[u8] = b"queue";

/// The number of a queue's name.
pub type Name = usize;

/// A change of a queue on a primary, as the judge knows it.
#[derive(Clone, Copy)]
pub struct Commit {
    /// Its number among all changes of all queues.
    pub id: u64,
    /// When it was made, in true time.
    pub t: u64,
    pub now: Now,
    /// The node's promotion.
    pub tenure: u64,
    /// The reign in the judge's list to which the change belongs.
    pub reign: usize,
}

pub enum Message {
    Effect { queue: Name, bytes: Vec<u8>, payloads: Vec<Vec<u8>>, commit: Commit },
    Restored { queue: Name, dump: Rc<Dump>, head: u64 },
    Deleted { queue: Name },
    Clock { stamp: Stamp, t: u64 },
}

/// A queue in its stored form.
pub struct Dump {
    pub chunks: Vec<Vec<u8>>,
    pub ledger: Rc<Ledger>,
    /// Its last change.
    pub head: u64,
    /// When it was stored.
    pub t: u64,
}

/// For stories.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Effect { bytes, payloads, commit, .. } => {
                let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                let effect = Effect::decode(NAME, bytes, &payloads).map_err(|_| fmt::Error)?;
                write!(f, "    change {}", commit.id)?;
                effect.events.iter().try_for_each(|event| write!(f, "\n                    {event:?}"))
            }
            Message::Restored { head, .. } => write!(f, "    change {head}: RESTORE"),
            Message::Deleted { .. } => write!(f, "    DEL"),
            Message::Clock { stamp, .. } => write!(f, "    {stamp:?}"),
        }
    }
}
