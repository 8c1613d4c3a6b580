//! Hash slots of Redis Cluster, and for each slot the shortest hash tag that lies in it.
//!
//! The slot of a key is CRC16 (XMODEM) of the key, or of its hash tag, mod 16384: Redis Cluster specification,
//! "Key distribution model".

use std::sync::LazyLock;

use crc16::{State, XMODEM};

/// How many slots there are.
pub const SLOTS: u16 = 16384;

const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// By slot: the shortest tag of 0-9a-z, the first in that order.
static TAGS: LazyLock<Vec<Box<[u8]>>> = LazyLock::new(|| {
    let mut tags = vec![Box::<[u8]>::default(); usize::from(SLOTS)];
    let mut missing = usize::from(SLOTS);
    let mut words: Vec<Vec<u8>> = vec![Vec::new()];
    while missing > 0 {
        let longer =
            |word: &Vec<u8>| ALPHABET.iter().map(|&last| [&word[..], &[last]].concat()).collect::<Vec<_>>();
        words = words.iter().flat_map(longer).collect();
        for word in &words {
            if let Some(tag) = tags.get_mut(usize::from(crc(word))).filter(|tag| tag.is_empty()) {
                *tag = word.as_slice().into();
                missing -= 1;
            }
        }
    }
    tags
});

fn crc(bytes: &[u8]) -> u16 {
    State::<XMODEM>::calculate(bytes) % SLOTS
}

/// The slot of a key.
pub fn of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|&byte| byte == b'}').filter(|&close| close > 0)?;
        rest.get(..close)
    });
    crc(tag.unwrap_or(key))
}

/// The shortest hash tag that lies in a slot. The table is built once, in some milliseconds.
pub fn tag(slot: u16) -> &'static [u8] {
    TAGS.get(usize::from(slot % SLOTS)).map_or(&[], |tag| tag)
}
