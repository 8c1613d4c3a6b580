//! Checksums of what is written to an AOF, which has none of its own: a byte that changed there is noticed.
//!
//! A checksum is the CRC-32 of zlib over the words of one command, the name of the queue among them. It notices damage.
//! It is no protection from forgers: they can compute it too.

use crc32fast::Hasher;

use crate::invalid::Invalid;

/// The checksum of words, in the order in which they are added.
#[derive(Debug, Default)]
pub(super) struct Checksum(Hasher);

/// What words lack whose checksum is another one.
pub(super) const DAMAGED: Invalid =
    Invalid("the checksum that was computed when it was written: it is damaged");

impl Checksum {
    /// Adds a word, after its length in four bytes: words that are cut elsewhere have another checksum. Of an enormous
    /// word, the length counts modulo 4 GiB.
    pub fn add(&mut self, word: &[u8]) {
        self.0.update(&(word.len() as u32).to_le_bytes());
        self.0.update(word);
    }

    /// The checksum of what was added.
    pub fn bytes(self) -> [u8; 4] {
        self.0.finalize().to_le_bytes()
    }
}
