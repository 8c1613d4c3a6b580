//! What the naive model notes of an attempt as it ends.

use taskslot_engine::TaskId;

use super::{Model, Place};

/// Who failed when, at which delivery, and what was said.
pub type Failure = (u32, u64, Vec<u8>, Vec<u8>);

/// When a task was claimed for the last time, how long the attempt ran, and the worker.
pub type Last = (u64, u64, Vec<u8>);

impl Model {
    /// Notes the error of an attempt that is about to end. A list without any text is not kept.
    pub(super) fn note_error(&mut self, at: u64, id: TaskId, text: &[u8]) {
        let kept = self.setting("errors-kept") as usize;
        let task = self.find(id).unwrap();
        let Place::Leased { worker, .. } = &task.place else { unreachable!() };
        task.errors.push((task.deliveries, at, worker.clone(), text.to_vec()));
        let surplus = task.errors.len().saturating_sub(kept);
        task.errors.drain(..surplus);
        if task.errors.iter().all(|(.., text)| text.is_empty()) {
            task.errors.clear();
        }
    }

    /// Notes the last attempt of a task that is about to be dead or done.
    pub(super) fn note_last(&mut self, ended_at: u64, id: TaskId) {
        let task = self.find(id).unwrap();
        task.last = match (&task.place, task.last.take()) {
            (Place::Leased { claimed_at, worker, .. }, _) => {
                Some((*claimed_at, ended_at - claimed_at, worker.clone()))
            }
            (_, Some((claimed_at, _, worker))) => Some((claimed_at, ended_at - claimed_at, worker)),
            (_, None) => None,
        };
    }

    /// The errors that are shown of a task.
    pub fn shown_errors(&self, errors: &[Failure]) -> Vec<Failure> {
        errors[errors.len().saturating_sub(self.setting("errors-kept") as usize)..].to_vec()
    }
}
