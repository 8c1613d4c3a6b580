//! Hash slots of Redis Cluster, the shortest hash tag of each slot, and the slots of shards.
//!
//! The slot of a key is CRC16 (XMODEM) of the key, or of its hash tag, mod 16384: Redis Cluster specification,
//! "Key distribution model".

use crc16::{State, XMODEM};
use lazy_static::lazy_static;

/// How many slots there are.
pub const SLOTS: u16 = 16384;

lazy_static! {
    /// By slot: the shortest tag of 0-9a-z, and of several the first in that order.
    static ref TAGS: Vec<Box<[u8]>> = shortest_tags();
}

/// Tries the words in their order until each slot has one: some 60,000 of them, none longer than four letters.
fn shortest_tags() -> Vec<Box<[u8]>> {
    let mut tags = vec![Box::<[u8]>::default(); usize::from(SLOTS)];
    let mut missing = tags.len();
    let mut word = vec![b'0'];
    while missing > 0 {
        let slot = usize::from(slot_of_tag(&word));
        if let Some(tag) = tags.get_mut(slot).filter(|tag| tag.is_empty()) {
            *tag = word.as_slice().into();
            missing -= 1;
        }
        next_word(&mut word);
    }
    tags
}

/// The next word of the same length; after the last one the first that is longer.
fn next_word(word: &mut Vec<u8>) {
    for letter in word.iter_mut().rev() {
        *letter = match *letter {
            b'z' => b'0',
            b'9' => b'a',
            other => other + 1,
        };
        if *letter != b'0' {
            return;
        }
    }
    word.push(b'0');
}

fn slot_of_tag(tag: &[u8]) -> u16 {
    State::<XMODEM>::calculate(tag) % SLOTS
}

/// The slot of a key: that of what is between its first `{` and the next `}`, if there is anything, else of the whole key.
pub fn of_key(key: &[u8]) -> u16 {
    slot_of_tag(hash_tag(key).unwrap_or(key))
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|&byte| byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// The shortest hash tag of a slot. The first call builds the table, which takes some milliseconds.
pub fn tag(slot: u16) -> &'static [u8] {
    TAGS.get(usize::from(slot % SLOTS)).map_or(&[], |tag| tag)
}

/// The slot of the shard with this number: its 14 bits in reverse. So the first 2^k shards are spread evenly over the slots,
/// and any other number of them nearly so. A shard keeps its slot, however many others there are.
pub fn of_shard(nth: u16) -> u16 {
    nth.reverse_bits() >> (u16::BITS - SLOTS.trailing_zeros())
}
