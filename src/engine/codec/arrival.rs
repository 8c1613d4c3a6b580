//! How a queue came to a node on its own, as its primary tells it to replicas and the AOF.

use serde::{Deserialize, Serialize};

use crate::bounds::CLOCK_OFFSET_MAX_MS;
use crate::pack::{decode, encode_named};
use crate::time::Stamp;

/// A chunk with what the clocks of the saving node showed; since version 3.
pub(crate) const CLOCKS: u8 = b'k';
/// A chunk with an [`Arrival`]. Only commands carry it.
pub(crate) const ARRIVAL: u8 = b'n';

/// A queue came to this node from another one, with a slot that moved here. The node puts this chunk in the place of the
/// one with the other node's clocks. So its replicas and its AOF neither take those for its own clocks, nor compute another
/// offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// What the clocks of the other node showed when the queue was written.
    #[serde(rename = "w")]
    pub written: Stamp,
    /// What the clocks of this node showed when that came here.
    #[serde(rename = "h")]
    pub here: Stamp,
    /// How far the queue's clock is ahead of this node's, in ms, at most 2^41 in either direction.
    #[serde(rename = "o")]
    pub offset_ms: i64,
}

impl Arrival {
    /// The chunk that says this.
    pub fn chunk(&self) -> Vec<u8> {
        [&[ARRIVAL], &encode_named(self)[..]].concat()
    }

    /// Reads what [`Arrival::chunk`] wrote. `None` if it is another chunk, or out of bounds.
    pub fn open(bytes: &[u8]) -> Option<Arrival> {
        let (&ARRIVAL, arrival) = bytes.split_first()? else { return None };
        decode(arrival).filter(Arrival::is_valid)
    }

    fn is_valid(&self) -> bool {
        let offset_ms = self.offset_ms.unsigned_abs();
        self.written.is_valid() && self.here.is_valid() && offset_ms <= CLOCK_OFFSET_MAX_MS.unsigned_abs()
    }

    /// The clocks of the node that this chunk of a queue comes from, and how far the queue's clock was ahead of that
    /// node's; `stored_ms` is what the head of the queue says. `None` if the chunk does not show the clocks.
    pub fn source(bytes: &[u8], stored_ms: i64) -> Option<(Stamp, i64)> {
        match bytes.split_first()? {
            (&CLOCKS, clocks) => Some((decode(clocks).filter(Stamp::is_valid)?, stored_ms)),
            _ => Arrival::open(bytes).map(|arrival| (arrival.here, arrival.offset_ms)),
        }
    }
}
