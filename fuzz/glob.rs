//! Glob patterns. The first part of an input is the pattern, the second the text.

use taskslot_engine::{COMPARED_MAX_BYTES, Glob, PATTERN_MAX_BYTES};

use crate::parts::split;

/// The most steps that the oracle makes.
const STEPS_MAX: usize = 1 << 20;

/// One place of a pattern.
enum Token {
    /// A star: any bytes.
    Any,
    /// One byte: for each byte whether it is accepted.
    One(Box<[bool; 256]>),
}

/// Matches, and compares the answer with that of the oracle.
pub fn run(input: &[u8]) {
    let parts = split(input);
    let [pattern, text, ..] = parts[..] else { return };
    let glob = Glob::new(pattern);
    assert_eq!(glob.is_some(), pattern.len() <= PATTERN_MAX_BYTES);
    let Some(glob) = glob else { return };
    let mut work = 0;
    let matches = glob.matches(text, &mut work);
    let compared = &text[..text.len().min(COMPARED_MAX_BYTES)];
    assert!(work <= compared.len() * (PATTERN_MAX_BYTES / 64 + 1), "{work} words");
    if pattern.len() * compared.len() <= STEPS_MAX {
        assert_eq!(matches, oracle(&tokens(pattern), compared), "{pattern:?} {text:?}");
    }
}

/// Whether all of the text matches: a table of which first tokens match which first bytes.
fn oracle(tokens: &[Token], text: &[u8]) -> bool {
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match token {
                Token::Any => row[end] || end > 0 && next[end - 1],
                Token::One(accepts) => end > 0 && row[end - 1] && accepts[usize::from(text[end - 1])],
            };
        }
        row = next;
    }
    row[text.len()]
}

fn tokens(pattern: &[u8]) -> Vec<Token> {
    let one =
        |accepts: &dyn Fn(u8) -> bool| Token::One(Box::new(std::array::from_fn(|byte| accepts(byte as u8))));
    let (mut at, mut tokens) = (0, Vec::new());
    while at < pattern.len() {
        let byte = pattern[at];
        at += 1;
        tokens.push(match byte {
            b'*' => Token::Any,
            b'?' => one(&|_| true),
            b'\\' if at < pattern.len() => {
                let literal = pattern[at];
                at += 1;
                one(&|other| other == literal)
            }
            b'[' => {
                let is_not = pattern.get(at) == Some(&b'^');
                at += usize::from(is_not);
                let ranges = class(pattern, &mut at);
                one(&|byte| ranges.iter().any(|(low, high)| (low..=high).contains(&&byte)) != is_not)
            }
            literal => one(&|other| other == literal),
        });
    }
    tokens
}

/// The ranges of a class that begins at `at`, behind its bracket. Moves `at` behind the class.
fn class(pattern: &[u8], at: &mut usize) -> Vec<(u8, u8)> {
    let mut ranges = Vec::new();
    while let Some(&first) = pattern.get(*at) {
        let (second, third) = (pattern.get(*at + 1), pattern.get(*at + 2));
        let (range, length) = match (first, second, third) {
            (b'\\', Some(&literal), _) => ((literal, literal), 2),
            (b']', _, _) => {
                *at += 1;
                break;
            }
            (_, Some(b'-'), Some(&last)) => ((first.min(last), first.max(last)), 3),
            _ => ((first, first), 1),
        };
        ranges.push(range);
        *at += length;
    }
    ranges
}
