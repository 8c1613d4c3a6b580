//! What can go wrong, and the one table of texts that clients get for it. Of a user's bytes a text
//! holds a word that isn't known, cut and printable.

use std::fmt;

use taskslot_engine::{NAME_MAX_BYTES, Refusal};
use taskslot_node::{ArgError, Shown};

use taskslot_api::key::KeyError;

/// Why a command does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The key holds something else.
    WrongType,
    /// Arguments are not what the server's own check of their number lets through.
    Syntax,
    /// An argument is wrong by itself.
    Argument(ArgError),
    /// A setting that queues don't have.
    UnknownSetting(Shown),
    /// What has to be there isn't.
    Missing(&'static str),
    /// Two options exclude each other.
    Clash(&'static str, &'static str),
    /// An option makes sense with another only.
    Needs(&'static str, &'static str),
    /// A text is too long, in bytes.
    TooLong(&'static str, usize),
    /// A bad argument, said in full.
    Bad(&'static str),
    /// What a setting must be, since the value given isn't.
    Setting(String),
    /// The queue refuses.
    Refused(Refusal),
    /// The queue was given up after a change that failed half way.
    Broken,
    /// The server is out of memory.
    OutOfMemory,
    /// The queue isn't here any more: it is gone, or on its way to another node.
    TryAgain,
    /// The server doesn't let us at the value.
    Busy,
    /// The script that calls goes to replicas and AOF as it stands.
    ScriptReplicated,
    /// A client that waited may no longer have what it waited for.
    NoPermission,
    /// There is no connection that a lease could hang on.
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
            Error::UnknownSetting(name) => write!(f, "ERR unknown setting '{name}'"),
            Error::Missing(option) => write!(f, "ERR option {option} is missing"),
            Error::Clash(one, other) => write!(f, "ERR options {one} and {other} exclude each other"),
            Error::Needs(option, other) => write!(f, "ERR option {option} needs {other}"),
            Error::TooLong(what, bytes) => write!(f, "ERR {what} must be at most {bytes} bytes long"),
            Error::Bad(what) => write!(f, "ERR {what}"),
            Error::Setting(must) => write!(f, "ERR {must}"),
            Error::Refused(refusal) => f.write_str(match refusal {
                Refusal::FullLen => "QFULL the queue holds max-len tasks",
                Refusal::FullBytes => "QFULL the queue holds max-bytes bytes",
                Refusal::FullGroups => "QFULL the queue knows groups-max groups",
                Refusal::FullTokens => "QFULL the queue holds tokens-max tokens",
                Refusal::Held(_) => "ERR another task holds the token",
                Refusal::Paused => "PAUSED the queue takes no pushes now",
                Refusal::Gone => "ERR there is no such task",
                Refusal::Stale => "STALE the lease is over and the task lives on without it",
                Refusal::CancelAsked => "CANCELLED the task is to be cancelled",
                Refusal::Exhausted => "ERR the queue has used up its ids or lease numbers",
            }),
            Error::Broken => f.write_str(
                "BROKEN the queue is readable only: a change failed half way, see the server's log",
            ),
            // The server's own words.
            Error::OutOfMemory => f.write_str("OOM command not allowed when used memory > 'maxmemory'."),
            Error::TryAgain => f.write_str("TRYAGAIN the queue is gone or has moved: ask again"),
            Error::Busy => f.write_str("ERR the queue is in use by an outer call"),
            Error::ScriptReplicated => f.write_str(
                "ERR scripts can't change queues with lua-replicate-commands no: they would decide again on replicas",
            ),
            Error::NoPermission => f.write_str(
                "NOPERM this user may no longer run the command or access its keys: rights were taken away meanwhile",
            ),
            Error::NoConnection => f.write_str(
                "ERR TIED needs the worker's own connection: scripts, functions and calls of other modules have none",
            ),
        }
    }
}

fn argument(wrong: &ArgError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match wrong {
        ArgError::TooFew => write!(f, "{}", Error::Syntax),
        ArgError::NoValue(option) => write!(f, "ERR option {option} lacks a value"),
        ArgError::Unknown(word) => write!(f, "ERR unknown option '{word}'"),
        ArgError::NoneOf(word, known) => {
            let known: Vec<String> = known.iter().map(|word| word.to_ascii_uppercase()).collect();
            write!(f, "ERR unknown option '{word}', expected {}", known.join(" or "))
        }
        ArgError::Twice(option) => write!(f, "ERR option {option} is there twice"),
        ArgError::Range(what, bounds) => {
            write!(f, "ERR {what} must be an integer between {} and {}", bounds.start(), bounds.end())
        }
        ArgError::Name(what) => write!(f, "ERR {what} must be 1 to {NAME_MAX_BYTES} bytes long"),
        ArgError::TaskId => f.write_str("ERR invalid task id"),
        ArgError::Handle => f.write_str("ERR invalid handle"),
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
