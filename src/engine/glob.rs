//! Glob patterns over bytes, in the syntax that KEYS and SCAN have.

/// The longest pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 256;
/// How many bytes of a text are compared. A longer text counts as if it ended there.
pub const COMPARED_MAX_BYTES: usize = 64 << 10;
/// The words of a set of states: one bit for each token that was matched so far, and one for none.
const WORDS_MAX: usize = PATTERN_MAX_BYTES / 64 + 1;

/// A set of bytes, as bits.
type Bytes = [u64; 4];

/// A glob pattern, ready to be matched.
///
/// `*` stands for any bytes, also none; `?` for one byte; `[a-z]` for one of these bytes; `[^a-z]` for one of all
/// others; a backslash takes away the meaning of the next byte. As with Redis, a class that is not closed ends with the
/// pattern, and the bounds of a range can be swapped.
///
/// The pattern is an automaton, and all of its states are followed at the same time, as bits (R. Baeza-Yates and
/// G. H. Gonnet, 1992). So the time is proportional to the text, whatever stars the pattern has.
#[derive(Debug, Clone)]
pub struct Glob {
    /// For each byte, the tokens that accept it: `words` words each.
    accepts: Vec<u64>,
    /// The states that a star keeps.
    stays: [u64; WORDS_MAX],
    /// The number of tokens: the last state.
    tokens: usize,
    /// How many words the states take.
    words: usize,
}

impl Glob {
    /// Reads a pattern of at most [`PATTERN_MAX_BYTES`]; `None` if it is longer.
    pub fn new(pattern: &[u8]) -> Option<Glob> {
        if pattern.len() > PATTERN_MAX_BYTES {
            return None;
        }
        let (mut rest, mut tokens, mut stays) = (pattern, Vec::new(), [0; WORDS_MAX]);
        while let Some((&first, behind)) = rest.split_first() {
            rest = behind;
            match first {
                b'*' => set(&mut stays, tokens.len()),
                b'?' => tokens.push([u64::MAX; 4]),
                b'[' => tokens.push(class(&mut rest)),
                b'\\' => tokens.push(only(take(&mut rest).unwrap_or(b'\\'))),
                byte => tokens.push(only(byte)),
            }
        }
        let words = tokens.len() / 64 + 1;
        let mut accepts = vec![0; 256 * words];
        for (number, token) in tokens.iter().enumerate() {
            for byte in (0..=u8::MAX).filter(|&byte| has(token, byte.into())) {
                set(&mut accepts[usize::from(byte) * words..], number);
            }
        }
        Some(Glob { accepts, stays, tokens: tokens.len(), words })
    }

    /// Whether the text matches, or of a long one its first [`COMPARED_MAX_BYTES`]. Adds to `work` what it took, in
    /// bytes of the text for each 64 tokens.
    pub fn matches(&self, text: &[u8], work: &mut usize) -> bool {
        let text = &text[..text.len().min(COMPARED_MAX_BYTES)];
        match self.words {
            1 => self.run::<1>(text, work),
            2 => self.run::<2>(text, work),
            3 => self.run::<3>(text, work),
            4 => self.run::<4>(text, work),
            _ => self.run::<WORDS_MAX>(text, work),
        }
    }

    /// The automaton, for the number of words that its states take.
    fn run<const WORDS: usize>(&self, text: &[u8], work: &mut usize) -> bool {
        let mut states = [0; WORDS];
        states[0] = 1;
        let mut looked_at = 0;
        for &byte in text {
            // Without a state nothing can match, and with a star at the end everything does.
            let is_over = states == [0; WORDS] || has(&states, self.tokens) && has(&self.stays, self.tokens);
            if is_over {
                break;
            }
            looked_at += 1;
            let accepts = &self.accepts[usize::from(byte) * WORDS..][..WORDS];
            let mut carry = 0;
            for (word, state) in states.iter_mut().enumerate() {
                let next = *state & accepts[word];
                *state = next << 1 | carry | *state & self.stays[word];
                carry = next >> 63;
            }
        }
        *work += looked_at * WORDS;
        has(&states, self.tokens)
    }
}

/// Reads a class behind its bracket.
fn class(rest: &mut &[u8]) -> Bytes {
    let is_not = rest.first() == Some(&b'^');
    if is_not {
        *rest = &rest[1..];
    }
    let mut bytes = [0; 4];
    loop {
        match **rest {
            [] => break,
            [b'\\', byte, ref behind @ ..] => {
                set(&mut bytes, byte.into());
                *rest = behind;
            }
            [b']', ref behind @ ..] => {
                *rest = behind;
                break;
            }
            [one, b'-', other, ref behind @ ..] => {
                (one.min(other)..=one.max(other)).for_each(|byte| set(&mut bytes, byte.into()));
                *rest = behind;
            }
            [byte, ref behind @ ..] => {
                set(&mut bytes, byte.into());
                *rest = behind;
            }
        }
    }
    if is_not { bytes.map(|word| !word) } else { bytes }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

fn only(byte: u8) -> Bytes {
    let mut bytes = [0; 4];
    set(&mut bytes, byte.into());
    bytes
}

fn set(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

fn has(bits: &[u64], number: usize) -> bool {
    bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
