//! What an event adds to the data, so that a server that is out of memory can refuse what grows and let the rest go on.
//!
//! Pushes are refused by the server itself, whatever they hold. Claims are never refused: what they keep beside a lease,
//! a name and an answer to a request, is bounded by whoever claims. Of all other events only some keep bytes that a user
//! chooses. Any event may also take an entry or a place in an index, of fixed size, for each task: that must be allowed,
//! else a full queue could not drain, and there are never more of them than tasks.

use crate::event::{End, Event};
use crate::limits::GroupLimits;
use crate::state::State;
use crate::store::side_table::SideTable;
use crate::task::TaskId;

/// What a name costs in its table beside its bytes, about.
const NAME_BYTES: i64 = 56;

impl State {
    /// Bytes chosen by users that the event, decided on this queue, keeps, less those that it lets go; at most 0 for
    /// one that doesn't make the data grow. It counts no pushes, replacements and claims. Every event is named here: a
    /// new one has to say whether it keeps bytes.
    pub fn growth(&self, event: &Event) -> i64 {
        match event {
            // One that is kept has its result in place of its progress; one that isn't takes everything with it.
            Event::Acked { id, end: Some(End { retain_ms: 1.., result, .. }), .. } => {
                result.map_or(0, len) - self.bytes_in(&self.progress, *id)
            }
            Event::Acked { id, .. } => {
                self.find(*id).map_or(0, |found| -(self.task_bytes(found.place, found.order) as i64))
            }
            Event::Extended { id, progress: Some(progress), .. } => {
                len(progress) - self.bytes_in(&self.progress, *id)
            }
            Event::Failed { id, error, .. } => len(error) - self.bytes_in(&self.errors, *id),
            Event::Grouped { name, limits: Some(_) } => self.group_growth(name),
            Event::Scheduled { name, plan, .. } => self.schedule_growth(name, plan),
            Event::Extended { progress: None, .. }
            | Event::Grouped { limits: None, .. }
            | Event::Pushed { .. }
            | Event::Answered { .. }
            | Event::Term { .. }
            | Event::Clock { .. }
            | Event::Claimed { .. }
            | Event::PassedOver { .. }
            | Event::Taken { .. }
            | Event::Unclaimed { .. }
            | Event::Requeued { .. }
            | Event::Stalled { .. }
            | Event::BecameReady { .. }
            | Event::Retried { .. }
            | Event::Cancelled { .. }
            | Event::CancelAsked { .. }
            | Event::Dropped { .. }
            | Event::Forgotten { .. }
            | Event::Purged { .. }
            | Event::Expired { .. }
            | Event::Replaced { .. }
            | Event::Freed { .. }
            | Event::Configured { .. }
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

    fn group_growth(&self, name: &[u8]) -> i64 {
        let known = self.groups.find(name).and_then(|number| self.groups.get(number));
        match known {
            Some(group) if group.limits.is_some() => 0,
            Some(_) => size_of::<GroupLimits>() as i64,
            None => len(name) + NAME_BYTES + size_of::<GroupLimits>() as i64,
        }
    }
}

fn len(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
