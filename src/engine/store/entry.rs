//! What is known of a task that has been touched: its phase, its rank, its last lease and its counters.
//!
//! A task that was only pushed has no entry. Code works with an [`Entry`]. A page stores it as a [`Packed`] of 45
//! bytes, because every leased task has one.

use crate::numbers::{Rank, WorkerNumber};
use crate::task::{LeaseNumber, TaskState};
use crate::time::{Due, Millis, When};

/// The state of a touched task, with the data that belongs to this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ready again, since `since`.
    Ready { since: Millis },
    /// Becomes ready at `due`.
    Delayed { due: Due },
    /// Waits for other tasks, since `since`. Once it doesn't any more, it becomes ready as `when` says.
    Held { since: Millis, when: When },
    /// Leased by a worker. `cancel` is set if the cancellation of the task was requested.
    Leased { deadline: Millis, claimed_at: Millis, worker: WorkerNumber, tied: bool, cancel: bool },
    /// It reached a limit of failures or stalls, or a worker declared it dead.
    Dead { at: Millis },
    /// Finished, and retained until `until`.
    Done { at: Millis, until: Millis },
}

impl Phase {
    /// The instant of the state: ready, held, dead or done since, due at, or the deadline of the lease.
    pub fn instant(&self) -> Millis {
        match *self {
            Phase::Ready { since } | Phase::Held { since, .. } => since,
            Phase::Delayed { due } => due.instant(),
            Phase::Leased { deadline, .. } => deadline,
            Phase::Dead { at } | Phase::Done { at, .. } => at,
        }
    }

    /// When the lease ends; `None` in any other state.
    pub fn deadline(&self) -> Option<Millis> {
        match *self {
            Phase::Leased { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    pub fn state(&self) -> TaskState {
        match self {
            Phase::Ready { .. } => TaskState::Ready,
            Phase::Delayed { .. } => TaskState::Delayed,
            Phase::Held { .. } => TaskState::Held,
            Phase::Leased { .. } => TaskState::Leased,
            Phase::Dead { .. } => TaskState::Dead,
            Phase::Done { .. } => TaskState::Done,
        }
    }
}

/// A task with at least this many stalls is a suspect: it may have crashed its workers.
const SUSPECT_STALLS: u16 = 2;

/// What is known of a touched task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub phase: Phase,
    /// Its turn among the ready tasks. It stays the same during a lease. A task that was delayed gets a new
    /// one, unless its group is ordered.
    pub rank: Rank,
    /// The number of the last lease; 0 if there was none.
    pub lease: LeaseNumber,
    pub nonce: u32,
    /// The length of the last lease, which EXTEND gives again by default.
    pub lease_ms: u32,
    /// Whether the last lease ended as a stall. The worker that held it can still ACK the task.
    pub stalled: bool,
    pub deliveries: u32,
    pub failures: u16,
    pub stalls: u16,
}

impl Entry {
    /// Whether the task must be delivered alone, so that a crash does not count against other tasks.
    pub fn is_suspect(&self) -> bool {
        self.stalls >= SUSPECT_STALLS
    }

    /// The entry with the worker's number set to "no name".
    pub fn without_worker(self) -> Entry {
        match self.phase {
            Phase::Leased { deadline, claimed_at, tied, cancel, .. } => {
                let worker = WorkerNumber(0);
                Entry { phase: Phase::Leased { deadline, claimed_at, worker, tied, cancel }, ..self }
            }
            _ => self,
        }
    }

    /// The entry of a task that was never claimed.
    pub fn untouched(phase: Phase, rank: Rank) -> Entry {
        Entry {
            phase,
            rank,
            lease: LeaseNumber(0),
            nonce: 0,
            lease_ms: 0,
            stalled: false,
            deliveries: 0,
            failures: 0,
            stalls: 0,
        }
    }
}

/// An unsigned integer in N bytes, little endian. A larger value becomes the largest that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UintLe<const N: usize>([u8; N]);

impl<const N: usize> UintLe<N> {
    fn new(value: u64) -> UintLe<N> {
        let value = value.min(u64::MAX >> (64 - 8 * N));
        UintLe(value.to_le_bytes().first_chunk::<N>().copied().unwrap_or([0; N]))
    }

    fn get(self) -> u64 {
        let mut value = [0; 8];
        if let Some(low) = value.first_chunk_mut::<N>() {
            *low = self.0;
        }
        u64::from_le_bytes(value)
    }
}

/// Bytes of an entry in its stored form.
pub(crate) const PACKED_BYTES: usize = 45;

/// An entry in its stored form; the fields are in the order of the bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
pub(crate) struct Packed {
    /// The slot of the task in its page.
    pub slot: u8,
    /// The state and flags: see the constants below.
    bits: u8,
    rank: UintLe<6>,
    /// Ready, held, dead or done since, due at, or the deadline of the lease.
    instant: UintLe<6>,
    lease: UintLe<7>,
    nonce: u32,
    lease_ms: u32,
    /// Leased: the time from the claim to the deadline, at most 49 days. Done: the low half of the retention, in ms.
    /// Held: the low half of the delay in ms, or of the instant.
    span_ms: u32,
    /// Leased: the worker's number. Done and held: the other half.
    worker: u32,
    deliveries: u32,
    failures: u16,
    stalls: u16,
}

const STATE: u8 = 0b0000_0011;
const WALL: u8 = 0b0000_0100;
const TIED: u8 = 0b0000_1000;
const CANCEL: u8 = 0b0001_0000;
const STALLED: u8 = 0b0010_0000;
/// With the state "dead": the task is done, not dead.
const DONE: u8 = 0b0100_0000;
/// With the state "delayed": the task is held. A delay is 0 for none; with [`WALL`] it is an instant.
const HELD: u8 = 0b1000_0000;

impl Packed {
    pub fn new(slot: u8, entry: &Entry) -> Packed {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let (state, instant, span_ms, worker) = match entry.phase {
            Phase::Ready { since } => (0, since, 0, 0),
            Phase::Delayed { due } => (1 | flag(matches!(due, Due::Wall(_)), WALL), due.instant(), 0, 0),
            Phase::Held { since, when } => {
                let (bits, number) = match when {
                    When::Now => (0, 0),
                    When::After(ms) => (0, ms),
                    When::At(at) => (WALL, at.0),
                };
                (1 | HELD | bits, since, number as u32, (number >> 32) as u32)
            }
            Phase::Leased { deadline, claimed_at, worker, tied, cancel } => {
                let span_ms = u32::try_from(deadline.since(claimed_at)).unwrap_or(u32::MAX);
                (2 | flag(tied, TIED) | flag(cancel, CANCEL), deadline, span_ms, worker.0)
            }
            Phase::Dead { at } => (3, at, 0, 0),
            Phase::Done { at, until } => {
                let retain_ms = until.since(at);
                (3 | DONE, at, retain_ms as u32, (retain_ms >> 32) as u32)
            }
        };
        Packed {
            slot,
            bits: state | flag(entry.stalled, STALLED),
            rank: UintLe::new(entry.rank.0),
            instant: UintLe::new(instant.0),
            lease: UintLe::new(entry.lease.0),
            nonce: entry.nonce,
            lease_ms: entry.lease_ms,
            span_ms,
            worker,
            deliveries: entry.deliveries,
            failures: entry.failures,
            stalls: entry.stalls,
        }
    }

    pub fn entry(&self) -> Entry {
        let instant = Millis(self.instant.get());
        let phase = match self.bits & STATE {
            0 => Phase::Ready { since: instant },
            1 if self.bits & HELD != 0 => {
                let number = u64::from(self.worker) << 32 | u64::from(self.span_ms);
                let when = match number {
                    at if self.bits & WALL != 0 => When::At(Millis(at)),
                    0 => When::Now,
                    ms => When::After(ms),
                };
                Phase::Held { since: instant, when }
            }
            1 if self.bits & WALL != 0 => Phase::Delayed { due: Due::Wall(instant) },
            1 => Phase::Delayed { due: Due::Clock(instant) },
            2 => Phase::Leased {
                deadline: instant,
                claimed_at: Millis(instant.0.saturating_sub(u64::from(self.span_ms))),
                worker: WorkerNumber(self.worker),
                tied: self.bits & TIED != 0,
                cancel: self.bits & CANCEL != 0,
            },
            _ if self.bits & DONE != 0 => {
                let retain_ms = u64::from(self.worker) << 32 | u64::from(self.span_ms);
                Phase::Done { at: instant, until: instant.plus(retain_ms) }
            }
            _ => Phase::Dead { at: instant },
        };
        Entry {
            phase,
            rank: Rank(self.rank.get()),
            lease: LeaseNumber(self.lease.get()),
            nonce: self.nonce,
            lease_ms: self.lease_ms,
            stalled: self.bits & STALLED != 0,
            deliveries: self.deliveries,
            failures: self.failures,
            stalls: self.stalls,
        }
    }

    /// The deadline of a leased task, read without unpacking the rest; `None` in any other state.
    pub fn deadline(&self) -> Option<Millis> {
        (self.bits & STATE == 2).then(|| Millis(self.instant.get()))
    }

    /// Appends the stored form: every field in order, little endian.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.slot, self.bits]);
        out.extend_from_slice(&self.rank.0);
        out.extend_from_slice(&self.instant.0);
        out.extend_from_slice(&self.lease.0);
        for word in [self.nonce, self.lease_ms, self.span_ms, self.worker, self.deliveries] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.failures, self.stalls] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads the stored form. `None` if it isn't [`PACKED_BYTES`] long, or differs from what [`Packed::new`] writes for
    /// the same entry: two different stored forms never mean the same.
    pub fn read(bytes: &[u8]) -> Option<Packed> {
        let mut rest = bytes;
        let [slot, bits] = take(&mut rest)?;
        let rank = UintLe(take(&mut rest)?);
        let instant = UintLe(take(&mut rest)?);
        let lease = UintLe(take(&mut rest)?);
        let mut word = || Some(u32::from_le_bytes(take(&mut rest)?));
        let (nonce, lease_ms, span_ms, worker, deliveries) = (word()?, word()?, word()?, word()?, word()?);
        let failures = u16::from_le_bytes(take(&mut rest)?);
        let stalls = u16::from_le_bytes(take(&mut rest)?);
        let packed = Packed {
            slot,
            bits,
            rank,
            instant,
            lease,
            nonce,
            lease_ms,
            span_ms,
            worker,
            deliveries,
            failures,
            stalls,
        };
        let mut again = Vec::with_capacity(PACKED_BYTES);
        Packed::new(slot, &packed.entry()).put(&mut again);
        (rest.is_empty() && again == bytes).then_some(packed)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}
