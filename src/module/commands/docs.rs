//! The parts that the manuals of several commands share: the version that introduced them, and the errors that they
//! can reply.
//!
//! In the text of an error, `<…>` stands for what differs. [`crate::errors`] makes the texts. The tests in
//! `test_manual.py` provoke each error, and compare the errors that a command replies with its manual.

use taskslot_api::command::ErrorDoc;

/// The version of the module that introduced the commands of the first release.
pub const FIRST: &str = "0.2.0";

/// The errors of a command's manual, by their names in this file.
macro_rules! errors {
    ($($error:ident),+ $(,)?) => { &[$($crate::commands::docs::$error,)+] };
}
pub(super) use errors;

// Errors that most commands share.

pub const UNKNOWN: ErrorDoc = ErrorDoc::shared(
    "unknown option",
    "ERR unknown option '<word>', expected <words>",
    "The command expects one of these words here",
);
pub const TOO_MANY: ErrorDoc = ErrorDoc::shared(
    "unexpected argument",
    "ERR unexpected argument '<word>'",
    "The command takes no more arguments",
);
pub const TWICE: ErrorDoc = ErrorDoc::shared(
    "option given twice",
    "ERR option <option> is given twice",
    "Each option can be given once",
);
pub const NO_VALUE: ErrorDoc = ErrorDoc::shared(
    "missing value",
    "ERR option <option> has no value",
    "The arguments end before the option's last value",
);
pub const TOO_FEW_VALUES: ErrorDoc = ErrorDoc::shared(
    "too few values",
    "ERR option <option> has fewer values than its number says",
    "The arguments end before as many values as the number after the option says",
);
pub const NUMBER: ErrorDoc = ErrorDoc::shared(
    "invalid number of values",
    "ERR <option> must be followed by the number of <values>, <least> to <most>",
    "The option takes several values, and their number comes first",
);
pub const REQUIRED: ErrorDoc = ErrorDoc::shared(
    "missing option",
    "ERR option <option> is required",
    "An option that the command needs is not given",
);
pub const CLASH: ErrorDoc = ErrorDoc::shared(
    "conflicting options",
    "ERR options <option> and <option> cannot be combined",
    "Both are given",
);
pub const REQUIRES: ErrorDoc = ErrorDoc::shared(
    "incomplete options",
    "ERR option <option> requires <option>",
    "The first option is given without the second",
);
pub const RANGE: ErrorDoc = ErrorDoc::shared(
    "number out of range",
    "ERR <option> must be an integer between <least> and <most>",
    "The value is not an integer, or is out of bounds",
);
pub const NAME: ErrorDoc = ErrorDoc::shared(
    "invalid name",
    "ERR <name> must be 1 to 256 bytes long",
    "A name or token is empty or too long",
);
pub const TOO_LONG: ErrorDoc = ErrorDoc::shared(
    "value too long",
    "ERR <text> must be at most <most> bytes long",
    "A payload or another text is too long",
);
pub const HANDLE: ErrorDoc =
    ErrorDoc::shared("invalid handle", "ERR invalid handle", "The text does not have the form of a handle");
pub const ID: ErrorDoc =
    ErrorDoc::shared("invalid id", "ERR invalid task id", "The text does not have the form of a task id");
pub const WRONG_TYPE: ErrorDoc = ErrorDoc::shared(
    "wrong type",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "The key holds a value that is not a queue",
);
pub const OUT_OF_MEMORY: ErrorDoc = ErrorDoc::shared(
    "out of memory",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "The server has reached `maxmemory`, and the command would make the data grow",
);
pub const BROKEN: ErrorDoc = ErrorDoc::shared(
    "broken queue",
    "BROKEN the queue can only be read: a change failed or effects are missing, see TASK.INFO and the server's log",
    "The queue was marked as broken. The field `broken` of TASK.INFO gives the reason",
);
pub const BUSY: ErrorDoc = ErrorDoc::shared(
    "queue in use",
    "ERR the queue is already in use by the command that caused this call",
    "Another module calls the command while it is notified of a change of the same queue",
);
pub const SCRIPT: ErrorDoc = ErrorDoc::shared(
    "script replication",
    "ERR scripts cannot change queues when lua-replicate-commands is no",
    "Redis 6.2 replicates scripts themselves with this setting, so that replicas would decide again",
);

// Arguments of single commands.

pub const ATTEMPTS: ErrorDoc =
    ErrorDoc::new("ERR ATTEMPTS must be at least 1, or -1 for no limit", "ATTEMPTS is 0");
pub const NO_CHANGE: ErrorDoc =
    ErrorDoc::new("ERR at least one option is required", "Nothing is given that could change");
pub const WAITS: ErrorDoc = ErrorDoc::new(
    "ERR TASKS times AFTER must be at most 10000",
    "The call would add more waits. Let the tasks wait for one task that waits for the others, or push them in parts",
);
pub const WAITS_OF_IDS: ErrorDoc = ErrorDoc::new(
    "ERR IDS names held tasks that wait for more than 10000 others together",
    "Nothing is changed, so that the call does not hold the server up. Send fewer ids at a time",
);
pub const NOACK: ErrorDoc = ErrorDoc::new(
    "ERR NOACK cannot be combined with LEASE, TIED or REQUEST",
    "A task that is claimed with NOACK has no lease",
);
pub const NO_CONNECTION: ErrorDoc = ErrorDoc::new(
    "ERR TIED requires a client's own connection: scripts, functions and calls of other modules have none",
    "The claim comes from one of these",
);
pub const ID_OR_HANDLE: ErrorDoc =
    ErrorDoc::new("ERR invalid task id or handle", "The text has neither form");
pub const TASK: ErrorDoc = ErrorDoc::new(
    "ERR invalid task id: expected an id, IDS, UNIQUE or COUNT",
    "What comes after the key is none of these",
);
pub const CURSOR: ErrorDoc =
    ErrorDoc::new("ERR invalid cursor", "The text is not a cursor of an earlier reply");
pub const WORKER_LEASED: ErrorDoc =
    ErrorDoc::new("ERR WORKER can be used with the state LEASED only", "Another state is given");
pub const SHARDED_NAME: ErrorDoc = ErrorDoc::new(
    "ERR a queue name that contains '{' cannot be sharded",
    "The brace would change the slots of the shards",
);
pub const UNKNOWN_SETTING: ErrorDoc =
    ErrorDoc::new("ERR unknown setting '<name>'", "Queues have no setting with this name");
pub const SETTING_WORD: ErrorDoc =
    ErrorDoc::new("ERR <setting> must be one of <words>", "The value is none of these words");
pub const CRON_FIELDS: ErrorDoc = ErrorDoc::new(
    "ERR CRON must have five fields: minute 0-59, hour 0-23, day of month 1-31 or L, month 1-12, day of week 0-7",
    "The expression has another form, or a number in it is out of bounds",
);
pub const CRON_ZONE: ErrorDoc = ErrorDoc::new(
    "ERR TZ must be the name of a time zone, such as Europe/Berlin",
    "The server does not know the zone",
);
pub const CRON_NEVER: ErrorDoc =
    ErrorDoc::new("ERR CRON names a date that never comes", "For example, the 30th of February");
pub const SCHEDULES: ErrorDoc =
    ErrorDoc::new("ERR a queue can have at most 1000 schedules", "The schedule would be one more");

pub const NO_SCHEDULE: ErrorDoc =
    ErrorDoc::new("ERR there is no such schedule", "RUN names a schedule that the queue does not have");

// The task or the queue.

pub const STALE: ErrorDoc = ErrorDoc::new(
    "STALE the lease has ended and the handle is no longer valid",
    "The lease ended, but the task still exists. With HANDLES, the array has -2 instead",
);
pub const NO_PUSH: ErrorDoc = ErrorDoc::new(
    "NOPERM with PUSH, this user needs the permission to run TASK.PUSH on this key",
    "From Redis 7.0 on, a user who may not push cannot do so with an ACK either. The task is not finished",
);
pub const CANCELLED: ErrorDoc = ErrorDoc::new(
    "CANCELLED cancellation of this task was requested",
    "TASK.CANCEL asked the worker to stop. With HANDLES, the array has -3 instead",
);
pub const PAUSED: ErrorDoc = ErrorDoc::new("PAUSED the queue accepts no pushes", "TASK.PAUSE stopped pushes");
pub const FULL_LEN: ErrorDoc = ErrorDoc::new(
    "QFULL the queue has reached max-len",
    "There would be more ready, delayed, held and leased tasks than the setting allows",
);
pub const FULL_BYTES: ErrorDoc = ErrorDoc::new(
    "QFULL the queue has reached max-bytes",
    "The tasks would take more bytes than the setting allows",
);
pub const FULL_GROUPS: ErrorDoc = ErrorDoc::new(
    "QFULL the queue has reached groups-max",
    "There would be more groups than the setting allows",
);
pub const FULL_TOKENS: ErrorDoc = ErrorDoc::new(
    "QFULL the queue has reached tokens-max",
    "Tasks would hold more UNIQUE tokens than the setting allows",
);
pub const FULL_BATCHES: ErrorDoc = ErrorDoc::new(
    "QFULL the queue has a million batches",
    "There would be more batches than a queue can have. A batch is removed with its callback",
);
pub const UNKNOWN_BATCH: ErrorDoc =
    ErrorDoc::new("ERR there is no batch of this name", "It was never opened, or its callback has ended");
pub const CLOSED_BATCH: ErrorDoc = ErrorDoc::new(
    "ERR the batch takes no more tasks: its callback waits no more",
    "It is closed and all of its tasks have ended, or its callback was retried",
);
pub const NEVER_PUSHED: ErrorDoc = ErrorDoc::new(
    "ERR AFTER names a task that was never pushed",
    "An id is above all ids that the queue has given",
);
pub const CIRCULAR: ErrorDoc = ErrorDoc::new(
    "ERR AFTER names a held task outside the batch",
    "With BATCH, the task may wait for held tasks of the same batch only. Another may itself wait for the batch, and \
     both would be held for ever",
);
pub const TOKEN_HELD: ErrorDoc = ErrorDoc::new(
    "ERR another task holds the token",
    "The task of the run would have a token that is not free",
);
pub const EXHAUSTED: ErrorDoc = ErrorDoc::new(
    "ERR the queue has run out of ids or lease numbers",
    "They end at 2^64. Only a queue that was restored from a forged file can get there",
);

// Waiting clients.

pub const NO_PERMISSION: ErrorDoc = ErrorDoc::new(
    "NOPERM this user lost the permission to run the command or to access its keys while the client waited",
    "The rights of the user changed during BLOCK",
);
pub const TRY_AGAIN: ErrorDoc = ErrorDoc::new(
    "TRYAGAIN the queue was removed or is moving to another node: try again",
    "In a cluster, the queue left this node during BLOCK",
);
pub const BROKEN_WAIT: ErrorDoc = ErrorDoc::new(
    BROKEN.text,
    "Only with BLOCK, if the task has not ended: no task ends in a queue that was marked as broken",
);
pub const UNBLOCKED: ErrorDoc = ErrorDoc::new(
    "UNBLOCKED <why>",
    "The server ended the wait: CLIENT UNBLOCK with ERROR was sent, or this node is no longer a primary",
);

// Commands for replicas and files.

pub const NOT_A_PEER: ErrorDoc = ErrorDoc::new(
    "ERR this command is reserved for replication and the AOF",
    "An ordinary client sent it, and `allow-effects` is off",
);
pub const EFFECT: ErrorDoc = ErrorDoc::new(
    "ERR invalid effect",
    "With `allow-effects`: the effect cannot be read, or does not fit the queue",
);
pub const HEAD: ErrorDoc =
    ErrorDoc::new("ERR invalid queue head", "With `allow-effects`: the head cannot be read");
pub const HEAD_FIRST: ErrorDoc =
    ErrorDoc::new("ERR the head of a queue must come first", "The key holds no queue that is being loaded");
pub const PART: ErrorDoc = ErrorDoc::new(
    "ERR invalid queue part",
    "With `allow-effects`: the part has changed since it was written, or others are missing. The right one can follow",
);
pub const NO_NUMBERS: ErrorDoc = ErrorDoc::new(
    "ERR the queue has no numbers left",
    "With `allow-effects`: it has run out of ids, of the numbers of tasks, leases or batches, or of room in its totals. \
        Only a forged queue can get there",
);
pub const STAMP: ErrorDoc =
    ErrorDoc::new("ERR invalid stamp", "The stamp cannot be read, or its time is not possible");
