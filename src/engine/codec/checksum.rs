//! Checksums of what is written to an AOF, which has none of its own: a byte that changed there is noticed.
//!
//! A checksum is the CRC-32 of zlib over the words of one command, the name of the queue among them. It notices damage.
//! It is no protection from forgers: they can compute it too.

use crc32fast::Hasher;

use crate::invalid::{Invalid, ensure};

/// The checksum of words, in the order in which they are added.
#[derive(Debug, Default)]
pub(super) struct Checksum(Hasher);

/// What words lack whose checksum is another one. The queue's name is among them, and can be the word that changed.
pub(super) const DAMAGED: Invalid = Invalid(
    "the checksum that was computed when it was written: it is damaged, and may belong to another queue",
);

/// Begins a word that carries its checksum. No word of an older version begins with it, so none is mistaken for another.
/// One whose mark has changed in a bit is not valid in an older form either.
const MARK: u8 = 0xc1;

impl Checksum {
    /// Adds a word, after its length in four bytes: words that are cut elsewhere have another checksum. Of an enormous
    /// word, the length counts modulo 4 GiB.
    pub fn add(&mut self, word: &[u8]) {
        self.0.update(&length(word.len()));
        self.0.update(word);
    }

    /// The checksum of what was added.
    pub fn bytes(self) -> [u8; 4] {
        self.0.finalize().to_le_bytes()
    }
}

/// The checksum of words of which most are small: they are gathered behind what a buffer holds, because one computation
/// costs less than one for each of them.
pub(super) struct Gathered<'b> {
    checksum: Checksum,
    buffer: &'b mut Vec<u8>,
    /// What the buffer held before.
    front: usize,
}

/// A larger word is not copied.
const SMALL: usize = 1024;
/// The most bytes that are gathered.
const GATHERED: usize = 16 * 1024;

impl<'b> Gathered<'b> {
    /// Gathers words behind what this buffer holds, which stays as it is.
    pub fn behind(buffer: &'b mut Vec<u8>) -> Gathered<'b> {
        Gathered { checksum: Checksum::default(), front: buffer.len(), buffer }
    }

    /// Adds a word.
    pub fn add(&mut self, word: &[u8]) {
        self.buffer.extend_from_slice(&length(word.len()));
        if word.len() <= SMALL {
            self.buffer.extend_from_slice(word);
        } else {
            self.compute();
            self.checksum.0.update(word);
        }
        if self.buffer.len() - self.front > GATHERED {
            self.compute();
        }
    }

    /// Adds what the buffer held before, as a word.
    pub fn add_front(&mut self) {
        self.buffer.extend_from_slice(&length(self.front));
        if self.front <= SMALL {
            self.buffer.extend_from_within(..self.front);
        } else {
            self.compute();
            self.checksum.0.update(&self.buffer[..self.front]);
        }
    }

    /// The checksum of what was added.
    pub fn bytes(mut self) -> [u8; 4] {
        self.compute();
        self.checksum.bytes()
    }

    fn compute(&mut self) {
        self.checksum.0.update(&self.buffer[self.front..]);
        self.buffer.truncate(self.front);
    }
}

fn length(bytes: usize) -> [u8; 4] {
    (bytes as u32).to_le_bytes()
}

fn of(beside: &[&[u8]], content: &[u8]) -> [u8; 4] {
    let mut checksum = Checksum::default();
    beside.iter().for_each(|word| checksum.add(word));
    checksum.add(content);
    checksum.bytes()
}

/// The word that carries `content`: a mark, the checksum of the words beside it and of `content`, and `content`.
pub(super) fn seal(beside: &[&[u8]], content: &[u8]) -> Vec<u8> {
    [&[MARK], &of(beside, content)[..], content].concat()
}

/// What [`seal`] put into this word; `None` if it carries no checksum, because an older version wrote it. Errors: it,
/// or one of the words beside it, has changed.
pub(super) fn open<'a>(beside: &[&[u8]], word: &'a [u8]) -> Result<Option<&'a [u8]>, Invalid> {
    let Some(sealed) = word.strip_prefix(&[MARK]) else { return Ok(None) };
    let (found, content) = sealed.split_first_chunk().ok_or(DAMAGED)?;
    ensure(of(beside, content) == *found, DAMAGED.0)?;
    Ok(Some(content))
}
