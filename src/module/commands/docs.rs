//! What the manuals of several commands say: since when they are there, and the errors that they can reply, each text
//! once and when it comes.
//!
//! `<…>` stands for what differs. The texts themselves are made in [`crate::errors`]; `test_manual.py`
//! provokes them and holds every reply of an error against the manual of its command.

use taskslot_api::command::ErrorDoc;

/// The module's version that brought the commands of the first release.
pub const FIRST: &str = "0.2.0";

/// The errors of a command's manual, by their names here.
macro_rules! errors {
    ($($error:ident),+ $(,)?) => { &[$($crate::commands::docs::$error,)+] };
}
pub(super) use errors;

// Arguments.

pub const UNKNOWN: ErrorDoc = ErrorDoc::new(
    "ERR unknown option '<word>'",
    "the command has no such option, or there is an argument too many",
);
pub const WORD: ErrorDoc =
    ErrorDoc::new("ERR unknown option '<word>', expected <words>", "another word has to stand there");
pub const TWICE: ErrorDoc = ErrorDoc::new("ERR option <option> is there twice", "each may come once");
pub const NO_VALUE: ErrorDoc =
    ErrorDoc::new("ERR option <option> lacks a value", "the arguments end before all that belongs to it");
pub const MISSING: ErrorDoc = ErrorDoc::new("ERR option <option> is missing", "it is no option but required");
pub const CLASH: ErrorDoc =
    ErrorDoc::new("ERR options <option> and <option> exclude each other", "both are there");
pub const NEEDS: ErrorDoc =
    ErrorDoc::new("ERR option <option> needs <option>", "it says more of another, which isn't there");
pub const RANGE: ErrorDoc = ErrorDoc::new(
    "ERR <option> must be an integer between <least> and <most>",
    "it is no integer, or out of these bounds",
);
pub const NAME: ErrorDoc =
    ErrorDoc::new("ERR <name> must be 1 to 256 bytes long", "a name or token is empty or too long");
pub const TOO_LONG: ErrorDoc =
    ErrorDoc::new("ERR <text> must be at most <most> bytes long", "a text or payload is longer");
pub const ATTEMPTS: ErrorDoc = ErrorDoc::new("ERR ATTEMPTS must be -1 for no limit or at least 1", "it is 0");
pub const NOACK: ErrorDoc = ErrorDoc::new(
    "ERR NOACK takes no lease: it goes with neither LEASE, TIED nor REQUEST",
    "one of them is there, too",
);
pub const NO_CONNECTION: ErrorDoc = ErrorDoc::new(
    "ERR TIED needs the worker's own connection: scripts, functions and calls of other modules have none",
    "the claim is made by one of these",
);
pub const HANDLE: ErrorDoc = ErrorDoc::new("ERR invalid handle", "it isn't what a claim gave");
pub const ID: ErrorDoc = ErrorDoc::new("ERR invalid task id", "it isn't what a push gave");
pub const ID_OR_HANDLE: ErrorDoc =
    ErrorDoc::new("ERR invalid task id or handle", "it is neither what a push nor what a claim gave");
pub const CURSOR: ErrorDoc = ErrorDoc::new("ERR invalid cursor", "it isn't what the call before gave");
pub const WORKER_LEASED: ErrorDoc =
    ErrorDoc::new("ERR WORKER goes with the state leased only", "another state is asked for");
pub const SHARDED_NAME: ErrorDoc = ErrorDoc::new(
    "ERR a name with a { in it can't have shards: it has a say in the slot",
    "the name holds a brace",
);
pub const UNKNOWN_SETTING: ErrorDoc =
    ErrorDoc::new("ERR unknown setting '<name>'", "queues have no such setting");
pub const SETTING_WORD: ErrorDoc =
    ErrorDoc::new("ERR <setting> must be one of <words>", "it is none of them");
pub const CRON_FIELDS: ErrorDoc = ErrorDoc::new(
    "ERR CRON must be five fields in their bounds: minute 0-59, hour 0-23, day of month 1-31 or L, month 1-12, day of week 0-7",
    "the expression isn't",
);
pub const CRON_ZONE: ErrorDoc = ErrorDoc::new(
    "ERR TZ must be the name of a time zone, such as Europe/Berlin",
    "the server knows no such zone",
);
pub const CRON_NEVER: ErrorDoc =
    ErrorDoc::new("ERR CRON names a date that never comes", "such as the 30th of February");
pub const SCHEDULES: ErrorDoc =
    ErrorDoc::new("ERR a queue holds at most 1000 schedules", "this would be one more");

// The task or the queue.

pub const STALE: ErrorDoc = ErrorDoc::new(
    "STALE the lease is over and the task lives on without it",
    "the handle is of a lease that ended; among HANDLES it is -2",
);
pub const CANCELLED: ErrorDoc = ErrorDoc::new(
    "CANCELLED the task is to be cancelled",
    "TASK.CANCEL asked for that; among HANDLES it is -3",
);
pub const PAUSED: ErrorDoc =
    ErrorDoc::new("PAUSED the queue takes no pushes now", "TASK.PAUSE closed it for pushes");
pub const FULL_LEN: ErrorDoc =
    ErrorDoc::new("QFULL the queue holds max-len tasks", "there would be more than this setting allows");
pub const FULL_BYTES: ErrorDoc =
    ErrorDoc::new("QFULL the queue holds max-bytes bytes", "there would be more than this setting allows");
pub const FULL_GROUPS: ErrorDoc =
    ErrorDoc::new("QFULL the queue knows groups-max groups", "there would be more than this setting allows");
pub const FULL_TOKENS: ErrorDoc =
    ErrorDoc::new("QFULL the queue holds tokens-max tokens", "there would be more than this setting allows");
pub const EXHAUSTED: ErrorDoc = ErrorDoc::new(
    "ERR the queue has used up its ids or lease numbers",
    "they end at 2^64; a queue that was restored from a forged file may be there",
);
pub const BROKEN: ErrorDoc = ErrorDoc::new(
    "BROKEN the queue is readable only: a change failed half way, see the server's log",
    "the queue was given up; TASK.INFO tells why",
);

// The key or the server.

pub const WRONG_TYPE: ErrorDoc = ErrorDoc::new(
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "the key holds something that is no queue",
);
pub const BUSY: ErrorDoc = ErrorDoc::new(
    "ERR the queue is in use by an outer call",
    "a module calls this while it is called for a change of the same queue",
);
pub const SCRIPT: ErrorDoc = ErrorDoc::new(
    "ERR scripts can't change queues with lua-replicate-commands no: they would decide again on replicas",
    "on Redis 6.2, in a script, with that setting",
);
pub const OUT_OF_MEMORY: ErrorDoc = ErrorDoc::new(
    "OOM command not allowed when used memory > 'maxmemory'.",
    "the server is full and the data would grow",
);
pub const NO_PERMISSION: ErrorDoc = ErrorDoc::new(
    "NOPERM this user may no longer run the command or access its keys: rights were taken away meanwhile",
    "when a wait ends",
);
pub const TRY_AGAIN: ErrorDoc = ErrorDoc::new(
    "TRYAGAIN the queue is gone or has moved: ask again",
    "in a cluster, when a wait ends because the queue left the node",
);
pub const UNBLOCKED: ErrorDoc = ErrorDoc::new(
    "UNBLOCKED <why>",
    "the server ended a wait: CLIENT UNBLOCK asked it to, or this node is no primary any more",
);

// Who may send what replicas and files get.

pub const NOT_A_PEER: ErrorDoc = ErrorDoc::new(
    "ERR only a primary and its AOF send this command",
    "it comes from an ordinary client and allow-effects is off",
);
pub const EFFECT: ErrorDoc =
    ErrorDoc::new("ERR invalid effect", "a tool sent what can't be read, or doesn't fit the queue");
pub const HEAD: ErrorDoc = ErrorDoc::new("ERR invalid head of a queue", "a tool sent what can't be read");
pub const HEAD_FIRST: ErrorDoc =
    ErrorDoc::new("ERR a queue's head comes first", "the key holds no queue that is being loaded");
pub const PART: ErrorDoc =
    ErrorDoc::new("ERR invalid part of a queue", "a tool sent what can't be read, or parts are missing");
pub const STAMP: ErrorDoc = ErrorDoc::new("ERR invalid stamp", "it can't be read or shows no possible time");
