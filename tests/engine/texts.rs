//! Ids and handles as texts, headers as bytes, and arithmetic of instants. What is displayed can be parsed again, and
//! no other text can.

use proptest::prelude::*;
use taskslot_engine::{Due, Grace, Handle, Headers, LeaseNumber, Millis, Now, SPAN_MAX_MS, TaskId};

fn extremes() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..20,
        Just(u64::MAX),
        Just(1 << 53),
        Just((1 << 48) - 1),
        Just(i64::MAX as u64)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_id_reads_back(ms in extremes(), seq in extremes()) {
        let id = TaskId { ms, seq };
        prop_assert_eq!(TaskId::parse(id.to_string().as_bytes()), Some(id));
    }

    #[test]
    fn a_handle_reads_back(ms in extremes(), seq in extremes(), number in extremes(), nonce: u32) {
        let handle = Handle { id: TaskId { ms, seq }, lease: LeaseNumber(number), nonce };
        prop_assert_eq!(Handle::parse(handle.to_string().as_bytes()), Some(handle));
    }

    #[test]
    fn a_parsed_handle_is_displayed_as_it_was(text in "[0-9a-f@-]{0,40}|[0-9]{1,5}-[0-9]{1,3}@[0-9]{1,4}-[0-9a-fA-F]{8}") {
        if let Some(handle) = Handle::parse(text.as_bytes()) {
            prop_assert_eq!(handle.to_string(), text);
        }
    }

    #[test]
    fn a_parsed_id_is_displayed_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..30), text in "[0-9+ -]{0,25}") {
        prop_assert_eq!(TaskId::parse(&bytes).map(|id| id.to_string().into_bytes()), TaskId::parse(&bytes).map(|_| bytes.clone()));
        if let Some(id) = TaskId::parse(text.as_bytes()) {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn headers_read_back(pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)), 0..64)) {
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let packed = Headers::pack(&pairs);
        prop_assert_eq!(Headers(&packed).pairs(), pairs);
    }

    #[test]
    fn damaged_headers_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        Headers(&bytes).pairs();
    }

    #[test]
    fn instants_never_overflow(at in extremes(), wall in extremes(), due in extremes(), span in extremes()) {
        prop_assert!(Millis(at).plus(span) <= Millis::MAX);
        prop_assert_eq!(Millis(at).since(Millis(at)), 0);
        let grace = Some(Grace { from: Millis(due), to: Millis(wall), until: Millis(span) });
        for grace in [None, grace] {
            let now = Now { at: Millis(at), wall: Millis(wall), grace, is_full: false, lead_us: 0 };
            prop_assert!(!now.is_over(Millis(due)) || due <= at);
            prop_assert_eq!(Due::Clock(Millis(due)).on_clock(&now), Millis(due));
            Due::Wall(Millis(due)).on_clock(&now);
        }
    }
}

#[test]
fn hostile_texts_are_not_ids() {
    for text in [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "--1",
        "1--1",
        "1-1-1",
        "01-1",
        "1-01",
        "00-0",
        "+1-1",
        "1-+1",
        " 1-1",
        "1-1 ",
        "1-1\n",
        "1_0-1",
        "0x1-1",
        "1e3-1",
        "1.0-1",
        "18446744073709551616-0",
        "0-18446744073709551616",
        "99999999999999999999999-0",
        "\u{661}-1",
        "1-1\0",
        "\u{2212}1-1",
        "1\u{2013}1",
        "*",
        "nan-nan",
    ] {
        assert_eq!(TaskId::parse(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(TaskId::parse(b"\xff\xfe-1"), None);
    assert_eq!(TaskId::parse(&[b'1'; 1 << 20]), None);
}

#[test]
fn hostile_texts_are_not_handles() {
    for text in [
        "",
        "@",
        "1-1",
        "1-1@",
        "1-1@1",
        "1-1@1-",
        "1-1@1-1234567",
        "1-1@1-123456789",
        "1-1@1-0000000G",
        "1-1@1-ABCDEF12",
        "1-1@01-00000000",
        "1-1@-00000000",
        "1-1@@1-00000000",
        "1-1@1-+0000000",
        "1-1@1-0x000000",
        "1-1@1- 0000000",
        "1@1-00000000",
        "@1-00000000",
        "1-1@18446744073709551616-00000000",
        "1-1@1-00000000 ",
        "1-1@1-0000000\u{e9}",
    ] {
        assert_eq!(Handle::parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn the_last_id_of_a_millisecond_has_no_next() {
    assert_eq!(TaskId { ms: 1, seq: u64::MAX }.nth(1), None);
    assert_eq!(TaskId { ms: 1, seq: 0 }.nth(u64::MAX), Some(TaskId { ms: 1, seq: u64::MAX }));
}

#[test]
fn the_longest_span_from_now_is_an_instant_that_can_be_stored() {
    assert!(Millis(4_000_000_000_000).plus(SPAN_MAX_MS as u64) < Millis::MAX);
}
