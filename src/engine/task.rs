//! Tasks as seen from outside: ids, handles, states, options, headers.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::bounds::{
    ATTEMPTS_MAX, HEADERS_MAX, HEADERS_MAX_BYTES, LEASE_MAX_MS, NAME_MAX_BYTES, SPAN_MAX_MS,
};
use crate::inline_str::InlineStr;
use crate::time::Millis;
use crate::varint;

/// A task's id, `<ms>-<seq>`: from the primary's clock, never going backwards, unique in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TaskId {
    /// Milliseconds since the Unix epoch at the push; those of the previous id if the clock is not past it.
    pub ms: u64,
    /// Distinguishes the tasks of one millisecond.
    pub seq: u64,
}

impl TaskId {
    /// The `n`-th id after this one in the same millisecond; `None` if `seq` would overflow.
    pub fn nth(self, n: u64) -> Option<TaskId> {
        Some(TaskId { ms: self.ms, seq: self.seq.checked_add(n)? })
    }

    /// The displayed id, without an allocation.
    pub fn text(self) -> InlineStr {
        let mut text = InlineStr::new();
        self.write(&mut text);
        text
    }

    #[inline]
    fn write(self, text: &mut InlineStr) {
        text.decimal(self.ms);
        text.text(b"-");
        text.decimal(self.seq);
    }

    /// Parses `<ms>-<seq>` in decimal, without signs, spaces or leading zeros.
    pub fn parse(mut text: &[u8]) -> Option<TaskId> {
        TaskId::take(&mut text).filter(|_| text.is_empty())
    }

    /// Takes an id off the front.
    #[inline]
    fn take(text: &mut &[u8]) -> Option<TaskId> {
        let ms = decimal(text)?;
        skip(text, b'-')?;
        Some(TaskId { ms, seq: decimal(text)? })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// The number of a lease: a fencing token. It strictly increases in a queue and stays below 2^53, so that stores which
/// keep numbers as doubles can compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseNumber(pub u64);

impl LeaseNumber {
    /// The largest number a lease can have.
    pub const MAX: LeaseNumber = LeaseNumber((1 << 53) - 1);
}

/// What a claim returns and every worker command takes: `<id>@<lease number>-<nonce>`. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Handle {
    /// The task's id.
    pub id: TaskId,
    /// The number of the lease.
    pub lease: LeaseNumber,
    /// 32 random bits that only the worker with the lease knows.
    pub nonce: u32,
}

impl Handle {
    /// The displayed handle, without an allocation.
    pub fn text(self) -> InlineStr {
        let mut text = InlineStr::new();
        self.id.write(&mut text);
        text.text(b"@");
        text.decimal(self.lease.0);
        text.text(b"-");
        text.hex(self.nonce);
        text
    }

    /// Parses a displayed handle.
    pub fn parse(mut text: &[u8]) -> Option<Handle> {
        let id = TaskId::take(&mut text)?;
        skip(&mut text, b'@')?;
        let lease = LeaseNumber(decimal(&mut text)?);
        skip(&mut text, b'-')?;
        Some(Handle { id, lease, nonce: hex(text)? })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Skips this byte; `None` if another comes next.
#[inline]
fn skip(text: &mut &[u8], byte: u8) -> Option<()> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    (*first == byte).then_some(())
}

/// Takes a number off the front, as far as there are digits. It is an unsigned decimal in its canonical form, without
/// leading zeros.
#[inline]
fn decimal(text: &mut &[u8]) -> Option<u64> {
    let (mut number, mut rest) = (0u64, *text);
    // Twice eight digits are far from an overflow.
    for _ in 0..2 {
        let Some((digits, behind)) = rest.split_first_chunk() else { break };
        let Some(eight) = eight_digits(*digits) else { break };
        (number, rest) = (number * 100_000_000 + eight, behind);
    }
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = behind;
    }
    let digits = text.len() - rest.len();
    let is_canonical = digits == 1 || digits > 1 && !text.starts_with(b"0");
    *text = rest;
    is_canonical.then_some(number)
}

/// The value of eight decimal digits, computed in one word; `None` if one of them is none.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    let zeros = u64::from_le_bytes([b'0'; 8]);
    let digits = u64::from_le_bytes(text) ^ zeros;
    // In each byte, what is above 9 is above 15, or gets there by adding 6.
    let above = digits | digits.wrapping_add(u64::from_le_bytes([6; 8]));
    if above & u64::from_le_bytes([0xf0; 8]) != 0 {
        return None;
    }
    // The first digit is in the lowest byte. Pairs of digits, then pairs of those, then the two halves.
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Parses eight lower hexadecimal digits.
#[inline]
fn hex(text: &[u8]) -> Option<u32> {
    let digits: &[u8; 8] = text.try_into().ok()?;
    digits.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(digit))
    })
}

/// The state of a task. A task is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// It waits to be claimed.
    Ready,
    /// It becomes ready at a known time.
    Delayed,
    /// It waits until other tasks have ended.
    Held,
    /// A worker has it until the deadline of the lease.
    Leased,
    /// It reached a limit of failures or stalls, or its worker gave it up. It is kept for inspection.
    Dead,
    /// It is finished, and retained for a while with its result.
    Done,
}

impl TaskState {
    /// All states, in the order in which they are shown.
    pub const ALL: [TaskState; 6] = [
        TaskState::Ready,
        TaskState::Delayed,
        TaskState::Held,
        TaskState::Leased,
        TaskState::Dead,
        TaskState::Done,
    ];

    /// The word that users type and read.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Ready => "ready",
            TaskState::Delayed => "delayed",
            TaskState::Held => "held",
            TaskState::Leased => "leased",
            TaskState::Dead => "dead",
            TaskState::Done => "done",
        }
    }
}

/// The options of a push. Where one is `None`, the queue's setting applies at the time it is needed.
///
/// They have 128 bytes. What is larger is copied by a call of `memcpy`, and each push copies them a few times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
// Otherwise a damaged name in a stored schedule would pass for an option that nobody gave.
#[serde(deny_unknown_fields)]
pub struct Options<'a> {
    /// Higher priorities go first.
    pub priority: i8,
    /// After how many failures the task is dead: 1 to 65535, or −1 for no limit.
    pub attempts: Option<i32>,
    /// The length of a lease on this task, 1 ms to 24 h.
    pub lease_ms: Option<u32>,
    /// Encoded [`Headers`]; empty if there are none.
    #[serde(borrow, with = "serde_bytes")]
    pub headers: &'a [u8],
    // The fields below were added with version 2 of effects.
    /// The name of its group; empty for none. A stored record has the group's number instead.
    #[serde(default, borrow, with = "serde_bytes")]
    pub group: &'a [u8],
    /// Its UNIQUE token: while it is held, no other task with the same token can be pushed.
    #[serde(default, borrow)]
    pub unique: Option<Unique<'a>>,
    /// How long it can wait for its first claim once it is due, 1 ms to 100 years.
    #[serde(default)]
    pub ttl_ms: Option<NonZeroU64>,
    /// How long it is retained once it is done, 0 ms to 100 years.
    #[serde(default)]
    pub retain_ms: Option<u64>,
    /// The name of the batch it counts in; empty for none. A stored record has the batch's number instead. Added with
    /// version 5 of effects.
    #[serde(default, borrow, with = "serde_bytes", skip_serializing_if = "<[u8]>::is_empty")]
    pub batch: &'a [u8],
}

/// What becomes of a task if one that it waits for ends otherwise than done: dead, cancelled, expired or purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum OnDead {
    /// It stays held until that task is retried and done, or until it is retried itself.
    #[default]
    #[serde(rename = "w")]
    Wait,
    /// That task counts as done.
    #[serde(rename = "r")]
    Run,
    /// It is cancelled.
    #[serde(rename = "x")]
    Drop,
}

impl OnDead {
    /// All three, in the order in which they are shown.
    pub const ALL: [OnDead; 3] = [OnDead::Wait, OnDead::Run, OnDead::Drop];

    /// The word that users type and read.
    pub fn name(self) -> &'static str {
        match self {
            OnDead::Wait => "wait",
            OnDead::Run => "run",
            OnDead::Drop => "drop",
        }
    }
}

/// A task that another waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its id.
    pub id: TaskId,
    /// Whether the other still waits for it.
    pub is_open: bool,
}

/// A token that at most one task of a queue holds at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique<'a> {
    /// The token, 1 to 256 bytes.
    #[serde(borrow, with = "serde_bytes")]
    pub token: &'a [u8],
    /// How long the task holds it.
    pub hold: Hold,
}

/// How long a task holds its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Until the task is done, dead or removed.
    #[serde(rename = "e")]
    End,
    /// Until its first claim (UNTIL start).
    #[serde(rename = "s")]
    Start,
    /// Until the task's end, but at most until this instant on the queue's clock (FOR).
    #[serde(rename = "l")]
    AtMost(Millis),
    /// Until this instant on the queue's clock, whatever happens to the task (FOR … KEEP).
    #[serde(rename = "x")]
    Exactly(Millis),
}

impl Hold {
    /// The instant at which the token becomes free by itself; `None` if that depends on the task alone.
    pub fn until(self) -> Option<Millis> {
        match self {
            Hold::End | Hold::Start => None,
            Hold::AtMost(until) | Hold::Exactly(until) => Some(until),
        }
    }
}

impl Unique<'_> {
    pub(crate) fn is_valid(&self) -> bool {
        (1..=NAME_MAX_BYTES).contains(&self.token.len())
            && self.hold.until().is_none_or(|until| until <= Millis::MAX)
    }
}

impl Options<'_> {
    /// Whether all fields are within bounds. For options from a file or a peer.
    pub(crate) fn are_valid(&self) -> bool {
        let attempts = self.attempts.is_none_or(|n| n == -1 || (1..=ATTEMPTS_MAX).contains(&i64::from(n)));
        let lease = self.lease_ms.is_none_or(|ms| (1..=LEASE_MAX_MS).contains(&u64::from(ms)));
        let spans = [self.ttl_ms.map(NonZeroU64::get), self.retain_ms];
        let spans = spans.into_iter().flatten().all(|ms| ms <= SPAN_MAX_MS as u64);
        let names = self.group.len() <= NAME_MAX_BYTES
            && self.batch.len() <= NAME_MAX_BYTES
            && self.unique.is_none_or(|unique| unique.is_valid());
        attempts && lease && spans && names && (self.headers.is_empty() || Headers(self.headers).are_valid())
    }
}

/// Encoded names and values that travel with a task: a count, then each name and value with its length.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(pub &'a [u8]);

impl<'a> Headers<'a> {
    /// Encodes pairs of name and value; empty for no pairs. The caller must respect the bounds.
    pub fn pack(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut packed = Vec::new();
        if !pairs.is_empty() {
            varint::put(&mut packed, pairs.len() as u64);
        }
        for (name, value) in pairs {
            for part in [name, value] {
                varint::put(&mut packed, part.len() as u64);
                packed.extend_from_slice(part);
            }
        }
        packed
    }

    /// The pairs of name and value, in the order given.
    pub fn pairs(self) -> Vec<(&'a [u8], &'a [u8])> {
        self.read().unwrap_or_default()
    }

    fn are_valid(self) -> bool {
        let bytes = |pairs: &Vec<(&[u8], &[u8])>| pairs.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        self.read().is_some_and(|pairs| !pairs.is_empty() && bytes(&pairs) <= HEADERS_MAX_BYTES)
    }

    fn read(self) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        let mut rest = self.0;
        if rest.is_empty() {
            return Some(Vec::new());
        }
        let count = usize::try_from(varint::get(&mut rest)?).ok().filter(|&n| n <= HEADERS_MAX)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            pairs.push((varint::get_bytes(&mut rest)?, varint::get_bytes(&mut rest)?));
        }
        rest.is_empty().then_some(pairs)
    }
}
