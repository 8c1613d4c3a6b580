//! The largest of everything: what a caller, a file or a peer may give.

/// No number that a user gives is larger: what a double holds exactly.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;
/// The longest span but for leases: 100 years.
pub const SPAN_MAX_MS: i64 = 100 * 365 * 86_400_000;
/// The largest rate: so many claims in its span.
pub const RATE_MAX: i64 = 1_000_000;
/// The most groups or tokens of a queue.
pub(crate) const NAMES_MAX: i64 = 10_000_000;
/// The longest lease and the longest extension of one: 24 hours.
pub const LEASE_MAX_MS: u64 = 86_400_000;
/// The most failures or stalls a limit can allow; counters stop there.
pub const ATTEMPTS_MAX: i64 = 65_535;
/// The most headers of a task.
pub const HEADERS_MAX: usize = 64;
/// The most bytes of a task's headers, names and values together.
pub const HEADERS_MAX_BYTES: usize = 4096;
/// The most bytes of a name or token.
pub const NAME_MAX_BYTES: usize = 256;
/// An error text is cut to this many bytes.
pub const ERROR_MAX_BYTES: usize = 1024;
/// The most bytes of a payload that a queue takes, whatever the server allows.
pub const PAYLOAD_MAX_BYTES: usize = 1 << 30;
/// The most tasks, handles or ids one call works on.
pub const BATCH_MAX: usize = 1000;
/// The most bytes of a result.
pub const RESULT_MAX_BYTES: usize = 1 << 20;
/// The most bytes of a progress.
pub const PROGRESS_MAX_BYTES: usize = 4096;
/// The largest weight of a group.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// The weight of tasks without a group, and of a group that has none of its own.
pub(crate) const PLAIN_WEIGHT: u32 = 1;
/// A queue's clock is at most so far from its node's, 69 years: a node that believes it is 1970 is no further off. So no
/// queue that comes from elsewhere has a clock at the end of all instants.
pub(crate) const CLOCK_OFFSET_MAX_MS: i64 = 1 << 41;
/// Tasks that one event moves or removes: about a page of leases, so that a step stays far below a millisecond.
pub(crate) const STEP_TASKS: usize = 128;
