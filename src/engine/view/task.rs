//! What is shown of a task.

use crate::numbers::Order;
use crate::state::{Found, State};
use crate::store::entry::Phase;
use crate::store::last_attempt::LastAttempt;
use crate::store::task_errors::TaskErrors;
use crate::task::{LeaseNumber, Options, TaskId, TaskState};
use crate::time::{Millis, Now, When};
use crate::view::batches::Relations;

/// Everything known about a task, except the nonce of its lease.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// The task's id.
    pub id: TaskId,
    /// Its present state.
    pub state: TaskState,
    /// The options of the push, with the current headers.
    pub options: Options<'a>,
    /// The current payload.
    pub payload: &'a [u8],
    /// When it was pushed; the milliseconds of its id.
    pub enqueued_at: Millis,
    /// Claims so far. A hand-off that was undone doesn't count.
    pub deliveries: u32,
    /// Failures (FAIL) since the push or the last RETRY of the dead task.
    pub failures: u16,
    /// Stalls since the push or the last RETRY of the dead task.
    pub stalls: u16,
    /// The instant of the state: ready, held, dead or done since, due at, or the deadline of the lease.
    pub instant: Millis,
    /// When it becomes ready once it waits for nothing any more; `Now` unless it is held.
    pub when: When,
    /// The lease; `None` unless the task is leased.
    pub lease: Option<LeaseView<'a>>,
    /// The last attempt; `None` unless the task is dead or done, or if it is not known: an older version stored the
    /// task, or the ACK came when the task was waiting again.
    pub last: Option<LastAttempt<'a>>,
    /// The last errors, as many as the setting `errors-kept` says. The newest is the text of the last FAIL, or why the
    /// task died without one.
    pub errors: TaskErrors<'a>,
    /// How far the task has got, as its workers said; empty if there is none.
    pub progress: &'a [u8],
    /// Until when a done task is retained; `None` in any other state.
    pub kept_until: Option<Millis>,
    /// The result of a done task; `None` if its worker gave none.
    pub result: Option<&'a [u8]>,
    /// Whether it holds the UNIQUE token it was pushed with.
    pub holds_token: bool,
    /// When it expires; `None` unless it is ready, has a time to live and was never claimed.
    pub expires: Option<Millis>,
    /// What it has to do with other tasks.
    pub relations: Relations<'a>,
}

/// Everything known about a lease, except its nonce.
#[derive(Debug, Clone, Copy)]
pub struct LeaseView<'a> {
    /// The lease's number: the fencing token.
    pub number: LeaseNumber,
    /// Its own length in ms, without extensions.
    pub lease_ms: u32,
    /// When the task was claimed.
    pub claimed_at: Millis,
    /// The name of the worker; empty if it gave none.
    pub worker: &'a [u8],
    /// Whether the lease ends with the worker's connection (TIED).
    pub tied: bool,
    /// Whether the cancellation of the task was requested.
    pub cancel_asked: bool,
}

/// What a worker gets of a task beside its id. It is moved for each task that is claimed, so it has at most 128 bytes:
/// more would be copied by a call.
#[derive(Debug, Clone, Default)]
pub struct Given<'a> {
    /// The current payload.
    pub payload: &'a [u8],
    /// The current headers, encoded.
    pub headers: &'a [u8],
    /// The name of the task's group; empty for none.
    pub group: &'a [u8],
    /// Its priority.
    pub priority: i8,
    /// Claims so far. A claim with NOACK isn't counted yet.
    pub deliveries: u32,
    /// Failures (FAIL) since the push or the last RETRY of the dead task.
    pub failures: u16,
    /// Stalls since the push or the last RETRY of the dead task.
    pub stalls: u16,
    /// How far it has got, as a worker said in an attempt before; empty if none did.
    pub progress: &'a [u8],
    /// When its lease ends; `None` if it isn't leased.
    pub deadline: Option<Millis>,
    /// How long it is retained once it is done, in ms, unless its ACK gives another time.
    pub retain_ms: Option<u64>,
    /// What it has to do with other tasks; `None` for nothing, as most tasks.
    pub relations: Option<Box<Relations<'a>>>,
}

const _: () = assert!(size_of::<Given>() <= 128);

/// Bytes that a shown task takes besides what users gave: names of fields, numbers and instants; approximately.
const SHOWN_BYTES: usize = 600;

/// Bytes that a shown error takes besides its texts, approximately.
const SHOWN_ERROR_BYTES: usize = 100;

impl<'a> TaskView<'a> {
    /// The worker that holds the task, or that made the last attempt; empty if it gave no name, or if there is none.
    pub fn worker(&self) -> &'a [u8] {
        let last = self.last.map(|last| last.worker);
        self.lease.map(|lease| lease.worker).or(last).unwrap_or_default()
    }

    /// The text of the last error; empty if there is none.
    pub fn error(&self) -> &'a [u8] {
        self.errors.last_text()
    }

    /// When the task was claimed, by the worker that holds it or that made the last attempt.
    pub fn claimed_at(&self) -> Option<Millis> {
        let last = self.last.map(|last| last.claimed_at);
        self.lease.map(|lease| lease.claimed_at).or(last)
    }

    /// Bytes of what is shown with the payload.
    fn body_bytes(&self) -> usize {
        let errors = self.errors.bytes() + self.errors.len() * SHOWN_ERROR_BYTES;
        self.payload.len() + self.result.map_or(0, <[u8]>::len) + errors
    }

    /// Bytes that the shown task takes, approximately, with or without its payload, its result and the list of errors.
    pub(crate) fn shown_bytes(&self, with_payload: bool) -> u64 {
        let worker = self.worker().len();
        let token = self.options.unique.map_or(0, |unique| unique.token.len());
        let texts = [self.error(), self.progress, self.options.headers, self.options.group];
        let texts: usize = texts.into_iter().map(<[u8]>::len).sum();
        let body = if with_payload { self.body_bytes() } else { 0 };
        (SHOWN_BYTES + worker + token + texts + body + self.relations.shown_bytes()) as u64
    }
}

impl State {
    /// The task with this id; `None` if there is none (any more).
    pub fn task(&self, now: &Now, id: TaskId) -> Option<TaskView<'_>> {
        self.find(id).map(|found| self.view(now, found))
    }

    /// What a worker gets of the task with this id; `None` if there is none (any more).
    pub fn given(&self, id: TaskId) -> Option<Given<'_>> {
        let Found { order, record, entry, .. } = self.find(id)?;
        let entry = entry.as_ref();
        let mut given = Given {
            payload: record.payload,
            deliveries: entry.map_or(0, |entry| entry.deliveries),
            failures: entry.map_or(0, |entry| entry.failures),
            stalls: entry.map_or(0, |entry| entry.stalls),
            progress: self.progress_of(order),
            deadline: entry.and_then(|entry| entry.phase.deadline()),
            retain_ms: self.retains_ms(&record),
            relations: self.given_relations(order, record.batch),
            ..Given::default()
        };
        if !record.is_plain() {
            let options = record.options();
            (given.headers, given.priority) = (options.headers, options.priority);
            given.group = self.groups.name(record.group());
        }
        Some(given)
    }

    fn progress_of(&self, order: Order) -> &[u8] {
        self.progress.get(order).unwrap_or_default()
    }

    pub(crate) fn view<'a>(&'a self, now: &Now, found: Found<'a>) -> TaskView<'a> {
        let entry = found.entry();
        let (instant, lease) = match entry.phase {
            Phase::Ready { since } | Phase::Held { since, .. } => (since, None),
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
            options: Options { group: self.groups.name(found.record.group()), ..found.record.options() },
            payload: found.record.payload,
            enqueued_at: Millis(found.record.id.ms),
            deliveries: entry.deliveries,
            failures: entry.failures,
            stalls: entry.stalls,
            instant,
            when: if let Phase::Held { when, .. } = entry.phase { when } else { When::Now },
            lease,
            last: self.attempts.get(found.order).and_then(LastAttempt::read),
            errors: TaskErrors::stored(self.errors.get(found.order).unwrap_or_default())
                .newest(self.errors_kept()),
            progress: self.progress_of(found.order),
            kept_until: if let Phase::Done { until, .. } = entry.phase { Some(until) } else { None },
            result: self.results.get(found.order),
            holds_token: self.holds_token(now.at, &found),
            expires: found.expires(),
            relations: self.relations(found.order, found.record.batch),
        }
    }
}
