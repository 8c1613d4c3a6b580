//! Hash slots of Redis Cluster, the hash tag of each slot, and the slots of shards.
//!
//! The slot of a key is CRC16 (XMODEM) of the key, or of its hash tag, mod 16384: Redis Cluster specification,
//! "Key distribution model".

use crc16::{State, XMODEM};
use lazy_static::lazy_static;

/// The number of slots in a cluster.
pub const SLOTS: u16 = 16384;

lazy_static! {
    /// The tag of each slot: the shortest of the characters 0-9a-z, and the first in that order if there are several.
    static ref TAGS: Vec<Box<[u8]>> = shortest_tags();
}

/// Tries words in order until each slot has one. That takes about 60,000 words of up to four letters.
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

/// Advances to the next word of the same length, or from the last one to the first that is longer.
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

/// The slot of a key. It is the slot of the text between the first `{` and the next `}` if there is such a text and it isn't
/// empty, otherwise of the whole key.
pub fn of_key(key: &[u8]) -> u16 {
    slot_of_tag(hash_tag(key).unwrap_or(key))
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|&byte| byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// The hash tag of a slot. The first call computes the table of all tags, which takes some milliseconds.
pub fn tag(slot: u16) -> &'static [u8] {
    TAGS.get(usize::from(slot % SLOTS)).map_or(&[], |tag| tag)
}

/// The slot of shard `nth`: the 14 bits of its number in reverse order. The first 2^k shards are spread evenly over the slots,
/// any other number of shards nearly so. The slot of a shard does not depend on the number of shards.
pub fn of_shard(nth: u16) -> u16 {
    nth.reverse_bits() >> (u16::BITS - SLOTS.trailing_zeros())
}
