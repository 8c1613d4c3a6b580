//! A cursor over the arguments of a command.

use std::fmt;
use std::ops::RangeInclusive;

use taskslot_engine::{BATCH_MAX, Handle, Millis, NAME_MAX_BYTES, State, TaskId};

/// Reads the arguments of a command from left to right.
///
/// Each argument is read once and checked, before the command changes anything. Options come in any order and any case,
/// each at most once. An [`ArgError`] names the argument that is invalid.
///
/// `A` is the server's type of an argument, which gives its bytes. The command gets payloads as values of this type, so
/// that it can pass them on without a copy.
#[derive(Debug, Clone)]
pub struct Args<'a, A> {
    rest: &'a [A],
    /// The options that were read: a bit for each index in the list that [`Args::option`] gets.
    seen: u32,
    /// The option or word that was read last. If nothing follows it, the error names it.
    after: Option<&'static str>,
    /// Whether its number of values was read, so that it is those that are missing.
    is_counted: bool,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgError {
    /// An argument is missing, and no word comes before it that the error could name.
    TooFew,
    /// The arguments end before the value of this option or word.
    NoValue(&'static str),
    /// The arguments end before as many values as the number after this word says.
    TooFewValues(&'static str),
    /// What follows this word is not the number of these values, within these bounds.
    Number(&'static str, &'static str, RangeInclusive<i64>),
    /// The word is none of those that can come here.
    Unknown(Shown, Vec<&'static str>),
    /// The argument comes after the last that the command takes.
    TooMany(Shown),
    /// The option is given twice.
    Twice(&'static str),
    /// The value is not an integer, or is out of these bounds.
    Range(&'static str, RangeInclusive<i64>),
    /// The name or token is empty or too long.
    Name(&'static str),
    /// The text is not a task's id.
    TaskId,
    /// The text is not a handle.
    Handle,
}

/// How a command names a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// By its id.
    Id(TaskId),
    /// By the UNIQUE token that it holds.
    Token(&'a [u8]),
}

impl Named<'_> {
    /// The id of the task. `None` if no task that waits or is leased holds the token at this instant.
    pub fn id(&self, queue: &State, at: Millis) -> Option<TaskId> {
        match *self {
            Named::Id(id) => Some(id),
            Named::Token(token) => queue.living_holder(at, token),
        }
    }
}

/// The tasks that a command works on, which decide the form of its reply: one value, or an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneOrMany<T> {
    /// One, given on its own: the reply is one value.
    One(T),
    /// Any number, given after a count: the reply is an array.
    Many(Vec<T>),
}

impl<'a, A: AsRef<[u8]> + Copy> Args<'a, A> {
    /// The arguments after the command's name.
    pub fn new(args: &'a [A]) -> Args<'a, A> {
        Args { rest: args.get(1..).unwrap_or_default(), seen: 0, after: None, is_counted: false }
    }

    /// The next argument.
    #[expect(clippy::should_implement_trait, reason = "an argument that isn't there is an error, not an end")]
    pub fn next(&mut self) -> Result<A, ArgError> {
        self.advance().copied()
    }

    /// The bytes of the next argument.
    pub fn bytes(&mut self) -> Result<&'a [u8], ArgError> {
        self.advance().map(A::as_ref)
    }

    fn advance(&mut self) -> Result<&'a A, ArgError> {
        let (first, rest) = self.rest.split_first().ok_or(self.ended())?;
        self.rest = rest;
        Ok(first)
    }

    /// The error when an argument is missing.
    fn ended(&self) -> ArgError {
        let error = if self.is_counted { ArgError::TooFewValues } else { ArgError::NoValue };
        self.after.map_or(ArgError::TooFew, error)
    }

    /// The next arguments belong to this word. If they are missing, the error names it.
    pub fn after(&mut self, word: &'static str) {
        (self.after, self.is_counted) = (Some(word), false);
    }

    /// The next `count` arguments.
    pub fn take(&mut self, count: usize) -> Result<&'a [A], ArgError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.ended())?;
        self.rest = rest;
        Ok(taken)
    }

    /// The number of arguments that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Skips `word` if it comes next, and returns whether it did.
    pub fn word(&mut self, word: &'static str) -> bool {
        let after = self.rest.split_first().filter(|(next, _)| is((*next).as_ref(), word));
        if let Some((_, rest)) = after {
            self.rest = rest;
            self.after(word);
        }
        after.is_some()
    }

    /// The next option, as `known` spells it; `None` at the end. Errors: the option isn't known, or was given before.
    /// A command uses one list for all its calls, of at most 32 options, up to [`Args::begin_options`].
    pub fn option(&mut self, known: &[&'static str]) -> Result<Option<&'static str>, ArgError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let word = self.bytes()?;
        let found = known.iter().enumerate().find(|(_, option)| is(word, option));
        let (at, option) = found.ok_or_else(|| ArgError::Unknown(Shown::of(word), known.to_vec()))?;
        let bit = 1u32.checked_shl(at as u32).unwrap_or(0);
        if self.seen & bit != 0 {
            return Err(ArgError::Twice(option));
        }
        self.seen |= bit;
        self.after(option);
        Ok(Some(option))
    }

    /// From here on, the options are those of another list.
    pub fn begin_options(&mut self) {
        self.seen = 0;
    }

    /// Reads one of these words, and returns its index among them.
    pub fn one_of(&mut self, words: &[&'static str]) -> Result<usize, ArgError> {
        let word = self.bytes()?;
        let at = words.iter().position(|known| is(word, known));
        (self.after, self.is_counted) = (at.and_then(|at| words.get(at).copied()), false);
        at.ok_or_else(|| ArgError::Unknown(Shown::of(word), words.to_vec()))
    }

    /// Reads an integer within bounds; `what` names it in the error.
    pub fn integer(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<i64, ArgError> {
        let number = parse_integer(self.bytes()?);
        number.filter(|number| bounds.contains(number)).ok_or(ArgError::Range(what, bounds))
    }

    /// Reads an integer within bounds that are not negative.
    pub fn unsigned(&mut self, what: &'static str, bounds: RangeInclusive<i64>) -> Result<u64, ArgError> {
        self.integer(what, bounds).map(i64::unsigned_abs)
    }

    /// Reads the number of values that follow `word`; `what` names them in the error.
    pub fn number_of(
        &mut self,
        what: &'static str,
        word: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Result<usize, ArgError> {
        self.after(word);
        let number = parse_integer(self.bytes()?).filter(|number| bounds.contains(number));
        let number = number.ok_or(ArgError::Number(word, what, bounds))?;
        self.is_counted = true;
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// Reads the number of ids, which `word` introduces, and the ids.
    pub fn ids(&mut self, word: &'static str) -> Result<Vec<TaskId>, ArgError> {
        self.many("ids", word, Args::id)
    }

    /// Reads a count of tasks that the client wants, 1 to 1000.
    pub fn count(&mut self, what: &'static str) -> Result<usize, ArgError> {
        Ok(self.unsigned(what, 1..=BATCH_MAX as i64)? as usize)
    }

    /// Reads a name or token of 1 to 256 bytes.
    pub fn name(&mut self, what: &'static str) -> Result<&'a [u8], ArgError> {
        let name = self.bytes()?;
        if (1..=NAME_MAX_BYTES).contains(&name.len()) { Ok(name) } else { Err(ArgError::Name(what)) }
    }

    /// Reads a task's id.
    pub fn id(&mut self) -> Result<TaskId, ArgError> {
        TaskId::parse(self.bytes()?).ok_or(ArgError::TaskId)
    }

    /// Reads how a task is named: its id, or UNIQUE and the token that it holds.
    pub fn task(&mut self) -> Result<Named<'a>, ArgError> {
        if self.word("UNIQUE") { self.name("UNIQUE").map(Named::Token) } else { self.id().map(Named::Id) }
    }

    /// Reads how tasks are named: one as in [`Args::task`], or IDS, a count and that many ids.
    pub fn tasks(&mut self) -> Result<OneOrMany<Named<'a>>, ArgError> {
        if !self.word("IDS") {
            return self.task().map(OneOrMany::One);
        }
        self.many("ids", "IDS", |args| args.id().map(Named::Id)).map(OneOrMany::Many)
    }

    /// Reads a handle.
    pub fn handle(&mut self) -> Result<Handle, ArgError> {
        Handle::parse(self.bytes()?).ok_or(ArgError::Handle)
    }

    /// Reads one handle, or after HANDLES their number and that many handles.
    pub fn handles(&mut self) -> Result<OneOrMany<Handle>, ArgError> {
        match self.word("HANDLES") {
            true => self.many("handles", "HANDLES", Args::handle).map(OneOrMany::Many),
            false => self.handle().map(OneOrMany::One),
        }
    }

    /// Reads the number of values, 1 to 1000, and that many values.
    fn many<T>(
        &mut self,
        what: &'static str,
        word: &'static str,
        mut each: impl FnMut(&mut Args<'a, A>) -> Result<T, ArgError>,
    ) -> Result<Vec<T>, ArgError> {
        let count = self.number_of(what, word, 1..=BATCH_MAX as i64)?;
        // Reserves no more than there are arguments: the count may be far larger.
        let mut many = Vec::with_capacity(count.min(self.left()));
        for _ in 0..count {
            many.push(each(self)?);
        }
        Ok(many)
    }

    /// Checks that no argument is left.
    pub fn finish(self) -> Result<(), ArgError> {
        self.rest.first().map_or(Ok(()), |next| Err(ArgError::TooMany(Shown::of(next.as_ref()))))
    }
}

impl<T> OneOrMany<T> {
    /// The values, whether they were one or many.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// Whether an argument is this word, ignoring case. Most words differ in their length already.
#[inline]
fn is(argument: &[u8], word: &str) -> bool {
    argument.len() == word.len() && argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Parses an integer as Redis does: decimal, with an optional minus sign, and without plus sign, blanks or leading
/// zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    std::str::from_utf8(text).ok().filter(|_| is_plain && text != b"-0")?.parse().ok()
}

/// The most bytes of an unknown word that an error shows.
const SHOWN_BYTES: usize = 32;

/// The part of a client's word that an error shows. Errors end up in logs and on terminals, and the word may be long,
/// not printable, or secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// The first 32 bytes, with a question mark for each byte that isn't printable ASCII.
    pub fn of(bytes: &[u8]) -> Shown {
        Shown::at_most(SHOWN_BYTES, bytes)
    }

    /// The first `most` bytes, written as in [`Shown::of`].
    pub fn at_most(most: usize, bytes: &[u8]) -> Shown {
        let shown = bytes.iter().take(most);
        let shown = shown.map(|&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' });
        let rest = if bytes.len() > most { "..." } else { "" };
        Shown(shown.chain(rest.chars()).collect())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
