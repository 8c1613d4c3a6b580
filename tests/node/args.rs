//! Parsing the arguments of a command: what is read, and the errors.

use std::ops::RangeInclusive;

use taskslot_engine::{Handle, LeaseNumber, TaskId};
use taskslot_node::{ArgError, Args, OneOrMany, QueueKey, Shown, parse_integer};

const ANY: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// The arguments of a command, split at blanks, with a name in front.
fn words(text: &str) -> Vec<&[u8]> {
    std::iter::once("COMMAND").chain(text.split_whitespace()).map(str::as_bytes).collect()
}

fn unknown(word: &str, expected: &[&'static str]) -> ArgError {
    ArgError::Unknown(Shown::of(word.as_bytes()), expected.to_vec())
}

#[test]
fn arguments_are_read_from_left_to_right_after_the_commands_name() {
    let words = words("one two three");
    let mut args = Args::new(&words);
    assert_eq!((args.left(), args.next()), (3, Ok(&b"one"[..])));
    assert_eq!(args.take(2), Ok(&words[2..]));
    assert_eq!((args.left(), args.clone().finish()), (0, Ok(())));
    assert_eq!(args.next(), Err(ArgError::TooFew));
}

#[test]
fn no_arguments_are_an_error_not_a_panic() {
    let mut args = Args::<&[u8]>::new(&[]);
    assert_eq!(args.bytes(), Err(ArgError::TooFew));
    assert_eq!(args.take(1), Err(ArgError::TooFew));
    assert_eq!(args.option(&["COUNT"]), Ok(None));
    assert!(!args.word("HANDLES"));
    assert_eq!(args.finish(), Ok(()));
}

#[test]
fn arguments_keep_the_type_that_the_server_gave_them() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct ServersString(u32, &'static str);

    impl AsRef<[u8]> for ServersString {
        fn as_ref(&self) -> &[u8] {
            self.1.as_bytes()
        }
    }

    let came = [ServersString(0, "TASK.PUSH"), ServersString(1, "q"), ServersString(2, "payload")];
    let mut args = Args::new(&came);
    assert_eq!(args.next(), Ok(came[1]));
    assert_eq!(args.clone().bytes(), Ok(&b"payload"[..]));
    assert_eq!(args.take(1), Ok(&came[2..]));
}

#[test]
fn a_missing_value_is_reported_with_its_option() {
    let known = &["COUNT", "LEASE"];
    for text in ["count", "LEASE 5 Count"] {
        let words = words(text);
        let mut args = Args::new(&words);
        let result = loop {
            match args.option(known) {
                Ok(Some(option)) => match args.integer(option, ANY) {
                    Ok(_) => {}
                    Err(wrong) => break Err(wrong),
                },
                other => break other,
            }
        };
        assert_eq!(result, Err(ArgError::NoValue("COUNT")), "{text}");
    }
}

#[test]
fn too_few_arguments_for_a_count_are_reported_with_the_word_before_the_count() {
    let words = words("TASKS 3 a b");
    let mut args = Args::new(&words);
    assert!(args.word("TASKS"));
    assert_eq!(args.number_of("payloads", "TASKS", 1..=9), Ok(3));
    assert_eq!(args.take(3), Err(ArgError::TooFewValues("TASKS")));
    assert_eq!(args.take(usize::MAX), Err(ArgError::TooFewValues("TASKS")));
    assert_eq!(args.left(), 2, "nothing was read");
}

#[test]
fn a_command_can_set_the_word_that_a_missing_value_is_reported_with() {
    let words = words("max-len");
    let mut args = Args::new(&words);
    args.bytes().expect("a name");
    args.after("max-len");
    assert_eq!(args.bytes(), Err(ArgError::NoValue("max-len")));
}

#[test]
fn words_are_recognised_in_any_case() {
    let words = words("hAnDlEs wItHmEtA Start START");
    let mut args = Args::new(&words);
    assert!(args.word("HANDLES"));
    assert_eq!(args.option(&["COUNT", "WITHMETA"]), Ok(Some("WITHMETA")));
    assert_eq!(args.one_of(&["END", "START"]), Ok(1));
    assert!(!args.word("STAR") && !args.word("STARTS"));
    assert!(args.word("start"));
}

#[test]
fn options_come_in_any_order_and_each_at_most_once() {
    let known = &["A", "B", "C"];
    let words = words("c A b a");
    let mut args = Args::new(&words);
    for option in ["C", "A", "B"] {
        assert_eq!(args.option(known), Ok(Some(option)));
    }
    assert_eq!(args.option(known), Err(ArgError::Twice("A")));
}

#[test]
fn a_list_can_have_32_options() {
    let known: Vec<&'static str> = (0..32).map(|nth| &*format!("O{nth}").leak()).collect();
    let words = words("o31 o0 O31");
    let mut args = Args::new(&words);
    assert_eq!(args.option(&known), Ok(Some("O31")));
    assert_eq!(args.option(&known), Ok(Some("O0")));
    assert_eq!(args.option(&known), Err(ArgError::Twice("O31")));
}

#[test]
fn an_unknown_word_is_named_with_the_words_that_were_expected() {
    let words = words("COUNTS");
    let args = Args::new(&words);
    assert_eq!(args.clone().option(&["COUNT"]), Err(unknown("COUNTS", &["COUNT"])));
    let known = ["SET", "RESET"];
    assert_eq!(args.clone().one_of(&known), Err(unknown("COUNTS", &known)));
    assert_eq!(args.finish(), Err(ArgError::TooMany(Shown::of(b"COUNTS"))));
}

#[test]
fn an_unknown_word_is_shown_cut_and_printable() {
    let shown = |bytes: &[u8]| Shown::of(bytes).to_string();
    assert_eq!(shown(b""), "");
    assert_eq!(shown(b"a word ~"), "a word ~");
    assert_eq!(shown(b"\x00\r\n\x1b\x7f\xff"), "??????");
    assert_eq!(shown(&[b'a'; 32]), "a".repeat(32));
    assert_eq!(shown(&[b'a'; 33]), "a".repeat(32) + "...");
}

#[test]
fn a_log_line_names_a_queue_cut_and_printable() {
    let shown = |key: &[u8]| QueueKey::new(3, key).to_string();
    assert_eq!(shown(b"mail:eu"), "queue 'mail:eu' in database 3");
    assert_eq!(shown(b"a\r\nb\x1b\xff"), "queue 'a??b??' in database 3");
    assert_eq!(shown(&[b'a'; 128]), format!("queue '{}' in database 3", "a".repeat(128)));
    assert_eq!(shown(&[b'a'; 1000]), format!("queue '{}...' in database 3", "a".repeat(128)));
}

#[test]
fn numbers_have_the_syntax_of_redis() {
    for (text, number) in [
        ("0", 0),
        ("7", 7),
        ("-7", -7),
        ("10", 10),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(parse_integer(text.as_bytes()), Some(number), "{text}");
    }
    for text in [
        "", "-", "+1", "01", "-01", "00", "-0", " 1", "1 ", "1.0", "1e3", "0x1", "--1", "1\0", "\u{0661}",
        "one",
    ] {
        assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_number_that_does_not_fit_64_bits_is_refused() {
    for text in ["9223372036854775808", "-9223372036854775809", "18446744073709551617", &"9".repeat(5000)] {
        assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_integer(b"\xff\xff"), None);
}

#[test]
fn bounds_are_inclusive() {
    for (text, is_within) in [("0", false), ("1", true), ("1000", true), ("1001", false), ("-1", false)] {
        let words = words(text);
        let count = Args::new(&words).count("COUNT");
        match is_within {
            true => assert_eq!(count.map(|count| count.to_string()), Ok(text.to_owned())),
            false => assert_eq!(count, Err(ArgError::Range("COUNT", 1..=1000))),
        }
    }
    let words = words("-128 1.5");
    let mut args = Args::new(&words);
    assert_eq!(args.integer("PRIORITY", -128..=127), Ok(-128));
    assert_eq!(args.integer("n", ANY), Err(ArgError::Range("n", ANY)));
}

#[test]
fn a_name_has_1_to_256_bytes_of_any_kind() {
    for (length, is_name) in [(0, false), (1, true), (256, true), (257, false)] {
        let name = vec![0xff; length];
        let words = [&b"COMMAND"[..], &name];
        let expected = if is_name { Ok(&name[..]) } else { Err(ArgError::Name("GROUP")) };
        assert_eq!(Args::new(&words).name("GROUP"), expected, "{length} bytes");
    }
}

#[test]
fn an_id_is_parsed_or_refused() {
    let id = TaskId { ms: 17, seq: 3 };
    let text = words("17-3");
    assert_eq!(Args::new(&text).id(), Ok(id));
    assert_eq!(Args::new(&text).handle(), Err(ArgError::Handle));
    for text in ["17", "17-", "-3", "17-3-", "x-y", "99999999999999999999-0"] {
        let words = words(text);
        assert_eq!(Args::new(&words).id(), Err(ArgError::TaskId), "{text}");
    }
}

#[test]
fn handles_keep_which_form_was_used() {
    let handle = |nth| Handle::parse(format!("1-{nth}@1-00000000").as_bytes()).unwrap();
    let one_or_many = |text: &str| {
        let words = words(text);
        Args::new(&words).handles()
    };
    assert_eq!(one_or_many("1-0@1-00000000"), Ok(OneOrMany::One(handle(0))));
    assert_eq!(one_or_many("handles 1 1-0@1-00000000"), Ok(OneOrMany::Many(vec![handle(0)])));
    assert_eq!(
        one_or_many("HANDLES 2 1-0@1-00000000 1-1@1-00000000"),
        Ok(OneOrMany::Many(vec![handle(0), handle(1)]))
    );
    assert_eq!(one_or_many("HANDLES 2 1-0@1-00000000"), Err(ArgError::TooFewValues("HANDLES")));
    let number = Err(ArgError::Number("HANDLES", "handles", 1..=1000));
    assert_eq!(one_or_many("HANDLES 0"), number);
    assert_eq!(one_or_many("HANDLES 1-0"), number);
    assert_eq!(one_or_many("HANDLES"), Err(ArgError::NoValue("HANDLES")));
    assert_eq!(one_or_many("HANDLES 1001 1-0"), number);
    assert_eq!(one_or_many("HANDLES 2 1-0@1-00000000 nonsense"), Err(ArgError::Handle));
    assert_eq!(one_or_many(""), Err(ArgError::TooFew));
    assert_eq!(OneOrMany::One(7).as_slice(), [7]);
    assert_eq!(OneOrMany::Many(vec![7, 8]).as_slice(), [7, 8]);
}

#[test]
fn arguments_after_the_counted_ones_are_options() {
    let words = words("HANDLES 1 1-0@1-00000000 REASON");
    let mut args = Args::new(&words);
    assert!(args.handles().is_ok());
    assert_eq!(args.option(&["REASON"]), Ok(Some("REASON")));
}

#[test]
fn a_handle_is_parsed_as_the_engine_writes_it() {
    let handle = Handle { id: TaskId { ms: 17, seq: 3 }, lease: LeaseNumber(5), nonce: 0xabc };
    let text = handle.to_string();
    assert_eq!(text, "17-3@5-00000abc");
    let words = words(&text);
    assert_eq!(Args::new(&words).handle(), Ok(handle));
}
