//! Pushes with tokens and times to live, and the rule that no token is held twice at any instant.

use std::collections::BTreeSet;

use taskslot_engine::{Hold, Millis, TaskId, TaskState, Unique};

use super::{Lockstep, pick};

const TOKENS: [&[u8]; 5] = [b"red", b"green", b"blue", b"", b"\xff\0"];

impl Lockstep {
    /// The token of a push, if it has one.
    pub(super) fn unique(&mut self, word: u32) -> Option<Unique<'static>> {
        let token = pick(&TOKENS, word >> 2);
        let until = Millis(self.now.at.0 + 1 + u64::from(word >> 8) % 3000);
        let hold =
            pick(&[Hold::End, Hold::End, Hold::Start, Hold::AtMost(until), Hold::Exactly(until)], word >> 5);
        (word & 3 == 0 && !token.is_empty()).then_some(Unique { token, hold })
    }

    /// A push found this task: sometimes it replaces the task's body.
    pub(super) fn replace(&mut self, id: TaskId, headers: &[u8], payload: &[u8]) {
        let bytes = self.bytes_without_done();
        let event = self.queue.replace(id, headers, payload);
        let expected = self.model.replace(id, headers, payload, bytes);
        assert_eq!(
            event.as_ref().map(Option::is_some).map_err(|refusal| *refusal),
            expected,
            "a replacement"
        );
        let Some(event) = event.ok().flatten() else { return };
        self.make_room(&event);
        self.apply(&event);
    }

    /// Compares the holders of all tokens.
    pub(super) fn compare_holders(&self) {
        for token in TOKENS {
            let holder = self.queue.holder(self.now.at, token);
            assert_eq!(holder, self.model.holder(&self.now, token), "who holds {token:?}");
        }
    }

    /// Checks that each task knows whether it holds its token, and that no two hold the same.
    pub(super) fn compare_tokens(&self) {
        let mut held = BTreeSet::new();
        for task in &self.model.tasks {
            let seen = self.queue.task(&self.now, task.id).unwrap();
            let token = task.unique.as_ref().map(|(token, _)| token);
            let holds = token.filter(|token| self.model.holder(&self.now, token) == Some(task.id));
            assert_eq!(seen.holds_token, holds.is_some(), "whether {} holds its token", task.id);
            assert_eq!(seen.expires.map(|at| at.0), task.expires(), "when {} expires", task.id);
            assert!(holds.is_none_or(|token| held.insert(token)), "no token is held twice");
            let is_sure = matches!(task.unique, Some((_, Hold::End)))
                && !matches!(task.state(), TaskState::Dead | TaskState::Done);
            assert!(!is_sure || holds.is_some(), "{} lives, and holds its token", task.id);
        }
    }
}
