//! How much an event adds to the data. A server that is out of memory refuses what grows and accepts the rest.
//!
//! The server itself refuses pushes, whatever they contain. Claims are never refused: besides a lease they store only a
//! worker's name and a remembered reply, which are bounded. Of all other events only a few store bytes that a user
//! chose. Any event can also add an entry or an index node of fixed size per task, note a task's last attempt (its numbers
//! and a name, at most about 330 bytes), and note with an error who made the attempt, or why the task died of a stall
//! (two names at most, about 600 bytes). That must stay possible, otherwise a full queue could not drain, and there are
//! never more of them than tasks and `errors-kept` for each.

use crate::bounds::ERROR_MAX_BYTES;
use crate::event::{End, Event};
use crate::limits::GroupLimits;
use crate::state::State;
use crate::store::side_table::SideTable;
use crate::store::task_errors::TaskErrors;
use crate::task::TaskId;

/// What a name takes in its table besides its bytes, approximately.
const NAME_BYTES: i64 = 56;

impl State {
    /// How many bytes chosen by users the event adds, minus those that it releases. The event must have been decided on
    /// this queue. Zero or less means that the data does not grow. Pushes and claims count as 0: see the
    /// head of this module. Every event is listed, so a new one must declare whether it stores bytes.
    pub fn growth(&self, event: &Event) -> i64 {
        match event {
            // A retained task swaps its progress for its result. A task that isn't retained releases all of its bytes.
            Event::Acked { id, end: Some(End { retain_ms: 1.., result, .. }), .. } => {
                result.map_or(0, len) - self.bytes_in(&self.progress, *id)
            }
            Event::Acked { id, .. } => {
                self.find(*id).map_or(0, |found| -(self.task_bytes(found.position, found.order) as i64))
            }
            Event::Extended { id, progress, .. } | Event::Requeued { id, progress, .. } => {
                self.progress_growth(*id, *progress)
            }
            Event::Failed { id, error, progress, .. } => {
                self.error_growth(*id, error) + self.progress_growth(*id, *progress)
            }
            Event::Grouped { name, limits: Some(_) } => self.group_growth(name),
            Event::Replaced { id, headers, payload } => self.edit_growth(*id, Some(payload), Some(headers)),
            Event::Edited { ids, group, headers, payload, .. } => {
                let bodies = ids.iter().map(|&id| self.edit_growth(id, *payload, *headers)).sum::<i64>();
                bodies + group.filter(|name| !name.is_empty()).map_or(0, |name| self.group_name_growth(name))
            }
            // A group that is known takes a few bytes more while it is paused, and there are never more of them.
            Event::GroupPaused { name, .. } => self.group_name_growth(name),
            Event::Scheduled { name, plan, .. } => self.schedule_growth(name, plan),
            Event::Ran { name, .. } => self.run_growth(name),
            Event::Grouped { limits: None, .. }
            | Event::Pushed { .. }
            | Event::PushedAfter { .. }
            | Event::BatchOpened { .. }
            | Event::BatchClosed { .. }
            | Event::Told { .. }
            | Event::Answered { .. }
            | Event::Term { .. }
            | Event::Clock { .. }
            | Event::Claimed { .. }
            | Event::PassedOver { .. }
            | Event::Taken { .. }
            | Event::Unclaimed { .. }
            | Event::Stalled { .. }
            | Event::BecameReady { .. }
            | Event::Retried { .. }
            | Event::Cancelled { .. }
            | Event::CancelAsked { .. }
            | Event::Dropped { .. }
            | Event::Forgotten { .. }
            | Event::Purged { .. }
            | Event::Expired { .. }
            | Event::Freed { .. }
            | Event::Configured { .. }
            | Event::GroupResumed { .. }
            | Event::Rested { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Unscheduled { .. }
            | Event::Fired { .. }
            | Event::Skipped { .. }
            | Event::Replanned { .. } => 0,
        }
    }

    fn bytes_in(&self, table: &SideTable, id: TaskId) -> i64 {
        let value = self.find(id).and_then(|found| table.get(found.order));
        value.map_or(0, len)
    }

    /// How many bytes it adds to give a task this payload and these headers.
    pub(crate) fn edit_growth(&self, id: TaskId, payload: Option<&[u8]>, headers: Option<&[u8]>) -> i64 {
        self.find(id).map_or(0, |found| self.edits.growth(found.order, payload, headers))
    }

    fn progress_growth(&self, id: TaskId, progress: Option<&[u8]>) -> i64 {
        progress.map_or(0, |progress| len(progress) - self.bytes_in(&self.progress, id))
    }

    /// What an error adds, minus the older ones that it takes the place of. Only texts count.
    fn error_growth(&self, id: TaskId, error: &[u8]) -> i64 {
        let stored = self.find(id).and_then(|found| self.errors.get(found.order)).unwrap_or_default();
        let before = TaskErrors::stored(stored);
        let stays = before.newest(self.errors_kept().saturating_sub(1)).text_bytes();
        (stays + error.len().min(ERROR_MAX_BYTES)) as i64 - before.text_bytes() as i64
    }

    fn group_growth(&self, name: &[u8]) -> i64 {
        let known = self.groups.find(name).and_then(|number| self.groups.get(number));
        match known {
            Some(group) if group.limits.is_some() => 0,
            Some(_) => size_of::<GroupLimits>() as i64,
            None => self.group_name_growth(name) + size_of::<GroupLimits>() as i64,
        }
    }

    fn group_name_growth(&self, name: &[u8]) -> i64 {
        if self.groups.find(name).is_some() { 0 } else { len(name) + NAME_BYTES }
    }
}

fn len(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
