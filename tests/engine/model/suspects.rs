//! Suspects in the naive model: which workers can get them, and what happens to those that nobody takes.

use taskslot_engine::{Claim, Now, TaskId, TaskState};

use super::{Model, Place, Task};

impl Task {
    pub fn is_suspect(&self) -> bool {
        self.stalls >= 2
    }

    fn is_held_by(&self, name: &[u8]) -> bool {
        matches!(&self.place, Place::Leased { worker, .. } if worker == name)
    }
}

impl Model {
    /// Whether a worker with this name holds any task.
    pub(super) fn is_busy(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.tasks.iter().any(|task| task.is_held_by(name))
    }

    /// Whether the worker holds a suspect or is reserved for one.
    pub(super) fn gets_nothing(&self, name: &[u8]) -> bool {
        let holds_suspect = self.tasks.iter().any(|task| task.is_suspect() && task.is_held_by(name));
        !name.is_empty() && (holds_suspect || self.awaited.as_deref() == Some(name))
    }

    /// Forgets what no longer applies. Called after every step.
    pub fn forget_settled_suspects(&mut self) {
        let is_waiting = |task: &Task| task.state() == TaskState::Ready && task.is_suspect();
        if !self.tasks.iter().any(is_waiting) {
            (self.passed_over, self.awaited) = (None, None);
        }
        if self.awaited.as_ref().is_some_and(|name| !self.is_busy(name)) {
            self.awaited = None;
        }
    }

    /// Notes a claim that passes over a suspect. Returns the worker that is reserved from now on, or an empty name if
    /// the suspect is passed over for the first time.
    pub fn pass_over(&mut self, now: &Now, claim: &Claim) -> Option<Vec<u8>> {
        let name = claim.worker;
        if !self.is_busy(name) || self.gets_nothing(name) || self.is_closed(now, 1) || self.is_behind(now) {
            return None;
        }
        let first = self.in_turn().first().copied().filter(|task| task.is_suspect())?;
        let Place::Ready { since } = first.place else { unreachable!() };
        let Some(passed_over) = self.passed_over else {
            self.passed_over = Some(now.at.0);
            return Some(Vec::new());
        };
        let is_overdue = since.max(passed_over) + self.setting("lease") as u64 <= now.at.0;
        if self.awaited.is_some() || !is_overdue {
            return None;
        }
        self.awaited = Some(name.to_vec());
        self.awaited.clone()
    }

    /// The error of a task that dies of a stall. The stall is counted already.
    pub(super) fn why_dead(&mut self, now: &Now, id: TaskId) -> Vec<u8> {
        let run_max = self.limit("run-max");
        let task = self.find(id).unwrap();
        let Place::Leased { deadline, claimed_at, worker, tied, .. } = &task.place else { unreachable!() };
        let mut why = match task.stalls {
            1 => "1 stall, after".to_owned(),
            n => format!("{n} stalls, the last after"),
        };
        why += &format!(" {} ms", now.at.0.min(*deadline) - claimed_at);
        if !worker.is_empty() {
            why += &format!(" at worker {}", String::from_utf8(worker.clone()).unwrap());
        }
        if *tied && now.at.0 < *deadline {
            why += " (connection closed)";
        } else if run_max.is_some_and(|run_max| deadline - claimed_at >= run_max) {
            why += " (run-max)";
        }
        why.into_bytes()
    }
}
