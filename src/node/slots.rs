//! Hash slots of Redis Cluster, for each slot the shortest hash tag that lies in it, and the slots of shards.
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
    for length in 1.. {
        let mut digits = vec![0; length];
        loop {
            let word: Vec<u8> =
                digits.iter().filter_map(|&digit: &usize| ALPHABET.get(digit).copied()).collect();
            if let Some(tag) = tags.get_mut(usize::from(crc(&word))).filter(|tag| tag.is_empty()) {
                *tag = word.into();
                missing -= 1;
            }
            if missing == 0 {
                return tags;
            }
            if !count_up(&mut digits) {
                break;
            }
        }
    }
    tags
});

/// The next word of the same length, as digits of the alphabet; false after the last.
fn count_up(digits: &mut [usize]) -> bool {
    for digit in digits.iter_mut().rev() {
        *digit += 1;
        if *digit < ALPHABET.len() {
            return true;
        }
        *digit = 0;
    }
    false
}

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

/// The slot of the shard with this number: its 14 bits in reverse. So any first 2^k shards lie evenly in the slots, any
/// others nearly so, and no number of shards changes the slot of one.
pub fn of_shard(nth: u16) -> u16 {
    nth.reverse_bits() >> (u16::BITS - SLOTS.trailing_zeros())
}
