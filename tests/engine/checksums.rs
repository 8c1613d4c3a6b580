//! Parts of queues and stamps of clocks carry a checksum: a bit that changed in them, or in what is beside them, is
//! noticed. Older ones have none and are read as they are. `effects` has the same of effects.

use taskslot_engine::{Invalid, Part, Stamp};

use crate::copies::{NAME, save};
use crate::properties::bits_of;
use crate::sample::live;

const STAMP: Stamp = Stamp {
    at_us: 1_700_000_000_000_000,
    wall_us: 1_700_000_000_005_000,
    boot: 7,
    up_us: 9,
    lead_us: 1 << 36,
};

#[test]
fn a_part_with_a_flipped_bit_is_refused() {
    for (number, chunk) in save(&live(&mut |_, _| {})).iter().enumerate() {
        let kind: &[u8] = if number == 0 { b"HEAD" } else { b"MORE" };
        let mut words = [NAME.to_vec(), kind.to_vec(), Part::seal(NAME, kind, number as u64, chunk)];
        let opened = Part::open(&words[0], &words[1], &words[2]).unwrap();
        assert_eq!(opened, Part { number: Some(number as u64), chunk });
        for word in 0..words.len() {
            for (byte, bit) in (0..words[word].len()).flat_map(bits_of) {
                words[word][byte] ^= 1 << bit;
                let opened = Part::open(&words[0], &words[1], &words[2]);
                // Without its mark it is taken for a part of an older version. No queue has such a part.
                let is_marked = word != 2 || byte != 0;
                assert_eq!(opened.is_err(), is_marked, "word {word}, byte {byte}, bit {bit}");
                let unmarked = opened.map_or(&[][..], |part| part.chunk);
                assert!(is_marked || is_refused(number == 0, unmarked), "bit {bit} of the mark");
                words[word][byte] ^= 1 << bit;
            }
        }
    }
}

/// Whether a queue refuses this chunk: as its head, or as one after its head.
fn is_refused(is_head: bool, chunk: &[u8]) -> bool {
    if is_head {
        return taskslot_engine::Queue::load_head(chunk).is_err();
    }
    let head = &save(&live(&mut |_, _| {}))[0];
    taskslot_engine::Queue::load_head(head).unwrap().load_chunk(chunk).is_err()
}

#[test]
fn a_part_of_an_older_version_is_read_as_it_is() {
    for chunk in [&b"p\x01"[..], b"", b"by hand", b"\x8f"] {
        assert_eq!(Part::open(NAME, b"MORE", chunk), Ok(Part { number: None, chunk }));
    }
}

#[test]
fn a_part_that_ends_too_early_is_refused() {
    let sealed = Part::seal(NAME, b"MORE", 300, b"chunk");
    for length in 1..sealed.len() {
        assert!(Part::open(NAME, b"MORE", &sealed[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn a_stamp_with_a_flipped_bit_is_refused() {
    let mut sealed = STAMP.seal();
    assert_eq!(Stamp::open(&sealed), Ok(STAMP));
    for (byte, bit) in (0..sealed.len()).flat_map(bits_of) {
        sealed[byte] ^= 1 << bit;
        assert!(Stamp::open(&sealed).is_err(), "byte {byte}, bit {bit}");
        sealed[byte] ^= 1 << bit;
    }
}

#[test]
fn a_stamp_of_an_older_version_is_read() {
    assert_eq!(Stamp::open(&rmp_serde::to_vec(&STAMP).unwrap()), Ok(STAMP));
    let far = Stamp { wall_us: u64::MAX, ..STAMP };
    assert_eq!(Stamp::open(&rmp_serde::to_vec(&far).unwrap()), Err(Invalid("a time in bounds")));
}
