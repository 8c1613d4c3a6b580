//! Changing waiting tasks: when they are due, their priority, group, payload and headers.

use crate::bounds::NAME_MAX_BYTES;
use crate::event::Then;
use crate::invalid::{Applied, Invalid, ensure};
use crate::state::{Found, State};
use crate::store::edits::{is_valid_body, is_waiting};
use crate::store::entry::Phase;
use crate::store::lanes::LaneKey;
use crate::task::TaskId;
use crate::time::When;

/// The parts of an edit, for each of its tasks. A part that is `None` stays as it is.
pub(crate) struct Edit<'e> {
    pub then: &'e Option<Then>,
    pub when: Option<When>,
    pub priority: Option<i8>,
    pub group: Option<&'e [u8]>,
    pub headers: Option<&'e [u8]>,
    pub payload: Option<&'e [u8]>,
}

impl State {
    pub(crate) fn apply_edited(&mut self, id: TaskId, edit: &Edit) -> Applied {
        let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));
        let Found { order, .. } = found.ok_or(Invalid("a waiting task"))?;
        let (headers, payload) = (edit.headers.unwrap_or_default(), edit.payload.unwrap_or_default());
        ensure(is_valid_body(headers, payload), "a body's size")?;
        ensure(edit.group.is_none_or(|name| name.len() <= NAME_MAX_BYTES), "a group's name")?;
        ensure(edit.then.as_ref().is_none_or(Then::is_valid), "an instant")?;
        ensure(edit.when.is_none_or(|when| when.is_valid()), "an instant")?;
        ensure(!matches!(edit.then, Some(Then::Dead(_))), "a task that still waits")?;
        if edit.priority.is_some() || edit.group.is_some() || matches!(edit.then, Some(Then::Ready(_))) {
            self.can_draw()?;
        }
        self.edits.put_body(order, edit.payload, edit.headers);
        self.move_edited(id, edit)
    }

    /// Moves a waiting task to where its edit puts it: another lane, another instant, or both. A ready task that only
    /// changes its lane goes to the back of the new one, and is ready since the same instant as before.
    fn move_edited(&mut self, id: TaskId, edit: &Edit) -> Applied {
        let found = self.find(id).ok_or(Invalid("a task to change"))?;
        let (before, phase) = (found.key(), found.entry().phase);
        let is_moved = match phase {
            Phase::Ready { .. } => matches!(edit.then, Some(Then::Delayed(_))),
            Phase::Delayed { .. } => edit.then.is_some(),
            Phase::Held { .. } => edit.when.is_some(),
            Phase::Leased { .. } | Phase::Dead { .. } | Phase::Done { .. } => false,
        };
        let key = LaneKey {
            priority: edit.priority.unwrap_or(before.priority),
            group: edit.group.map_or(before.group, |name| self.groups.known(name, &self.settings)),
        };
        if key == before && !is_moved {
            return Ok(());
        }
        // What is recorded about suspects ends with the last ready one. This one may be ready again at once.
        let reserved = (self.passed_over, self.awaited);
        let mut task = self.detach(id, is_waiting)?;
        if key != before {
            self.edits.put_lane(task.order, key.priority, key.group);
            task.key = key;
        }
        if key.group != before.group {
            self.count_task_in_group(key.group, 1);
            self.count_task_in_group(before.group, -1);
        }
        match (&mut task.entry.phase, edit.then) {
            (Phase::Held { when, .. }, _) => {
                *when = edit.when.unwrap_or(*when);
                self.attach(&task)
            }
            (_, Some(then @ Then::Delayed(_))) => self.attach_as(task, then),
            (Phase::Delayed { .. }, Some(Then::Ready(at))) => self.attach_at_back(task, *at),
            (Phase::Ready { .. }, _) => {
                task.entry.rank = self.draw()?.rank();
                self.attach(&task)
            }
            _ => self.attach(&task),
        }?;
        if self.lanes.suspects() > 0 {
            (self.passed_over, self.awaited) = reserved;
        }
        Ok(())
    }
}
