//! What a queue and the naive model must agree on, and how a history ends.

use std::num::NonZeroU64;

use taskslot_engine::{
    Claim, Claimable, Cursor, Event, Handle, Limit, Listing, Options, TaskError, TaskId, TaskState, Unique,
};

use super::Lockstep;
use crate::copies::digest;
use crate::model::attempts::{Failure, Last};
use crate::model::{Place, Task};

impl Lockstep {
    /// Compares what a claim was said to get with what it gets, before that is applied.
    pub(super) fn compare_batch(&self, batch: Option<Claimable>, claim: &Claim, event: Option<&Event>) {
        let ids: Vec<TaskId> = match event {
            Some(Event::Claimed { leases, .. }) => leases.iter().map(|lease| lease.id).collect(),
            Some(Event::Taken { ids, .. }) => ids.clone(),
            _ => Vec::new(),
        };
        assert_eq!(batch.is_some(), !ids.is_empty(), "whether there is a batch");
        let Some(batch) = batch else { return };
        let mut after = self.queue.clone();
        after.apply(event.unwrap()).unwrap();
        let has_more = after.is_claimable(self.now.at);
        assert!(!batch.is_full || self.queue.may_fill(claim), "what is full can be full");
        match batch.is_full {
            true => assert!(ids.len() == claim.count || claim.bytes.is_some() || self.queue.has_suspects()),
            false => assert!(ids.len() < claim.count && (!has_more || self.queue.has_suspects())),
        }
    }

    pub(super) fn compare_counts(&self) {
        for state in TaskState::ALL {
            assert_eq!(self.queue.count(state), self.model.count(state), "{}", state.name());
        }
        let (t, m) = (self.queue.totals(), &self.model.counts);
        let engine =
            [t.pushed, t.claimed, t.acked, t.late, t.failed, t.stalled, t.requeued, t.retried, t.dead];
        assert_eq!(
            engine,
            [m.pushed, m.claimed, m.acked, m.late, m.failed, m.stalled, m.requeued, m.retried, m.dead]
        );
        let removed = [t.cancelled, t.purged, t.dropped, t.forgotten, t.expired];
        assert_eq!(removed, [m.cancelled, m.purged, m.dropped, m.forgotten, m.expired]);
        let gone = m.acked + m.cancelled + m.purged + m.dropped + m.expired;
        let unfinished = self.model.tasks.len() as u64 - self.model.count(TaskState::Done);
        assert_eq!(m.pushed, unfinished + gone, "nothing is lost and nothing appears");
    }

    /// Compares everything that can be seen of each task, in the order of each list.
    pub fn compare_lists(&self) {
        let mut by_id: Vec<&Task> =
            self.model.tasks.iter().filter(|task| task.state() == TaskState::Leased).collect();
        by_id.sort_by_key(|task| task.id);
        self.compare_list(TaskState::Leased, by_id);
        self.compare_list(TaskState::Ready, self.model.in_turn());
        self.compare_list(
            TaskState::Delayed,
            self.model.by_due(&self.now).iter().map(|(_, task)| *task).collect(),
        );
        self.compare_list(TaskState::Done, self.model.by_end().iter().map(|(_, _, task)| *task).collect());
        self.compare_list(TaskState::Dead, self.model.by_death().iter().map(|(_, task)| *task).collect());
    }

    pub(super) fn compare_list(&self, state: TaskState, expected: Vec<&Task>) {
        let (mut cursor, mut at, count) = (Cursor::default(), 0, 1 + self.steps as usize % 50);
        loop {
            let (next, tasks) = self.queue.list(&self.now, state, cursor, count, None, None);
            for task in tasks {
                let other = expected.get(at).expect("no more tasks than in the model");
                assert_eq!(task.id, other.id, "{} task {at}", state.name());
                assert_eq!(format!("{:?}", self.seen(task.id)), format!("{:?}", self.shown(other)));
                at += 1;
            }
            if next == Cursor::default() {
                break;
            }
            cursor = next;
        }
        assert_eq!(at, expected.len(), "all {} tasks", state.name());
        self.compare_reversed(state, &expected);
    }

    /// Compares a list in the opposite order.
    fn compare_reversed(&self, state: TaskState, expected: &[&Task]) {
        let limit = Limit::from(1 + self.steps as usize % 7);
        let (worker, group, pattern) = (None, None, None);
        let (mut cursor, mut ids) = (Cursor::default(), Vec::new());
        loop {
            let listing = Listing { state, cursor, limit, worker, group, is_reversed: true, pattern };
            let (next, tasks) = self.queue.list_as(&self.now, &listing);
            ids.extend(tasks.iter().map(|task| task.id));
            if next == Cursor::default() {
                break;
            }
            cursor = next;
        }
        let expected: Vec<TaskId> = expected.iter().rev().map(|task| task.id).collect();
        assert_eq!(ids, expected, "{} tasks in the opposite order", state.name());
    }

    pub(super) fn seen(&self, id: TaskId) -> Seen<'_> {
        let task = self.queue.task(&self.now, id).unwrap();
        let lease = task.lease.map(|lease| {
            let flags = (lease.tied, lease.cancel_asked);
            (lease.number.0, lease.lease_ms, lease.claimed_at.0, lease.worker.to_vec(), flags)
        });
        let counters = [task.instant.0, task.deliveries.into(), task.failures.into(), task.stalls.into()];
        let outputs =
            (task.progress.to_vec(), task.result.map(<[u8]>::to_vec), task.kept_until.map(|at| at.0));
        let error =
            |error: TaskError| (error.attempt, error.at.0, error.worker.to_vec(), error.text.to_vec());
        let last = task.last.map(|last| (last.claimed_at.0, last.run_ms, last.worker.to_vec()));
        let attempts = (task.errors.iter().map(error).collect(), last);
        (task.state, task.payload.to_vec(), task.options, counters, lease, attempts, outputs)
    }

    fn shown<'a>(&self, task: &'a Task) -> Seen<'a> {
        let (instant, lease) = match &task.place {
            Place::Ready { since } => (*since, None),
            Place::Delayed { due } => (due.on_clock(&self.now).0, None),
            Place::Dead { at } | Place::Done { at, .. } => (*at, None),
            Place::Leased { deadline, claimed_at, worker, tied, cancel } => {
                (*deadline, Some((task.number, task.own_ms, *claimed_at, worker.clone(), (*tied, *cancel))))
            }
        };
        let Task { priority, attempts, lease_ms, retain_ms, ttl_ms, .. } = *task;
        let unique = task.unique.as_ref().map(|(token, hold)| Unique { token, hold: *hold });
        let (headers, group) = (&task.headers, &[]);
        let batch = &[];
        let options = Options {
            priority,
            attempts,
            lease_ms,
            headers,
            group,
            unique,
            ttl_ms: ttl_ms.and_then(NonZeroU64::new),
            retain_ms,
            batch,
        };
        let until = if let Place::Done { until, .. } = task.place { Some(until) } else { None };
        let outputs = (task.progress.clone(), task.result.clone(), until);
        let counters = [instant, task.deliveries.into(), task.failures.into(), task.stalls.into()];
        let attempts = (self.model.shown_errors(&task.errors), task.last.clone());
        (task.state(), task.payload.clone(), options, counters, lease, attempts, outputs)
    }

    /// Ends a history without further faults: every task can be finished, and nothing stays behind.
    pub fn drain(&mut self) {
        self.resume(2);
        self.now.grace = None;
        for _ in 0..100_000 {
            self.tick(usize::MAX);
            self.claim(49, 1 << 8 | 1 << 11 | 1 << 20 | 1 << 9, 0);
            let handles: Vec<Handle> = self.handles.drain(..).collect();
            for handle in handles {
                let event = self.queue.ack(self.now, &handle).ok();
                assert_eq!(event.is_some(), self.model.ack(&self.now, &handle).is_ok());
                self.apply_if(event);
            }
            let dead: Vec<TaskId> = self.model.by_death().iter().map(|(_, task)| task.id).collect();
            if let Some(event) = self.queue.retry(self.now, &dead) {
                self.model.retry(&self.now, &dead);
                self.apply(&event);
            }
            if self.queue.count(TaskState::Ready) == 0 {
                let Some(next) = self.queue.next_due(&self.now).filter(|_| !self.model.tasks.is_empty())
                else {
                    break;
                };
                self.set_now(next.0);
            }
        }
        self.compare_counts();
        assert_eq!(self.model.tasks.len(), 0, "everything is worked off");
        self.queue.validate().unwrap();
        assert_eq!(digest(&self.queue), digest(&self.replica));
        assert_eq!(self.queue.record_bytes(), 0);
        assert!(self.queue.memory() < 64 * 1024, "{} bytes stay behind", self.queue.memory());
    }
}

type SeenLease = (u64, u32, u64, Vec<u8>, (bool, bool));

/// The progress, the result, and until when it is retained.
type Outputs = (Vec<u8>, Option<Vec<u8>>, Option<u64>);

/// The errors, and the last attempt.
type Attempts = (Vec<Failure>, Option<Last>);
type Seen<'a> = (TaskState, Vec<u8>, Options<'a>, [u64; 4], Option<SeenLease>, Attempts, Outputs);
