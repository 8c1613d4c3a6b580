//! The slots of keys and shards, and the tags of slots.

use std::collections::BTreeSet;

use taskslot_node::slots::{SLOTS, of_key, of_shard, tag};

#[test]
fn keys_have_the_slots_that_servers_give_them() {
    // The replies of CLUSTER KEYSLOT.
    let known: [(&[u8], u16); 6] = [
        (b"", 0),
        (b"123456789", 0x31c3),
        (b"foo", 12182),
        (b"bar", 5061),
        (b"hello", 866),
        (b"somekey", 11058),
    ];
    for (key, slot) in known {
        assert_eq!(of_key(key), slot, "{}", key.escape_ascii());
    }
}

#[test]
fn only_the_hash_tag_decides_the_slot() {
    for key in ["{user1000}.following", "a{user1000}", "x{user1000}}{y}", "{user1000}{other}"] {
        assert_eq!(of_key(key.as_bytes()), of_key(b"user1000"), "{key}");
    }
    assert_eq!(of_key(b"foo{{bar}}zap"), of_key(b"{bar"), "the tag begins after the first brace");
}

#[test]
fn an_empty_or_unclosed_tag_does_not_count() {
    let whole = |key: &[u8]| crc16::State::<crc16::XMODEM>::calculate(key) % SLOTS;
    for key in [&b"foo{}{bar}"[..], b"{}", b"foo{bar", b"foo}bar{", b"}{", b"{"] {
        assert_eq!(of_key(key), whole(key), "{}", key.escape_ascii());
    }
}

#[test]
fn each_slot_has_a_tag_of_its_own() {
    let mut tags = BTreeSet::new();
    for slot in 0..SLOTS {
        let tag = tag(slot);
        assert!(tag.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
        assert!((1..=4).contains(&tag.len()), "slot {slot}");
        assert_eq!(of_key(tag), slot);
        assert_eq!(of_key(&[b"queue:{", tag, b"}"].concat()), slot);
        assert!(tags.insert(tag), "slot {slot}");
    }
    assert_eq!(tag(SLOTS), tag(0));
}

#[test]
fn each_tag_is_the_first_of_the_shortest() {
    // The names of shards never change, so the tags must not either. Each is the first word, in order, that has its slot.
    let letters = || (b'0'..=b'9').chain(b'a'..=b'z');
    let mut first = vec![Vec::new(); usize::from(SLOTS)];
    let ones = letters().map(|a| vec![a]);
    let twos = letters().flat_map(|a| letters().map(move |b| vec![a, b]));
    let threes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| vec![a, b, c])));
    for word in ones.chain(twos).chain(threes) {
        let slot = usize::from(of_key(&word));
        if first[slot].is_empty() {
            first[slot] = word;
        }
    }
    for (slot, word) in (0..SLOTS).zip(first) {
        assert!(word == tag(slot) || (word.is_empty() && tag(slot).len() == 4), "slot {slot}");
    }
}

#[test]
fn shards_are_spread_evenly_over_different_slots() {
    assert_eq!([0, 1, 2, 3].map(of_shard), [0, 8192, 4096, 12288]);
    for bits in 0..=14 {
        let count = 1u16 << bits;
        let mut slots: Vec<u16> = (0..count).map(of_shard).collect();
        slots.sort_unstable();
        let even: Vec<u16> = (0..count).map(|nth| nth * (SLOTS / count)).collect();
        assert_eq!(slots, even, "{count} shards");
    }
}
