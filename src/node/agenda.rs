//! The work that no client's command does, and when it is due.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

use taskslot_edges::rare;
use taskslot_engine::{Handle, Holder, Millis};

use crate::QueueKey;

/// The time of a hint that is due as soon as possible.
const NOW: Millis = Millis(0);
/// A timer that is later than this has stopped, so it is set again.
const LATE_MS: u64 = 20;
/// The pause after a run that has not finished its due work. A run takes 1 ms, so the server has three quarters of the
/// time for its clients. Jobs go on after a millisecond, because clients wait for most of them.
const REST_MS: u64 = 3;
/// How soon a run is tried again if nothing can be changed now: on a replica, while writes are paused, or for a slot
/// that is moving.
const BLOCKED_MS: u64 = 50;
/// How long hints are put off if nothing can be changed now.
const PUT_OFF_MS: u64 = 1000;

/// Work that is done as soon as possible, outside any client's command.
#[derive(Debug, PartialEq, Eq)]
pub enum Job {
    /// Give ready tasks to the workers that wait for this queue.
    Serve(QueueKey),
    /// Undo leases whose tasks never reached their worker.
    GiveBack {
        /// The queue that holds the leases.
        queue: QueueKey,
        /// The handles of the leases.
        handles: Vec<Handle>,
    },
    /// End the TIED leases of a closed connection.
    Abandon {
        /// The id of the connection.
        client: Holder,
        /// A queue in which it holds leases.
        queue: QueueKey,
    },
}

impl Job {
    /// The job after two databases were swapped. `Serve` stays as it is, because workers wait for a name in a database.
    fn swapped(self, a: i32, b: i32) -> Job {
        match self {
            Job::Serve(queue) => Job::Serve(queue),
            Job::GiveBack { queue, handles } => Job::GiveBack { queue: queue.swapped(a, b), handles },
            Job::Abandon { client, queue } => Job::Abandon { client, queue: queue.swapped(a, b) },
        }
    }
}

/// The time of the earliest hint that the agenda has for a queue, under its present name. It is kept with the queue, so
/// that a busy queue doesn't add a hint per command. It is never later than the due work of the queue.
#[derive(Debug, Default)]
pub struct Hint(Cell<Option<Millis>>);

impl Hint {
    /// Whether work may be due at `at`.
    #[inline]
    pub fn is_due(&self, at: Millis) -> bool {
        self.0.get().is_some_and(|hinted| hinted <= at)
    }

    /// The hint is no longer valid, because the queue has another name.
    pub fn forget(&self) {
        self.0.set(None);
    }

    /// The hint for this time has fired.
    pub fn fired(&self, due: Millis) {
        // Hints fire in order, so a hint for an earlier time has fired before.
        if due == NOW || self.is_due(due) {
            self.forget();
        }
    }

    /// Lowers the time to `due`. Returns whether it was lowered: then the caller puts a hint on the agenda. If a hint
    /// as early exists already, nothing changes.
    #[inline]
    pub fn lower(&self, due: Millis) -> bool {
        let is_earlier = !self.is_due(due);
        if is_earlier {
            self.0.set(Some(due));
        }
        is_earlier
    }
}

/// When queues have work to do, and jobs that are done as soon as possible. Times are on the node's clock.
///
/// All queues share one index of hints (due, database, key). A hint can be out of date, because queues are renamed,
/// moved, flushed and swapped. When it fires, the key is opened, and whatever is due in it is done.
#[derive(Debug, Default)]
pub struct Agenda {
    hints: BTreeSet<(Millis, QueueKey)>,
    jobs: VecDeque<Job>,
    /// A run is in progress, or will start in this round of the server's event loop.
    runs_soon: bool,
    /// Hints were put off because nothing could be changed.
    has_put_off: bool,
    /// When the timer fires, if one is set.
    armed_for: Option<Millis>,
}

impl Agenda {
    /// An empty agenda.
    pub const fn new() -> Agenda {
        Agenda {
            hints: BTreeSet::new(),
            jobs: VecDeque::new(),
            runs_soon: false,
            has_put_off: false,
            armed_for: None,
        }
    }

    /// Adds a hint: the queue has work to do at `due`.
    pub fn hint(&mut self, due: Millis, queue: QueueKey) {
        self.hints.insert((due, queue));
    }

    /// Adds a hint for a queue that is being loaded. It is due as soon as this node can change the queue.
    pub fn hint_loaded(&mut self, queue: QueueKey, hint: &Hint) {
        hint.lower(NOW);
        self.hint(NOW, queue);
    }

    /// Removes the first hint that is due, and returns its time and its queue.
    pub fn pop_due(&mut self, at: Millis) -> Option<(Millis, QueueKey)> {
        let is_due = self.hints.first().is_some_and(|(due, _)| *due <= at);
        if is_due { self.hints.pop_first() } else { None }
    }

    /// How late a hint fires. `None` for a hint that was due as soon as possible.
    pub fn lag_ms(at: Millis, due: Millis) -> Option<u64> {
        (due > NOW).then(|| at.since(due))
    }

    /// Delays a hint a little, because this queue can't be changed now.
    pub fn delay(&mut self, at: Millis, queue: QueueKey) {
        self.hint(at.plus(BLOCKED_MS), queue);
    }

    /// Puts off a hint, because no queue can be changed now. It is due when queues can be changed again, or after a
    /// second.
    pub fn put_off(&mut self, at: Millis, queue: QueueKey) {
        self.hint(at.plus(PUT_OFF_MS), queue);
    }

    /// Makes all hints due now.
    pub fn make_all_due(&mut self) {
        rare!("all hints become due");
        let hints = std::mem::take(&mut self.hints);
        self.hints = hints.into_iter().map(|(_, queue)| (NOW, queue)).collect();
    }

    /// Adds a job.
    pub fn add(&mut self, job: Job) {
        match job {
            // A lease that never reached its worker must be undone before the end of its connection counts as a stall.
            Job::GiveBack { .. } => self.jobs.push_front(job),
            _ => self.jobs.push_back(job),
        }
    }

    /// The number of jobs.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Removes the next job, and returns it.
    pub fn next_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// Two databases were swapped: the hints and jobs of their keys are swapped too.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        let hints = std::mem::take(&mut self.hints);
        self.hints = hints.into_iter().map(|(due, queue)| (due, queue.swapped(a, b))).collect();
        let jobs = std::mem::take(&mut self.jobs);
        self.jobs = jobs.into_iter().map(|job| job.swapped(a, b)).collect();
    }

    /// Requests a run in this round of the server's event loop. Returns whether the caller has to start it: several
    /// runs in one round would keep the server busy for as many slices.
    pub fn wants_run(&mut self) -> bool {
        !std::mem::replace(&mut self.runs_soon, true)
    }

    /// Begins a run. `may_change` says whether queues can be changed; once they can, the hints that were put off are
    /// due.
    pub fn begin_run(&mut self, may_change: bool) {
        self.runs_soon = true;
        if may_change && std::mem::take(&mut self.has_put_off) {
            self.make_all_due();
        }
        self.has_put_off |= !may_change;
    }

    /// Ends a run, and returns when the next one should begin. If there is more to do already, it begins after a pause.
    /// `more` stands for work that changes no queue, so it continues even if nothing can be changed.
    pub fn end_run(&mut self, at: Millis, may_change: bool, more: bool) -> Option<Millis> {
        self.runs_soon = false;
        let [rest_ms, job_ms] = if may_change { [REST_MS, 0] } else { [BLOCKED_MS; 2] };
        let hint = self.hints.first().map(|(due, _)| if *due <= at { at.plus(rest_ms) } else { *due });
        let job = (!self.jobs.is_empty()).then(|| at.plus(job_ms));
        let more = more.then(|| at.plus(REST_MS));
        hint.into_iter().chain(job).chain(more).min()
    }

    /// Requests a timer for `due`. Returns the milliseconds after which it has to fire, or `None` if the timer that is
    /// set fires early enough. In the first case the caller stops the timer that is set.
    pub fn arm(&mut self, at: Millis, due: Millis) -> Option<u64> {
        let due = due.max(at);
        if self.armed_for.is_some_and(|armed_for| armed_for <= due) {
            return None;
        }
        self.armed_for = Some(due);
        // One more, because the server counts whole milliseconds, and the present one may be almost over.
        Some(due.since(at) + 1)
    }

    /// The timer has fired, or was stopped.
    pub fn disarm(&mut self) {
        self.armed_for = None;
    }

    /// Whether the timer should have fired by now.
    pub fn is_timer_late(&self, at: Millis) -> bool {
        self.armed_for.is_some_and(|armed_for| at.since(armed_for) > LATE_MS)
    }
}
