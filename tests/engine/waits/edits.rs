//! What SET, REPLACE and POSTPONE make of a waiting task.

use taskslot_engine::{Due, Millis, Now, Set, TaskId, When};

use super::oracle::{Oracle, Place, due_from, on_clock};

impl Oracle {
    /// Changes those of these tasks that wait, and returns those for which something changes.
    pub fn set(&mut self, now: &Now, ids: &[TaskId], to: &Set) -> Vec<TaskId> {
        let due = to.when.map(|when| due_from(now, when));
        let mut changed = Vec::new();
        for &id in ids {
            if !changed.contains(&id) && self.edit(id, due, to) {
                changed.push(id);
            }
        }
        changed
    }

    /// Makes a waiting task due as `when` says, but at most `until_ms` after its push. Returns whether it changes.
    pub fn postpone(&mut self, now: &Now, id: TaskId, when: When, until_ms: Option<u64>) -> bool {
        let last = until_ms.map(|ms| id.ms + ms);
        let due = match (due_from(now, when), last) {
            (Some(due), Some(last)) if on_clock(now, due) > last => {
                Some(Due::Clock(Millis(last))).filter(|_| last > now.at.0)
            }
            (due, _) => due,
        };
        self.edit(id, Some(due), &Set { when: Some(when), ..Set::default() })
    }

    /// Changes a task if it waits. `due` is when it is due unless it is held; `Some(None)` for at once.
    fn edit(&mut self, id: TaskId, due: Option<Option<Due>>, to: &Set) -> bool {
        let Some(before) = self.tasks.get(&id).filter(|task| task.waits()).cloned() else { return false };
        let task = self.task(id);
        match (task.place, due) {
            (Place::Held, _) => {
                let when = to.when.unwrap_or(task.when);
                task.when = if when == When::After(0) { When::Now } else { when };
            }
            (_, Some(Some(due))) => (task.place, task.due) = (Place::Delayed, Some(due)),
            (_, Some(None)) => (task.place, task.due) = (Place::Ready, None),
            (_, None) => {}
        }
        let body = &mut task.body;
        body.priority = to.priority.unwrap_or(body.priority);
        to.group.into_iter().for_each(|group| body.group = group.to_vec());
        to.headers.into_iter().for_each(|headers| body.headers = headers.to_vec());
        to.payload.into_iter().for_each(|payload| body.payload = payload.to_vec());
        // Another payload counts as a change even if it is the same.
        to.payload.is_some() || to.headers.is_some() || *task != before
    }
}
