//! Glob patterns, compared with a matcher that tries everything.

use taskslot_engine::{COMPARED_MAX_BYTES, Glob, PATTERN_MAX_BYTES};

use crate::copies::Dice;
use crate::properties::times;

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    Glob::new(pattern).unwrap().matches(text, &mut 0)
}

/// The class at the start of `pattern`, behind its bracket: whether it has the byte, and what comes behind it.
fn class(mut pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut has = false;
    while let Some(&first) = pattern.first() {
        if first == b']' {
            return (has, &pattern[1..]);
        } else if first == b'\\' && pattern.len() > 1 {
            has |= pattern[1] == byte;
            pattern = &pattern[2..];
        } else if pattern.len() > 2 && pattern[1] == b'-' {
            let (low, high) = (first.min(pattern[2]), first.max(pattern[2]));
            has |= low <= byte && byte <= high;
            pattern = &pattern[3..];
        } else {
            has |= first == byte;
            pattern = &pattern[1..];
        }
    }
    (has, pattern)
}

/// The same, by trying everything.
fn oracle(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    if first == b'*' {
        return (0..=text.len()).any(|skipped| oracle(rest, &text[skipped..]));
    }
    let Some((&byte, behind)) = text.split_first() else { return false };
    match first {
        b'?' => oracle(rest, behind),
        b'[' if rest.first() == Some(&b'^') => {
            let (has, rest) = class(&rest[1..], byte);
            !has && oracle(rest, behind)
        }
        b'[' => {
            let (has, rest) = class(rest, byte);
            has && oracle(rest, behind)
        }
        b'\\' if !rest.is_empty() => rest[0] == byte && oracle(&rest[1..], behind),
        literal => literal == byte && oracle(rest, behind),
    }
}

#[test]
fn a_pattern_matches_what_redis_matches() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "anything", true),
        ("h?llo", "hello", true),
        ("h?llo", "hllo", false),
        ("h*llo", "heeeello", true),
        ("h[ae]llo", "hallo", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true),
        ("h[b-a]llo", "hallo", true),
        ("h\\*llo", "h*llo", true),
        ("h\\*llo", "hallo", false),
        ("[a\\]]x", "]x", true),
        ("[]a]", "a]", false),
        ("[abc", "b", true),
        ("[", "[", false),
        ("[^", "x", true),
        ("a\\", "a\\", true),
        ("*abc*", "xxabcxx", true),
        ("*abc", "abcab", false),
        ("a*b*c", "a-b-b-c", true),
        ("*user:17*", "{\"to\": \"user:17\"}", true),
    ] {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        assert_eq!(oracle(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text} by the oracle");
    }
}

#[test]
fn any_pattern_agrees_with_a_matcher_that_tries_everything() {
    let (mut dice, mut matching) = (Dice(7), 0);
    let alphabet = b"aab*?[]^-\\\xff";
    for _ in 0..60_000 * times() {
        let mut word = |most, letters: u64| -> Vec<u8> {
            (0..dice.below(most)).map(|_| alphabet[dice.below(letters) as usize]).collect()
        };
        let (pattern, text) = (word(9, 11), word(7, 4));
        let expected = oracle(&pattern, &text);
        assert_eq!(matches(&pattern, &text), expected, "{pattern:?} {text:?}");
        matching += u64::from(expected);
    }
    assert!(matching > 2000, "{matching} of them match");
}

#[test]
fn a_pattern_of_any_length_agrees_with_its_repetition() {
    for length in 1..=PATTERN_MAX_BYTES {
        let text = vec![b'a'; length];
        assert!(matches(&text, &text) && !matches(&text, &text[1..]), "{length}");
        let mut other = text.clone();
        other[length / 2] = b'b';
        assert!(!matches(&text, &other), "{length}");
        let behind_a_star = [b"*", &text[1..]].concat();
        assert!(matches(&behind_a_star, &text), "{length}");
        assert_eq!(matches(&behind_a_star, &other), length / 2 == 0, "{length}");
    }
    assert!(Glob::new(&[b'*'; PATTERN_MAX_BYTES]).is_some_and(|glob| glob.matches(b"a", &mut 0)));
    assert!(Glob::new(&[b'a'; PATTERN_MAX_BYTES + 1]).is_none());
}

#[test]
fn many_stars_take_no_longer_than_the_text() {
    let pattern = [b"*a".repeat(100), b"*b".to_vec()].concat();
    let (text, mut work) = (vec![b'a'; 60_000], 0);
    assert!(!Glob::new(&pattern).unwrap().matches(&text, &mut work));
    assert!(work <= 2 * text.len(), "{work} words for {} bytes", text.len());
}

#[test]
fn what_a_pattern_cannot_match_any_more_is_not_read() {
    let text = vec![b'a'; 100_000];
    for (pattern, expected) in [(&b"b*"[..], false), (b"a*", true), (b"*", true), (b"??", false)] {
        let mut work = 0;
        assert_eq!(Glob::new(pattern).unwrap().matches(&text, &mut work), expected);
        assert!(work < 5, "{work} bytes read for {pattern:?}");
    }
}

#[test]
fn a_long_text_counts_as_if_it_ended_after_64_kib() {
    let mut text = vec![b'a'; 1 << 20];
    text[COMPARED_MAX_BYTES - 1] = b'b';
    text[COMPARED_MAX_BYTES] = b'c';
    for (pattern, expected) in [(&b"*b"[..], true), (b"*b*", true), (b"*c*", false), (b"*a", false)] {
        let mut work = 0;
        assert_eq!(Glob::new(pattern).unwrap().matches(&text, &mut work), expected, "{pattern:?}");
        assert!(work <= COMPARED_MAX_BYTES, "{work} bytes read for {pattern:?}");
    }
}

#[test]
fn the_longest_pattern_takes_five_words_for_each_byte() {
    let pattern = [b"*".to_vec(), vec![b'a'; PATTERN_MAX_BYTES - 2], b"b".to_vec()].concat();
    let (text, mut work) = (vec![b'a'; 1 << 20], 0);
    assert!(!Glob::new(&pattern).unwrap().matches(&text, &mut work));
    assert!((COMPARED_MAX_BYTES..=5 * COMPARED_MAX_BYTES).contains(&work), "{work} words");
}
