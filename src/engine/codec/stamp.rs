//! Stamps of clocks as a command carries them to replicas and the AOF: MessagePack behind a checksum.

use super::checksum::{open, seal};
use crate::invalid::{Invalid, ensure};
use crate::pack::{decode, encode};
use crate::time::Stamp;

impl Stamp {
    /// The word that carries the stamp.
    pub fn seal(&self) -> Vec<u8> {
        seal(&[], &encode(self))
    }

    /// Reads a stamp; older versions sent it without a checksum. Errors: it is damaged, or no queue could store it.
    pub fn open(word: &[u8]) -> Result<Stamp, Invalid> {
        let stamp: Stamp = decode(open(&[], word)?.unwrap_or(word)).ok_or(Invalid("the time of a clock"))?;
        ensure(stamp.is_valid(), "a time in bounds")?;
        Ok(stamp)
    }
}
