//! Tokens and times to live in the naive model: a list of holders that is searched from end to end.

use taskslot_engine::{Hold, Now, Refusal, TaskId};

use super::{Model, Place, Task};

impl Task {
    /// When the task expires; `None` if it can't.
    pub fn expires(&self) -> Option<u64> {
        match self.place {
            Place::Ready { since } if self.deliveries == 0 => Some(since + self.ttl_ms?),
            _ => None,
        }
    }

    fn hold(&self) -> Option<(Vec<u8>, Hold)> {
        self.unique.clone()
    }
}

impl Model {
    /// The task that holds a token now.
    pub fn holder(&self, now: &Now, token: &[u8]) -> Option<TaskId> {
        let is_held = |until: Option<u64>| until.is_none_or(|until| until > now.at.0);
        self.held.iter().find(|(known, _, until)| known == token && is_held(*until)).map(|(_, id, _)| *id)
    }

    /// How many tokens are held now.
    pub fn tokens(&self, now: &Now) -> u64 {
        self.held.iter().filter(|(_, _, until)| until.is_none_or(|until| until > now.at.0)).count() as u64
    }

    pub(super) fn may_take(&self, now: &Now, unique: &Option<(Vec<u8>, Hold)>) -> Result<(), Refusal> {
        let Some((token, _)) = unique else { return Ok(()) };
        if let Some(id) = self.holder(now, token) {
            return Err(Refusal::Held(id));
        }
        let is_full = self.tokens(now) >= self.setting("tokens-max") as u64;
        if is_full { Err(Refusal::FullTokens) } else { Ok(()) }
    }

    /// Gives a task its token.
    pub(super) fn take(&mut self, id: TaskId) {
        let Some((token, hold)) = self.find(id).unwrap().hold() else { return };
        self.held.retain(|(known, _, _)| *known != token);
        self.held.push((token, id, hold.until().map(|until| until.0)));
    }

    /// The task is dead or about to be removed: its token is free, unless it is kept.
    pub(super) fn let_go(&mut self, id: TaskId) {
        let Some((_, hold)) = self.find(id).and_then(|task| task.hold()) else { return };
        if !matches!(hold, Hold::Exactly(_)) {
            self.held.retain(|(_, by, _)| *by != id);
        }
    }

    /// The task is claimed.
    pub(super) fn starts(&mut self, id: TaskId) {
        if self.find(id).unwrap().hold().is_some_and(|(_, hold)| hold == Hold::Start) {
            self.held.retain(|(_, by, _)| *by != id);
        }
    }

    /// The claim of the task is undone.
    pub(super) fn has_not_started(&mut self, now: &Now, id: TaskId) {
        let task = self.find(id).unwrap();
        let (deliveries, hold) = (task.deliveries, task.hold());
        if let (0, Some((token, Hold::Start))) = (deliveries, hold)
            && self.holder(now, &token).is_none()
        {
            self.take(id);
        }
    }

    /// A dead task is about to be ready again. Returns false if another task holds the token that it needs.
    pub(super) fn takes_again(&mut self, now: &Now, id: TaskId) -> bool {
        let Some((token, hold)) = self.find(id).unwrap().hold() else { return true };
        let wants = match hold {
            Hold::End => true,
            Hold::AtMost(until) => until.0 > now.at.0,
            Hold::Start | Hold::Exactly(_) => false,
        };
        if wants && self.holder(now, &token).is_some() {
            return false;
        }
        if wants {
            self.take(id);
        }
        true
    }

    /// Replaces a body. `bytes` is the size of all tasks according to the queue.
    pub fn replace(
        &mut self,
        id: TaskId,
        headers: &[u8],
        payload: &[u8],
        bytes: u64,
    ) -> Result<bool, Refusal> {
        let max = self.limit("max-bytes");
        let Some(task) = self.find(id) else { return Ok(false) };
        if !matches!(task.place, Place::Ready { .. } | Place::Delayed { .. }) {
            return Ok(false);
        }
        let added = (headers.len() + payload.len()) as u64;
        let before = task.replaced + task.replaced_headers;
        if max.is_some_and(|max| bytes - before + added > max) {
            return Err(Refusal::FullBytes);
        }
        (task.headers, task.payload) = (headers.to_vec(), payload.to_vec());
        (task.replaced, task.replaced_headers) = (payload.len() as u64, headers.len() as u64);
        Ok(true)
    }

    /// Whether a task has expired and is not removed yet.
    pub(super) fn is_behind(&self, now: &Now) -> bool {
        self.tasks.iter().any(|task| task.expires().is_some_and(|at| at <= now.at.0))
    }

    /// Removes expired tasks.
    pub(super) fn expire(&mut self, now: &Now) {
        let is_over = |task: &&Task| task.expires().is_some_and(|at| at <= now.at.0);
        let over: Vec<TaskId> = self.tasks.iter().filter(is_over).map(|task| task.id).collect();
        for id in over {
            self.counts.expired += 1;
            self.forget(id);
        }
    }

    /// The next instant at which a token becomes free or a task expires.
    pub(super) fn next_end(&self, now: &Now) -> Option<u64> {
        let ends = self.held.iter().filter_map(|(_, _, until)| until.filter(|until| *until > now.at.0));
        ends.chain(self.tasks.iter().filter_map(Task::expires)).min()
    }
}
