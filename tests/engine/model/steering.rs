//! Changes to the naive model by others than workers: cancel, retry, purge, remembered requests, copies.

use taskslot_engine::{Answer, Beginning, Handle, Now, Refusal, TaskId, TaskState, Term};

use super::{Model, Place, Task};

impl Model {
    pub fn cancel(&mut self, id: TaskId) -> Result<bool, Refusal> {
        match &mut self.find(id).ok_or(Refusal::Gone)?.place {
            Place::Dead { .. } | Place::Done { .. } => Err(Refusal::Gone),
            Place::Leased { cancel, .. } => {
                *cancel = true;
                Ok(false)
            }
            _ => {
                self.cancelled(id);
                Ok(true)
            }
        }
    }

    pub fn retry(&mut self, now: &Now, ids: &[TaskId]) -> Vec<TaskId> {
        let mut retried = Vec::new();
        for &id in ids {
            let Some(place) = self.find(id).map(|task| task.place.clone()) else { continue };
            match place {
                Place::Dead { .. } if self.takes_again(now, id) => {
                    let task = self.find(id).unwrap();
                    (task.failures, task.stalls, task.last) = (0, 0, None);
                }
                Place::Delayed { .. } => {}
                _ => continue,
            }
            self.counts.retried += 1;
            self.comes_back(now.at.0, id);
            retried.push(id);
        }
        retried
    }

    pub fn retry_oldest(&mut self, now: &Now, count: usize) -> Vec<TaskId> {
        let dead: Vec<TaskId> = self.by_death().iter().map(|(_, task)| task.id).collect();
        let mut retried = Vec::new();
        for id in dead {
            if retried.len() < count {
                retried.append(&mut self.retry(now, &[id]));
            }
        }
        retried
    }

    /// The tasks that have been in a state for at least so long, in the order in which PURGE OLDER removes them.
    pub fn old_of(&self, now: &Now, state: TaskState, older_ms: u64) -> Vec<TaskId> {
        let is_old = |since: u64| since + older_ms <= now.at.0 || older_ms == 0;
        let of = |since: &dyn Fn(&Task) -> Option<u64>| -> Vec<TaskId> {
            let old = self.tasks.iter().filter(|task| since(task).is_some_and(is_old));
            old.map(|task| task.id).collect()
        };
        match state {
            TaskState::Ready => of(&|task| match task.place {
                Place::Ready { since } => Some(since),
                _ => None,
            }),
            TaskState::Delayed => {
                of(&|task| matches!(task.place, Place::Delayed { .. }).then_some(task.id.ms))
            }
            TaskState::Dead => {
                self.by_death().iter().filter(|(at, _)| is_old(*at)).map(|(_, task)| task.id).collect()
            }
            TaskState::Done => {
                self.by_end().iter().filter(|(at, _, _)| is_old(*at)).map(|(_, _, task)| task.id).collect()
            }
            // The model knows no tasks that wait for others.
            TaskState::Held | TaskState::Leased => Vec::new(),
        }
    }

    pub fn purge(&mut self, id: TaskId) {
        self.counts.purged += 1;
        self.forget(id);
    }

    /// Removes a done task.
    pub fn forget_done(&mut self, id: TaskId) {
        self.counts.forgotten += 1;
        self.forget(id);
    }

    pub fn begin_term(&mut self, now: &Now, term: Term) -> bool {
        if self.term == term.id {
            return false;
        }
        let (last, clock) = (self.last_number, now.at.0 * 1000 + now.lead_us);
        match term.beginning {
            Beginning::Start if self.term == 0 && last == 0 => {}
            _ if clock > last => self.last_number = clock,
            Beginning::Start => self.last_number += (1 << 24) + term.id % (1 << 20),
            Beginning::Promotion => self.last_number += (1 << 36) + term.id % (1 << 32),
        }
        self.term = term.id;
        true
    }

    pub fn answered(&mut self, now: &Now, token: &[u8], answer: Answer) {
        let mut until = now.at.0 + 300_000;
        if let Answer::Claimed { handles } = &answer {
            for handle in handles {
                if let Some(Place::Leased { deadline, .. }) = self.find(handle.id).map(|task| &task.place) {
                    until = until.max(*deadline);
                }
            }
        }
        self.requests.retain(|(known, _, _)| known != token);
        self.requests.push((token.to_vec(), until, answer));
    }

    pub(super) fn recall(&self, now: &Now, token: &[u8]) -> Option<Answer> {
        let known = self.requests.iter().find(|(known, until, _)| known == token && *until > now.at.0);
        known.map(|(_, _, answer)| answer.clone())
    }

    pub fn recall_push(&self, now: &Now, token: &[u8]) -> Option<(TaskId, u32)> {
        let Some(Answer::Pushed { first, count }) = self.recall(now, token) else { return None };
        Some((first, count))
    }

    pub fn recall_claim(&mut self, now: &Now, token: &[u8]) -> Option<Vec<Handle>> {
        let Some(Answer::Claimed { mut handles }) = self.recall(now, token) else { return None };
        handles.retain(|handle| self.is_held(now, handle));
        (!handles.is_empty()).then_some(handles)
    }

    /// A copy without leases. It accepts no late answers.
    pub fn copied(&self) -> Model {
        let mut copy = self.clone();
        copy.tasks.iter_mut().for_each(|task| task.stalled = false);
        for task in &self.tasks {
            let Place::Leased { claimed_at, cancel, .. } = task.place else { continue };
            if cancel {
                copy.cancelled(task.id);
            } else {
                copy.find(task.id).unwrap().place = Place::Ready { since: claimed_at };
            }
        }
        copy
    }
}
