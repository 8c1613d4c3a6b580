//! A cursor over the arguments of a command.

use std::fmt;
use std::ops::RangeInclusive;

use taskslot_engine::{BATCH_MAX, Handle, NAME_MAX_BYTES, TaskId};

/// The arguments of a command from left to right: each is read once and checked, before anything changes. Options come in any
/// order and any case, each at most once. What is wrong is named by an [`ArgError`].
///
/// `A` is an argument as the server hands it over, which gives its bytes; a payload is passed on as it is.
#[derive(Debug, Clone)]
pub struct Args<'a, A> {
    rest: &'a [A],
    /// The options that were read, as a bit for each place in the list of [`Args::option`].
    seen: u32,
    /// The option or word that was read last: the error names it if nothing comes after it.
    after: Option<&'static str>,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgError {
    /// There is none where one must be, and no word before it to name.
    TooFew,
    /// An option, or a word that more follows, is the last one.
    NoValue(&'static str),
    /// An option that the command doesn't have, or an argument behind the last.
    Unknown(Shown),
    /// A word that is none of those that may stand there.
    NoneOf(Shown, Vec<&'static str>),
    /// An option is there twice.
    Twice(&'static str),
    /// A number isn't one or is out of its bounds.
    Range(&'static str, RangeInclusive<i64>),
    /// A name or token is empty or too long.
    Name(&'static str),
    /// It isn't a task's id.
    TaskId,
    /// It isn't a handle.
    Handle,
}

/// What a command works on, and so what its reply looks like: one answer, or an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneOrMany<T> {
    /// Named alone.
    One(T),
    /// Named with their number.
    Many(Vec<T>),
}

impl<'a, A: AsRef<[u8]> + Copy> Args<'a, A> {
    /// The arguments after the command's name.
    pub fn new(args: &'a [A]) -> Args<'a, A> {
        Args { rest: args.get(1..).unwrap_or_default(), seen: 0, after: None }
    }

    /// The next argument.
    #[expect(clippy::should_implement_trait, reason = "an argument that isn't there is an error, not an end")]
    pub fn next(&mut self) -> Result<A, ArgError> {
        self.advance().copied()
    }

    /// The next argument's bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], ArgError> {
        self.advance().map(A::as_ref)
    }

    fn advance(&mut self) -> Result<&'a A, ArgError> {
        let (first, rest) = self.rest.split_first().ok_or(self.ended())?;
        self.rest = rest;
        Ok(first)
    }

    /// There is no argument left where one must be.
    fn ended(&self) -> ArgError {
        self.after.map_or(ArgError::TooFew, ArgError::NoValue)
    }

    /// What comes next belongs to this word: the error names it if nothing comes.
    pub fn after(&mut self, word: &'static str) {
        self.after = Some(word);
    }

    /// The next `count` arguments.
    pub fn take(&mut self, count: usize) -> Result<&'a [A], ArgError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.ended())?;
        self.rest = rest;
        Ok(taken)
    }

    /// How many arguments are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Passes over `word` if it is next.
    pub fn word(&mut self, word: &'static str) -> bool {
        let after = self.rest.split_first().filter(|(next, _)| is((*next).as_ref(), word));
        if let Some((_, rest)) = after {
            self.rest = rest;
            self.after = Some(word);
        }
        after.is_some()
    }

    /// The next option, as it is written in `known`; `None` at the end. Errors: it isn't known, or it was there before.
    /// A command asks with one list throughout, of at most 32 options.
    pub fn option(&mut self, known: &[&'static str]) -> Result<Option<&'static str>, ArgError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let word = self.bytes()?;
        let found = known.iter().enumerate().find(|(_, option)| is(word, option));
        let (at, option) = found.ok_or_else(|| ArgError::Unknown(Shown::of(word)))?;
        let bit = 1u32.checked_shl(at as u32).unwrap_or(0);
        if self.seen & bit != 0 {
            return Err(ArgError::Twice(option));
        }
        self.seen |= bit;
        self.after = Some(option);
        Ok(Some(option))
    }

    /// The next argument is one of these words: its place among them.
    pub fn one_of(&mut self, words: &[&'static str]) -> Result<usize, ArgError> {
        let word = self.bytes()?;
        let at = words.iter().position(|known| is(word, known));
        self.after = at.and_then(|at| words.get(at).copied());
        at.ok_or_else(|| ArgError::NoneOf(Shown::of(word), words.to_vec()))
    }

    /// A whole number within bounds; `what` names it in the error.
    pub fn integer(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<i64, ArgError> {
        let number = parse_integer(self.bytes()?);
        number.filter(|number| bounds.contains(number)).ok_or(ArgError::Range(what, bounds))
    }

    /// A whole number that isn't negative, within bounds.
    pub fn unsigned(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<u64, ArgError> {
        self.integer(what, bounds).map(i64::unsigned_abs)
    }

    /// How many of something follow or are wanted: 1 to 1000.
    pub fn count(&mut self, what: &'static str) -> Result<usize, ArgError> {
        Ok(self.unsigned(what, 1..=BATCH_MAX as i64)? as usize)
    }

    /// A name or token: 1 to 256 bytes.
    pub fn name(&mut self, what: &'static str) -> Result<&'a [u8], ArgError> {
        let name = self.bytes()?;
        if (1..=NAME_MAX_BYTES).contains(&name.len()) { Ok(name) } else { Err(ArgError::Name(what)) }
    }

    /// A task's id.
    pub fn id(&mut self) -> Result<TaskId, ArgError> {
        TaskId::parse(self.bytes()?).ok_or(ArgError::TaskId)
    }

    /// A handle.
    pub fn handle(&mut self) -> Result<Handle, ArgError> {
        Handle::parse(self.bytes()?).ok_or(ArgError::Handle)
    }

    /// One of something, or after `word` a number and as many.
    pub fn one_or_many<T>(
        &mut self,
        word: &'static str,
        mut each: impl FnMut(&mut Args<'a, A>) -> Result<T, ArgError>,
    ) -> Result<OneOrMany<T>, ArgError> {
        if !self.word(word) {
            return each(self).map(OneOrMany::One);
        }
        let count = self.count(word)?;
        // Not more than there are arguments, whatever the number says.
        let mut many = Vec::with_capacity(count.min(self.left()));
        for _ in 0..count {
            many.push(each(self)?);
        }
        Ok(OneOrMany::Many(many))
    }

    /// That was all.
    pub fn finish(self) -> Result<(), ArgError> {
        self.rest.first().map_or(Ok(()), |next| Err(ArgError::Unknown(Shown::of(next.as_ref()))))
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// Whether an argument is this word, in any case.
fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Reads a whole number as Redis does: decimal, at most a minus before it, no plus, blanks or leading zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    std::str::from_utf8(text).ok().filter(|_| is_plain && text != b"-0")?.parse().ok()
}

/// How much of a word that isn't known is shown.
const SHOWN_BYTES: usize = 32;

/// A word of a client's, as far as an error may show it: it lands in logs and on terminals, and may be large or secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// The first 32 bytes, with a question mark for what isn't printable ASCII.
    pub fn of(bytes: &[u8]) -> Shown {
        let shown = bytes.iter().take(SHOWN_BYTES);
        let shown = shown.map(|&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' });
        let rest = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
        Shown(shown.chain(rest.chars()).collect())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
