//! The last errors of a task.

use crate::bounds::{ERROR_MAX_BYTES, ERRORS_KEPT_MAX, NAME_MAX_BYTES};
use crate::time::Millis;
use crate::varint;

/// An error of a task: what a FAIL said, or why the task died without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskError<'a> {
    /// The number of the delivery that failed; 0 if an older version stored the error.
    pub attempt: u32,
    /// When it failed; 0 if an older version stored the error.
    pub at: Millis,
    /// The name of the worker; empty if it gave none, or if an older version stored the error.
    pub worker: &'a [u8],
    /// The text; empty if the FAIL gave none.
    pub text: &'a [u8],
}

impl<'a> TaskError<'a> {
    /// Takes an error off the front; `None` if there is none.
    fn read(rest: &mut &'a [u8]) -> Option<TaskError<'a>> {
        Some(TaskError {
            attempt: varint::get(rest)?.try_into().ok()?,
            at: Millis(varint::get(rest)?),
            worker: varint::get_bytes(rest)?,
            text: varint::get_bytes(rest)?,
        })
    }

    fn put(&self, to: &mut Vec<u8>) {
        varint::put(to, self.attempt.into());
        varint::put(to, self.at.0);
        for part in [self.worker, self.text] {
            varint::put(to, part.len() as u64);
            to.extend_from_slice(part);
        }
    }

    /// Bytes in the stored form.
    fn stored_bytes(&self) -> usize {
        let numbers = [u64::from(self.attempt), self.at.0, self.worker.len() as u64, self.text.len() as u64];
        numbers.into_iter().map(varint::len).sum::<usize>() + self.worker.len() + self.text.len()
    }

    fn is_valid(&self) -> bool {
        self.at <= Millis::MAX && self.worker.len() <= NAME_MAX_BYTES && self.text.len() <= ERROR_MAX_BYTES
    }
}

/// The last errors of a task, the oldest first: at most [`crate::ERRORS_KEPT_MAX`]. At least one of them has a text.
///
/// In its stored form each error is a number, an instant, and two texts with their lengths, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskErrors<'a>(&'a [u8]);

impl<'a> TaskErrors<'a> {
    /// Reads the stored form; empty for none.
    pub(crate) fn stored(bytes: &'a [u8]) -> TaskErrors<'a> {
        TaskErrors(bytes)
    }

    /// The errors, the oldest first.
    pub fn iter(self) -> impl Iterator<Item = TaskError<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || TaskError::read(&mut rest))
    }

    /// How many errors there are.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The text of the last error; empty if there is none.
    pub fn last_text(self) -> &'a [u8] {
        self.iter().last().map_or(&[], |error| error.text)
    }

    /// Bytes of the texts.
    pub fn text_bytes(self) -> usize {
        self.iter().map(|error| error.text.len()).sum()
    }

    /// Bytes of the texts and names, and about those of the numbers.
    pub(crate) fn bytes(self) -> usize {
        self.0.len()
    }

    /// Whether this is one text and nothing else, as an older version stored it.
    pub(crate) fn is_text_only(self) -> bool {
        let mut errors = self.iter();
        let first = errors.next();
        let is_text = matches!(first, Some(TaskError { attempt: 0, at: Millis(0), worker: [], .. }));
        is_text && errors.next().is_none()
    }

    /// The stored form.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The newest of the errors, at most `count`.
    pub(crate) fn newest(self, count: usize) -> TaskErrors<'a> {
        let mut rest = self.0;
        for _ in count..self.len() {
            TaskError::read(&mut rest);
        }
        TaskErrors(rest)
    }

    /// The stored form of these errors and another one, in all at most `kept`. `None` if none of them has a text,
    /// because then there is nothing to keep.
    pub(crate) fn and(self, error: &TaskError<'_>, kept: usize) -> Option<Vec<u8>> {
        let before = self.newest(kept.saturating_sub(1));
        if error.text.is_empty() && before.text_bytes() == 0 {
            return None;
        }
        let mut all = Vec::with_capacity(before.bytes() + error.stored_bytes());
        all.extend_from_slice(before.0);
        error.put(&mut all);
        Some(all)
    }

    /// Whether these are errors within bounds. For those from a file.
    pub(crate) fn are_valid(self) -> bool {
        let read: usize = self.iter().map(|error| error.stored_bytes()).sum();
        let has_text = self.iter().any(|error| !error.text.is_empty());
        read == self.0.len()
            && has_text
            && self.len() <= ERRORS_KEPT_MAX
            && self.iter().all(|error| error.is_valid())
    }
}
