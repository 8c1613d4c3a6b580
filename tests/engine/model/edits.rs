//! Changes to waiting tasks in the naive model: SET and POSTPONE.

use taskslot_engine::{Due, Now, Refusal, Set, TaskId, When};

use super::{Model, Place, due_at};

impl Model {
    /// Changes the tasks that wait, and returns those for which something changes. `bytes` is the size of all tasks
    /// except done ones, according to the queue.
    pub fn set(&mut self, now: &Now, ids: &[TaskId], to: &Set, bytes: u64) -> Result<Vec<TaskId>, Refusal> {
        self.edit(now, ids, to.when.map(|when| when.due(now)), to, bytes)
    }

    fn edit(
        &mut self,
        now: &Now,
        ids: &[TaskId],
        due: Option<Option<Due>>,
        to: &Set,
        bytes: u64,
    ) -> Result<Vec<TaskId>, Refusal> {
        let mut chosen: Vec<TaskId> = Vec::new();
        let mut growth = 0i64;
        for &id in ids {
            let Some(task) = self.find(id).filter(|_| !chosen.contains(&id)) else { continue };
            let is_moved = match (&task.place, due) {
                (Place::Ready { .. }, Some(due)) => due.is_some(),
                (Place::Delayed { due }, Some(other)) => Some(*due) != other,
                (Place::Ready { .. } | Place::Delayed { .. }, None) => false,
                _ => continue,
            };
            let has_body = to.payload.is_some() || to.headers.is_some();
            if is_moved || has_body || to.priority.is_some_and(|priority| priority != task.priority) {
                chosen.push(id);
                let part = |new: Option<&[u8]>, old| new.map_or(0, |new| new.len() as i64 - old as i64);
                growth += part(to.payload, task.replaced) + part(to.headers, task.replaced_headers);
            }
        }
        let max = self.limit("max-bytes");
        if growth > 0 && max.is_some_and(|max| bytes as i64 + growth > max as i64) {
            return Err(Refusal::FullBytes);
        }
        chosen.iter().for_each(|&id| self.change(now, id, due, to));
        Ok(chosen)
    }

    fn change(&mut self, now: &Now, id: TaskId, due: Option<Option<Due>>, to: &Set) {
        let turn = self.turn();
        let task = self.find(id).unwrap();
        if let Some(payload) = to.payload {
            (task.payload, task.replaced) = (payload.to_vec(), payload.len() as u64);
        }
        if let Some(headers) = to.headers {
            (task.headers, task.replaced_headers) = (headers.to_vec(), headers.len() as u64);
        }
        let before = task.priority;
        task.priority = to.priority.unwrap_or(before);
        match (&task.place, due) {
            (_, Some(Some(due))) => task.place = Place::Delayed { due },
            (Place::Delayed { .. }, Some(None)) => {
                (task.place, task.turn) = (Place::Ready { since: now.at.0 }, turn)
            }
            (Place::Ready { .. }, _) if task.priority != before => task.turn = turn,
            _ => {}
        }
    }

    /// Postpones a waiting task. Returns whether that changes anything.
    pub fn postpone(&mut self, now: &Now, id: TaskId, when: When, until_ms: Option<u64>) -> bool {
        let last = until_ms.map_or(u64::MAX, |ms| id.ms + ms);
        let due = match when.due(now) {
            Some(due) if due_at(now, due) <= last => Some(due),
            Some(_) if last > now.at.0 => Some(Due::Clock(taskslot_engine::Millis(last))),
            _ => None,
        };
        !self.edit(now, &[id], Some(due), &Set::default(), 0).unwrap().is_empty()
    }
}
