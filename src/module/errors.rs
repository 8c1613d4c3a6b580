//! The errors of commands, and the one table of texts that clients get for them.
//!
//! A text never repeats what a user sent, with one exception: an unknown word, cut to 32 printable bytes.

use std::fmt;

use taskslot_engine::{NAME_MAX_BYTES, Refusal};
use taskslot_node::{ArgError, Shown};

use taskslot_api::key::KeyError;

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The key holds a value of another type.
    WrongType,
    /// The arguments are so few, or so wrong, that no better error fits. The server checks their number before, so this
    /// shows a mismatch between a command's arity and its parser.
    Syntax,
    /// One argument is invalid, whatever the others are.
    Argument(ArgError),
    /// Queues have no setting with this name.
    UnknownSetting(Shown),
    /// An argument is invalid, and this is a frequent reason.
    Hint(ArgError, &'static str),
    /// A required option is not given.
    Required(&'static str),
    /// Two options cannot be combined.
    Clash(&'static str, &'static str),
    /// The first option requires the second, which is not given.
    Requires(&'static str, &'static str),
    /// A text is longer than this many bytes.
    TooLong(&'static str, usize),
    /// An invalid argument, with the whole text after `ERR`.
    Bad(&'static str),
    /// The value of a setting is invalid; the text says what it must be.
    Setting(String),
    /// The queue refuses the change.
    Refused(Refusal),
    /// The queue is broken, so it can only be read.
    Broken,
    /// The server is out of memory.
    OutOfMemory,
    /// The queue was removed from this node, perhaps because it is moving to another one.
    TryAgain,
    /// The server doesn't give access to the value, because a caller further up has it open.
    Busy,
    /// The command runs in a script that is replicated as a script, not by its effects.
    ScriptReplicated,
    /// A client lost its permissions while it waited.
    NoPermission,
    /// The client may not push, neither with an ACK.
    NoPush,
    /// The caller has no connection that a lease could be tied to.
    NoConnection,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            Error::Syntax => f.write_str("ERR syntax error"),
            Error::Argument(wrong) => argument(wrong, f),
            Error::Hint(wrong, hint) => {
                argument(wrong, f)?;
                write!(f, " ({hint})")
            }
            Error::UnknownSetting(name) => write!(f, "ERR unknown setting '{name}'"),
            Error::Required(option) => write!(f, "ERR option {option} is required"),
            Error::Clash(one, other) => write!(f, "ERR options {one} and {other} cannot be combined"),
            Error::Requires(option, other) => write!(f, "ERR option {option} requires {other}"),
            Error::TooLong(what, bytes) => write!(f, "ERR {what} must be at most {bytes} bytes long"),
            Error::Bad(what) => write!(f, "ERR {what}"),
            Error::Setting(must) => write!(f, "ERR {must}"),
            Error::Refused(refusal) => f.write_str(match refusal {
                Refusal::FullLen => "QFULL the queue has reached max-len",
                Refusal::FullBytes => "QFULL the queue has reached max-bytes",
                Refusal::FullGroups => "QFULL the queue has reached groups-max",
                Refusal::FullTokens => "QFULL the queue has reached tokens-max",
                Refusal::FullBatches => "QFULL the queue has a million batches",
                Refusal::UnknownBatch => "ERR there is no batch of this name",
                Refusal::ClosedBatch => "ERR the batch takes no more tasks: its callback waits no more",
                Refusal::NeverPushed => "ERR AFTER names a task that was never pushed",
                Refusal::Circular => "ERR AFTER names a held task outside the batch",
                Refusal::Held(_) => "ERR another task holds the token",
                Refusal::Paused => "PAUSED the queue accepts no pushes",
                Refusal::Gone => "ERR there is no such task",
                Refusal::Stale => "STALE the lease has ended and the handle is no longer valid",
                Refusal::CancelAsked => "CANCELLED cancellation of this task was requested",
                Refusal::Exhausted => "ERR the queue has run out of ids or lease numbers",
            }),
            Error::Broken => f.write_str(
                "BROKEN the queue can only be read: a change failed or effects are missing, see TASK.INFO and the server's log",
            ),
            // The text of the server's own error.
            Error::OutOfMemory => f.write_str("OOM command not allowed when used memory > 'maxmemory'."),
            Error::TryAgain => {
                f.write_str("TRYAGAIN the queue was removed or is moving to another node: try again")
            }
            Error::Busy => f.write_str("ERR the queue is already in use by the command that caused this call"),
            Error::ScriptReplicated => {
                f.write_str("ERR scripts cannot change queues when lua-replicate-commands is no")
            }
            Error::NoPermission => f.write_str(
                "NOPERM this user lost the permission to run the command or to access its keys while the client waited",
            ),
            Error::NoPush => f.write_str(
                "NOPERM with PUSH, this user needs the permission to run TASK.PUSH on this key",
            ),
            Error::NoConnection => f.write_str(
                "ERR TIED requires a client's own connection: scripts, functions and calls of other modules have none",
            ),
        }
    }
}

fn argument(wrong: &ArgError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match wrong {
        ArgError::TooFew => write!(f, "{}", Error::Syntax),
        ArgError::NoValue(option) => write!(f, "ERR option {option} has no value"),
        ArgError::TooFewValues(option) => {
            write!(f, "ERR option {option} has fewer values than its number says")
        }
        ArgError::Number(option, what, bounds) => {
            let (least, most) = (bounds.start(), bounds.end());
            write!(f, "ERR {option} must be followed by the number of {what}, {least} to {most}")
        }
        ArgError::Unknown(word, expected) => {
            write!(f, "ERR unknown option '{word}', expected {}", alternatives(expected))
        }
        ArgError::TooMany(word) => write!(f, "ERR unexpected argument '{word}'"),
        ArgError::Twice(option) => write!(f, "ERR option {option} is given twice"),
        ArgError::Range(what, bounds) => {
            write!(f, "ERR {what} must be an integer between {} and {}", bounds.start(), bounds.end())
        }
        ArgError::Name(what) => write!(f, "ERR {what} must be 1 to {NAME_MAX_BYTES} bytes long"),
        ArgError::TaskId => f.write_str("ERR invalid task id"),
        ArgError::Handle => f.write_str("ERR invalid handle"),
    }
}

/// Words in upper case as a list: `A`, `A or B`, `A, B or C`.
fn alternatives(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl From<ArgError> for Error {
    fn from(wrong: ArgError) -> Error {
        Error::Argument(wrong)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Error {
        match error {
            KeyError::WrongType => Error::WrongType,
            KeyError::Busy => Error::Busy,
        }
    }
}
