//! Who holds which UNIQUE token, as the contract says it: a list of holders that each change of a task may change.

use std::collections::BTreeMap;

use taskslot_engine::{Hold, Millis, TaskId};

use super::oracle::Task;

#[derive(Debug, Clone, Default)]
pub struct Tokens {
    held: BTreeMap<Vec<u8>, (TaskId, Hold)>,
}

/// Whether a token is free at this instant whatever becomes of its task.
fn is_over(at: Millis, hold: Hold) -> bool {
    match hold {
        Hold::End | Hold::Start => false,
        Hold::AtMost(until) | Hold::Exactly(until) => until <= at,
    }
}

impl Tokens {
    /// The task that holds a token. With KEEP it may have ended.
    pub fn holder(&self, at: Millis, token: &[u8]) -> Option<TaskId> {
        self.held.get(token).filter(|(_, hold)| !is_over(at, *hold)).map(|(id, _)| *id)
    }

    /// How many tokens are held.
    pub fn count(&self, at: Millis) -> u64 {
        self.held.values().filter(|(_, hold)| !is_over(at, *hold)).count() as u64
    }

    /// A task was pushed.
    pub fn takes(&mut self, at: Millis, id: TaskId, task: &Task) {
        let Some((token, hold)) = &task.unique else { return };
        assert_eq!(self.holder(at, token), None, "a token of two tasks");
        self.held.insert(token.clone(), (id, *hold));
    }

    /// Lets go of a task's token if it holds it, and if it does so no longer than `until` says.
    fn lets_go(&mut self, id: TaskId, task: &Task, until: impl Fn(Hold) -> bool) {
        let Some((token, _)) = &task.unique else { return };
        if self.held.get(token).is_some_and(|(holder, hold)| *holder == id && until(*hold)) {
            self.held.remove(token);
        }
    }

    pub fn is_claimed(&mut self, id: TaskId, task: &Task) {
        self.lets_go(id, task, |hold| hold == Hold::Start);
    }

    /// The only claim of a task was undone: it holds its token as before, unless another took it meanwhile.
    pub fn was_never_claimed(&mut self, at: Millis, id: TaskId, task: &Task) {
        let Some((token, hold)) = &task.unique else { return };
        if *hold == Hold::Start && self.holder(at, token).is_none() {
            self.held.insert(token.clone(), (id, *hold));
        }
    }

    /// A task is done, dead or removed.
    pub fn has_ended(&mut self, id: TaskId, task: &Task) {
        self.lets_go(id, task, |hold| !matches!(hold, Hold::Exactly(_)));
    }

    /// The token that a dead task holds again once it is retried. It was claimed, so that its start is over.
    pub fn wants_again<'t>(&self, at: Millis, task: &'t Task) -> Option<&'t [u8]> {
        let (token, hold) = task.unique.as_ref()?;
        match hold {
            Hold::End => Some(token),
            Hold::AtMost(_) => Some(&token[..]).filter(|_| !is_over(at, *hold)),
            Hold::Start | Hold::Exactly(_) => None,
        }
    }

    pub fn is_retried(&mut self, at: Millis, id: TaskId, task: &Task) {
        if self.wants_again(at, task).is_some() {
            self.takes(at, id, task);
        }
    }

    /// The time of a token has passed.
    pub fn freed(&mut self, at: Millis, token: &[u8]) {
        let (id, hold) = self.held.remove(token).expect("a token that was held");
        assert!(is_over(at, hold), "the token of {id} is free early");
    }
}
