//! A task as it is shown.

use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::task::{LeaseNumber, Options, TaskId, TaskState};
use crate::time::{Millis, Now};

/// All that is known of a task, but for its nonce.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// Its id.
    pub id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// What the push said.
    pub options: Options<'a>,
    /// The payload.
    pub payload: &'a [u8],
    /// When it was pushed.
    pub enqueued_at: Millis,
    /// Claims so far.
    pub deliveries: u32,
    /// FAILs so far.
    pub failures: u16,
    /// Stalls so far.
    pub stalls: u16,
    /// What its state says of time: ready, dead or done since, due at, or the deadline.
    pub instant: Millis,
    /// The lease, of a leased task only.
    pub lease: Option<LeaseView<'a>>,
    /// What the last FAIL said, or why it died without one; empty for nothing.
    pub error: &'a [u8],
    /// How far the worker that holds it, or held it last, has come; empty where it said nothing.
    pub progress: &'a [u8],
    /// Until when a done task is kept; `None` for any other.
    pub kept_until: Option<Millis>,
    /// What came of a done task, if its worker said.
    pub result: Option<&'a [u8]>,
    /// Whether it holds the token it was pushed with.
    pub holds_token: bool,
    /// When it is gone if nobody claims it: of a ready task with a time to live that was never claimed.
    pub expires: Option<Millis>,
}

/// What is known of a lease, but for its nonce.
#[derive(Debug, Clone, Copy)]
pub struct LeaseView<'a> {
    /// Its number.
    pub number: LeaseNumber,
    /// Its own length.
    pub lease_ms: u32,
    /// When it began.
    pub claimed_at: Millis,
    /// The worker's name, empty for none.
    pub worker: &'a [u8],
    /// Whether it ends with the worker's connection.
    pub tied: bool,
    /// Whether somebody asked to cancel the task.
    pub cancel_asked: bool,
}

/// Bytes that a task is shown with beside what users gave: names of fields, numbers and times, about.
const SHOWN_BYTES: usize = 600;

impl TaskView<'_> {
    /// Bytes that the task is shown with, about; with its payload and its result, or without.
    pub(crate) fn shown_bytes(&self, with_payload: bool) -> u64 {
        let worker = self.lease.map_or(0, |lease| lease.worker.len());
        let token = self.options.unique.map_or(0, |unique| unique.token.len());
        let said = [self.error, self.progress, self.options.headers, self.options.group];
        let said: usize = said.into_iter().map(<[u8]>::len).sum();
        let body = if with_payload { self.payload.len() + self.result.map_or(0, <[u8]>::len) } else { 0 };
        (SHOWN_BYTES + worker + token + said + body) as u64
    }
}

impl State {
    /// A task by id; `None` if there is none (any more).
    pub fn task(&self, now: &Now, id: TaskId) -> Option<TaskView<'_>> {
        self.find(id).map(|found| self.view(now, found))
    }

    pub(crate) fn view<'a>(&'a self, now: &Now, found: Found<'a>) -> TaskView<'a> {
        let entry = found.entry();
        let (instant, lease) = match entry.phase {
            Phase::Ready { since } => (since, None),
            Phase::Delayed { due } => (due.on_clock(now), None),
            Phase::Dead { at } | Phase::Done { at, .. } => (at, None),
            Phase::Leased { deadline, claimed_at, worker, tied, cancel } => {
                let worker = self.workers.name(worker);
                let (number, lease_ms) = (entry.lease, entry.lease_ms);
                (
                    deadline,
                    Some(LeaseView { number, lease_ms, claimed_at, worker, tied, cancel_asked: cancel }),
                )
            }
        };
        TaskView {
            id: found.record.id,
            state: entry.phase.state(),
            options: Options { group: self.groups.name(found.record.group), ..found.record.options },
            payload: found.record.payload,
            enqueued_at: Millis(found.record.id.ms),
            deliveries: entry.deliveries,
            failures: entry.failures,
            stalls: entry.stalls,
            instant,
            lease,
            error: self.errors.get(found.order).unwrap_or_default(),
            progress: self.progress.get(found.order).unwrap_or_default(),
            kept_until: if let Phase::Done { until, .. } = entry.phase { Some(until) } else { None },
            result: self.results.get(found.order),
            holds_token: self.holds_token(now.at, &found),
            expires: found.expires(),
        }
    }
}
