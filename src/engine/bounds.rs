//! The limits of every size, span and number that a caller, a file or a peer can give.

use taskslot_edges::edge;

/// The largest number that users can give: the largest that a double represents exactly, like all below it.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;
/// The longest span, except for leases: 100 years.
pub const SPAN_MAX_MS: i64 = 100 * 365 * 86_400_000;
/// The most claims that a rate can allow in its span.
pub const RATE_MAX: i64 = 1_000_000;
/// The highest value of `groups-max` and `tokens-max`.
pub(crate) const NAMES_MAX: i64 = 10_000_000;
/// The longest lease, and the longest single extension: 24 hours.
pub const LEASE_MAX_MS: u64 = 86_400_000;
/// The highest limit of failures or stalls. The counters of a task stop here.
pub const ATTEMPTS_MAX: i64 = 65_535;
/// The most headers of a task.
pub const HEADERS_MAX: usize = 64;
/// The most bytes of a task's headers: all names and values together.
pub const HEADERS_MAX_BYTES: usize = 4096;
/// The most bytes of a name (worker, group, schedule) or a token.
pub const NAME_MAX_BYTES: usize = 256;
/// The most bytes of an error text. A longer one is cut.
pub const ERROR_MAX_BYTES: usize = 4096;
/// The most errors that are kept of a task: the highest value of `errors-kept`.
pub const ERRORS_KEPT_MAX: usize = 10;
/// The most bytes of a payload, whatever the server allows.
pub const PAYLOAD_MAX_BYTES: usize = 1 << 30;
/// The most tasks, handles or ids in one call.
pub const BATCH_MAX: usize = 1000;
/// About the most waits that one call adds or ends, where a held task waits for each of its parents: one or two
/// milliseconds.
pub const WAITS_MAX: usize = 10_000;
/// The most bytes of a result.
pub const RESULT_MAX_BYTES: usize = 1 << 20;
/// The most bytes of a progress text.
pub const PROGRESS_MAX_BYTES: usize = 4096;
/// The largest weight of a group.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// The weight of a group without one of its own, and of all tasks without a group together.
pub(crate) const PLAIN_WEIGHT: u32 = 1;
/// The most that a queue's clock can differ from its node's, in ms: 69 years. That covers a node which believes it is
/// 1970, and keeps the clock of any queue that arrives here far from [`crate::Millis::MAX`].
pub const CLOCK_OFFSET_MAX_MS: i64 = 1 << 41;
/// How many tasks one event moves or removes: about a page of leases, so a step takes far less than a millisecond.
pub const STEP_TASKS: usize = edge(128, 3);
