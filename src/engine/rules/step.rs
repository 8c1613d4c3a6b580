//! Next steps: a push in the same effect as the ACK of the task before it.
//!
//! Both count or neither does, so the push is decided before the ACK is applied. What the finished task takes counts as
//! free by then: otherwise a full queue whose tasks push tasks would be stuck.

use crate::event::{End, Event};
use crate::request::{After, Push, Refusal};
use crate::rules::unique::is_dead;
use crate::state::State;
use crate::task::{Hold, Options, TaskId};
use crate::time::Now;

/// What a task that ends leaves to a push in the same effect. The default is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Left<'a> {
    /// 1 if it counts for `max-len`.
    pub tasks: u64,
    /// Its bytes. If it is retained they stay, but bytes of done tasks count for no push.
    pub bytes: u64,
    /// 1 if its group goes with it.
    pub groups: u64,
    /// Its token, if it holds one and frees it.
    pub token: Option<&'a [u8]>,
    /// Its id, if it is done by then.
    pub done: Option<TaskId>,
}

/// What a record takes besides what a user gave, about as much as it can be.
const RECORD_BYTES: i64 = 64;
/// What each task takes that the pushed one waits for, about as much as it can be.
const PARENT_BYTES: i64 = 80;

impl State {
    /// Like [`State::push`], for the next step of the task that `acked` is going to finish. Apply `acked` first. Errors:
    /// as of a push.
    pub fn push_next<'a>(&self, now: Now, push: &Push<'a>, acked: &Event) -> Result<Event<'a>, Refusal> {
        self.push_beside(now, push, &self.left_by(now, acked))
    }

    /// Like [`State::push_next`], for a task that waits for others. It doesn't wait for the task that is finished.
    pub fn push_next_after<'a>(
        &self,
        now: Now,
        push: &Push<'a>,
        after: &After<'_>,
        acked: &Event,
    ) -> Result<Event<'a>, Refusal> {
        self.push_after_beside(now, push, after, &self.left_by(now, acked))
    }

    /// Like [`State::replace`], after a push that `acked` is going to precede found the task.
    pub fn replace_next<'a>(
        &self,
        now: Now,
        id: TaskId,
        (headers, payload): (&'a [u8], &'a [u8]),
        acked: &Event,
    ) -> Result<Option<Event<'a>>, Refusal> {
        if matches!(acked, Event::Acked { id: finished, .. } if *finished == id) {
            // It keeps its token after its end (KEEP), and doesn't wait then.
            return Ok(None);
        }
        self.replace_beside(id, headers, payload, self.left_by(now, acked).bytes)
    }

    /// By how many bytes the data grows if a task is finished and its next step is pushed. At most 0 if it does not
    /// grow.
    pub fn growth_of_step(&self, acked: &Event, push: &Event) -> i64 {
        let task = |options: &Options, payloads: &[&[u8]]| {
            let token = options.unique.map_or(0, |unique| 2 * unique.token.len());
            let payload = payloads.iter().map(|payload| payload.len()).sum::<usize>();
            RECORD_BYTES + (payload + options.headers.len() + options.group.len() + token) as i64
        };
        let added = match push {
            Event::Pushed { options, payloads, .. } => task(options, payloads),
            Event::PushedAfter { options, payloads, parents, .. } => {
                task(options, payloads) + PARENT_BYTES * parents.len() as i64
            }
            Event::Replaced { headers, payload, .. } => (headers.len() + payload.len()) as i64,
            _ => 0,
        };
        self.growth(acked).saturating_add(added)
    }

    fn left_by<'a>(&'a self, now: Now, acked: &Event) -> Left<'a> {
        let Event::Acked { id, end, .. } = acked else { return Left::default() };
        let Some(found) = self.find(*id) else { return Left::default() };
        let is_retained = matches!(end, Some(End { retain_ms: 1.., .. }));
        let progress = self.progress.get(found.order).map_or(0, <[u8]>::len);
        let unique = found.record.options().unique.filter(|_| self.holds_token(now.at, &found));
        Left {
            // A dead task can be finished late.
            tasks: u64::from(!is_dead(&found)),
            bytes: (self.task_bytes(found.position, found.order) + progress) as u64,
            groups: u64::from(!is_retained && self.groups.goes_with_last(found.key().group, &self.settings)),
            token: unique
                .filter(|unique| !matches!(unique.hold, Hold::Exactly(_)))
                .map(|unique| unique.token),
            done: Some(*id),
        }
    }
}
