//! A cursor over the arguments of a command: each is read once and checked before anything changes.

use std::ops::RangeInclusive;

use taskslot_engine::{BATCH_MAX, Handle, NAME_MAX_BYTES, TaskId};

use crate::api::Arg;
use crate::errors::{Error, Shown};

/// Arguments from left to right. Options come in any order and any case, each at most once.
#[derive(Clone)]
pub struct Args<'a> {
    rest: &'a [Arg<'a>],
    /// The options that were there, as a bit for each place in the list of [`Args::option`].
    seen: u32,
    /// The option whose value comes next, or the last word that was read.
    of: Option<&'static str>,
}

impl<'a> Args<'a> {
    /// The arguments after the command's name.
    pub fn new(args: &'a [Arg<'a>]) -> Args<'a> {
        Args { rest: args.get(1..).unwrap_or_default(), seen: 0, of: None }
    }

    /// The next argument.
    pub fn next(&mut self) -> Result<Arg<'a>, Error> {
        let (first, rest) = self.rest.split_first().ok_or(self.ended())?;
        self.rest = rest;
        Ok(*first)
    }

    /// There is no argument left where one must be.
    fn ended(&self) -> Error {
        self.of.map_or(Error::Syntax, Error::NoValue)
    }

    /// What comes next belongs to this word, that an error is to name.
    pub fn is_of(&mut self, word: &'static str) {
        self.of = Some(word);
    }

    /// The next argument's bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        Ok(self.next()?.as_bytes())
    }

    /// The next `count` arguments.
    pub fn take(&mut self, count: usize) -> Result<&'a [Arg<'a>], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.ended())?;
        self.rest = rest;
        Ok(taken)
    }

    /// How many arguments are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Passes over `word` if it stands next.
    pub fn word(&mut self, word: &'static str) -> bool {
        let is_next = self.rest.first().is_some_and(|next| is(next.as_bytes(), word));
        if is_next {
            self.of = Some(word);
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    /// The next option, as it stands in `known`; `None` at the end. Errors: it isn't known, or it was there before.
    /// A command asks with one list throughout, of at most 32 options.
    pub fn option(&mut self, known: &[&'static str]) -> Result<Option<&'static str>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let word = self.bytes()?;
        let found = known.iter().enumerate().find(|(_, option)| is(word, option));
        let (at, option) = found.ok_or_else(|| Error::Unknown(Shown::of(word)))?;
        let bit = 1u32.checked_shl(at as u32).unwrap_or(0);
        if self.seen & bit != 0 {
            return Err(Error::Twice(option));
        }
        self.seen |= bit;
        self.of = Some(option);
        Ok(Some(option))
    }

    /// The next argument is one of these words: its place among them.
    pub fn one_of(&mut self, words: &[&'static str]) -> Result<usize, Error> {
        let word = self.bytes()?;
        let at = words.iter().position(|known| is(word, known));
        self.of = at.and_then(|at| words.get(at).copied());
        at.ok_or_else(|| Error::Word(Shown::of(word), words.to_vec()))
    }

    /// A whole number within bounds; `what` names it in the error.
    pub fn integer(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<i64, Error> {
        integer(self.bytes()?, what, bounds)
    }

    /// A whole number that isn't negative, within bounds.
    pub fn unsigned(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<u64, Error> {
        self.integer(what, bounds).map(i64::unsigned_abs)
    }

    /// How many of something follow or are wanted: 1 to 1000.
    pub fn count(&mut self, what: &'static str) -> Result<usize, Error> {
        Ok(self.unsigned(what, 1..=BATCH_MAX as i64)? as usize)
    }

    /// A name or token: 1 to 256 bytes.
    pub fn name(&mut self, what: &'static str) -> Result<&'a [u8], Error> {
        let name = self.bytes()?;
        if (1..=NAME_MAX_BYTES).contains(&name.len()) { Ok(name) } else { Err(Error::Name(what)) }
    }

    /// A task's id.
    pub fn id(&mut self) -> Result<TaskId, Error> {
        TaskId::parse(self.bytes()?).ok_or(Error::Bad("invalid task id"))
    }

    /// A handle.
    pub fn handle(&mut self) -> Result<Handle, Error> {
        Handle::parse(self.bytes()?).ok_or(Error::Bad("invalid handle"))
    }

    /// One of something, or after `word` a number and as many.
    pub fn one_or_many<T>(
        &mut self,
        word: &'static str,
        mut each: impl FnMut(&mut Args<'a>) -> Result<T, Error>,
    ) -> Result<OneOrMany<T>, Error> {
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
    pub fn finish(self) -> Result<(), Error> {
        self.rest.first().map_or(Ok(()), |next| Err(Error::Unknown(Shown::of(next.as_bytes()))))
    }
}

/// What a command works on, and so what its reply looks like: one answer, or an array.
#[derive(Debug)]
pub enum OneOrMany<T> {
    /// Named alone.
    One(T),
    /// Named with their number.
    Many(Vec<T>),
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
pub fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Reads a whole number as Redis does: decimal, a minus at most, no plus, blanks or leading zeros.
pub fn integer(text: &[u8], what: &'static str, bounds: RangeInclusive<i64>) -> Result<i64, Error> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    let number =
        std::str::from_utf8(text).ok().filter(|_| is_plain && text != b"-0").and_then(|t| t.parse().ok());
    number.filter(|number| bounds.contains(number)).ok_or(Error::Range(what, bounds))
}
