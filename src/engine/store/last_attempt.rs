//! The last attempt of a task that is dead or done.

use crate::bounds::NAME_MAX_BYTES;
use crate::time::Millis;
use crate::varint;

/// The last attempt of a task that is dead or done. Its stored form is two numbers, followed by the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAttempt<'a> {
    /// When the task was claimed.
    pub claimed_at: Millis,
    /// From the claim to its answer, or to the end of its lease if there was no answer, in ms.
    pub run_ms: u64,
    /// The name of the worker; empty if it gave none.
    pub worker: &'a [u8],
}

impl<'a> LastAttempt<'a> {
    /// Reads the stored form; `None` if it is damaged.
    pub(crate) fn read(mut bytes: &'a [u8]) -> Option<LastAttempt<'a>> {
        let (claimed_at, run_ms) = (Millis(varint::get(&mut bytes)?), varint::get(&mut bytes)?);
        Some(LastAttempt { claimed_at, run_ms, worker: bytes })
    }

    /// The stored form.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let numbers = [self.claimed_at.0, self.run_ms];
        let bytes = numbers.into_iter().map(varint::len).sum::<usize>() + self.worker.len();
        let mut stored = Vec::with_capacity(bytes);
        numbers.into_iter().for_each(|number| varint::put(&mut stored, number));
        stored.extend_from_slice(self.worker);
        stored
    }

    /// Whether all fields are within bounds. For one from a file.
    pub(crate) fn is_valid(&self) -> bool {
        let ended_at = self.claimed_at.0.checked_add(self.run_ms);
        ended_at.is_some_and(|at| at <= Millis::MAX.0) && self.worker.len() <= NAME_MAX_BYTES
    }
}
