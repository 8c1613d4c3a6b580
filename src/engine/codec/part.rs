//! The parts of a stored queue as commands carry them, for an AOF without RDB preamble and for moving slots.

use super::checksum::{open, seal};
use crate::invalid::Invalid;
use crate::varint;

/// A part of a stored queue: a chunk of [`crate::State::save`], or what says that no more follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// How many parts come before it. `None` if an older version wrote it: then it had no checksum either.
    pub number: Option<u64>,
    /// The chunk.
    pub chunk: &'a [u8],
}

impl<'a> Part<'a> {
    /// The word that carries part `number`, with a checksum of it, of the queue's name, and of the word that says what
    /// kind of part it is.
    pub fn seal(name: &[u8], kind: &[u8], number: u64, chunk: &[u8]) -> Vec<u8> {
        let mut content = Vec::with_capacity(chunk.len() + varint::len(number));
        varint::put(&mut content, number);
        content.extend_from_slice(chunk);
        seal(&[name, kind], &content)
    }

    /// Reads the word that came with this name and kind. Errors: one of the three has changed since it was written.
    pub fn open(name: &[u8], kind: &[u8], word: &'a [u8]) -> Result<Part<'a>, Invalid> {
        let Some(mut chunk) = open(&[name, kind], word)? else {
            return Ok(Part { number: None, chunk: word });
        };
        let number = varint::get(&mut chunk).ok_or(Invalid("the number of a part"))?;
        Ok(Part { number: Some(number), chunk })
    }
}
