//! What is to be done outside any client's command, and when.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

use taskslot_engine::{Handle, Holder, Millis};

use crate::QueueKey;

/// The time of a hint that is to be looked at as soon as possible.
const NOW: Millis = Millis(0);
/// A timer this late isn't coming.
const LATE_MS: u64 = 20;
/// How long the server is left alone after a run that didn't get done, which takes 1 ms: it has three quarters of the
/// time.
const REST_MS: u64 = 3;
/// How soon to look again where nothing may be changed now (a replica, writes paused, a slot on its way).
const BLOCKED_MS: u64 = 50;
/// How long hints are put off where nothing may be changed now.
const PUT_OFF_MS: u64 = 1000;

/// Something to do outside any client's command.
#[derive(Debug, PartialEq, Eq)]
pub enum Job {
    /// Give what is ready to workers that wait.
    Serve(QueueKey),
    /// Undo leases that never reached their worker.
    GiveBack {
        /// The queue.
        queue: QueueKey,
        /// The leases.
        handles: Vec<Handle>,
    },
    /// End the TIED leases of a connection that closed.
    Abandon {
        /// The connection.
        client: Holder,
        /// The queue.
        queue: QueueKey,
    },
}

impl Job {
    /// The job after two databases have changed places. Workers wait at a name, whatever queue is there.
    fn swapped(self, a: i32, b: i32) -> Job {
        match self {
            Job::Serve(queue) => Job::Serve(queue),
            Job::GiveBack { queue, handles } => Job::GiveBack { queue: queue.swapped(a, b), handles },
            Job::Abandon { client, queue } => Job::Abandon { client, queue: queue.swapped(a, b) },
        }
    }
}

/// The earliest hint that is out for a queue under its present name, kept with the queue: so a busy queue doesn't add one
/// per command. A hint is never later than what is due.
#[derive(Debug, Default)]
pub struct Hint(Cell<Option<Millis>>);

impl Hint {
    /// Whether something may be due.
    #[inline]
    pub fn is_due(&self, at: Millis) -> bool {
        self.0.get().is_some_and(|hinted| hinted <= at)
    }

    /// No hint is out any more: the queue has another name.
    pub fn forget(&self) {
        self.0.set(None);
    }

    /// A hint for this time has fired.
    pub fn fired(&self, due: Millis) {
        // Hints come in order, so one that was out for an earlier time is gone.
        if due == NOW || self.is_due(due) {
            self.forget();
        }
    }

    /// Whether a hint for `due` is wanted: none is out that is as early. It is to be put on the agenda then.
    #[inline]
    pub fn lower(&self, due: Millis) -> bool {
        let is_earlier = !self.is_due(due);
        if is_earlier {
            self.0.set(Some(due));
        }
        is_earlier
    }
}

/// When queues have something to do, and jobs that are done as soon as possible. Times are on the node's clock.
///
/// One index of hints (due, database, key) for all queues. A hint may be stale, since queues are renamed, moved, flushed
/// and swapped: when it fires, the key is opened, and what is due is done or nothing is.
#[derive(Debug, Default)]
pub struct Agenda {
    hints: BTreeSet<(Millis, QueueKey)>,
    jobs: VecDeque<Job>,
    /// A run is under way, or comes in this round of the server's loop.
    runs_soon: bool,
    /// Hints were put off, while nothing might be changed.
    has_put_off: bool,
    /// When the timer fires that is set.
    armed_for: Option<Millis>,
}

impl Agenda {
    /// An agenda with nothing on it.
    pub const fn new() -> Agenda {
        Agenda {
            hints: BTreeSet::new(),
            jobs: VecDeque::new(),
            runs_soon: false,
            has_put_off: false,
            armed_for: None,
        }
    }

    /// Looks at a queue at `due`.
    pub fn hint(&mut self, due: Millis, queue: QueueKey) {
        self.hints.insert((due, queue));
    }

    /// A queue is being loaded: it is looked at as soon as this node may act on it.
    pub fn hint_loaded(&mut self, queue: QueueKey, hint: &Hint) {
        hint.lower(NOW);
        self.hint(NOW, queue);
    }

    /// Takes out the first hint that is due: the queue, and since when it is, if that is known.
    pub fn pop_due(&mut self, at: Millis) -> Option<(Millis, QueueKey)> {
        let is_due = self.hints.first().is_some_and(|(due, _)| *due <= at);
        if is_due { self.hints.pop_first() } else { None }
    }

    /// How late a hint is, where it was for a certain time.
    pub fn lag_ms(at: Millis, due: Millis) -> Option<u64> {
        (due > NOW).then(|| at.since(due))
    }

    /// A queue can't be changed here now: looks at it again soon.
    pub fn delay(&mut self, at: Millis, queue: QueueKey) {
        self.hint(at.plus(BLOCKED_MS), queue);
    }

    /// Nothing can be changed here for now: a queue is looked at when it can, or in a while.
    pub fn put_off(&mut self, at: Millis, queue: QueueKey) {
        self.hint(at.plus(PUT_OFF_MS), queue);
    }

    /// Each queue that has something to do is looked at now.
    pub fn look_at_all(&mut self) {
        let hints = std::mem::take(&mut self.hints);
        self.hints = hints.into_iter().map(|(_, queue)| (NOW, queue)).collect();
    }

    /// Adds a job.
    pub fn add(&mut self, job: Job) {
        match job {
            // A lease that never reached its worker is undone before its connection's end counts as a stall.
            Job::GiveBack { .. } => self.jobs.push_front(job),
            _ => self.jobs.push_back(job),
        }
    }

    /// How many jobs there are.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Takes out the next job.
    pub fn next_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// Two databases have changed places, and their keys' hints and jobs with them.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        let hints = std::mem::take(&mut self.hints);
        self.hints = hints.into_iter().map(|(due, queue)| (due, queue.swapped(a, b))).collect();
        let jobs = std::mem::take(&mut self.jobs);
        self.jobs = jobs.into_iter().map(|job| job.swapped(a, b)).collect();
    }

    /// A run is wanted in this round of the server's loop. True where it is to be started: many runs in a row would hold the
    /// server for as many slices.
    pub fn wants_run(&mut self) -> bool {
        !std::mem::replace(&mut self.runs_soon, true)
    }

    /// A run begins, where queues may be changed or not. What was put off is looked at as soon as they may.
    pub fn begin_run(&mut self, may_change: bool) {
        self.runs_soon = true;
        if may_change && std::mem::take(&mut self.has_put_off) {
            self.look_at_all();
        }
        self.has_put_off |= !may_change;
    }

    /// The run is over: when the next one is wanted. Not before a rest if there is something to do already; `more` is work
    /// that changes nothing, so it goes on where nothing may be changed.
    pub fn end_run(&mut self, at: Millis, may_change: bool, more: bool) -> Option<Millis> {
        self.runs_soon = false;
        let next = match self.hints.first() {
            _ if !self.jobs.is_empty() => Some(at),
            first => first.map(|(due, _)| *due),
        };
        let rest_ms = if may_change { REST_MS } else { BLOCKED_MS };
        let next = next.map(|due| if due <= at { at.plus(rest_ms) } else { due });
        next.into_iter().chain(more.then(|| at.plus(REST_MS))).min()
    }

    /// After how many ms a timer is to fire that is wanted for `due`; `None` where one is set that fires no later. One that
    /// is set and fires later is to be stopped.
    pub fn arm(&mut self, at: Millis, due: Millis) -> Option<u64> {
        let due = due.max(at);
        if self.armed_for.is_some_and(|armed_for| armed_for <= due) {
            return None;
        }
        self.armed_for = Some(due);
        // One more, since the server counts whole milliseconds and we may be at the end of one.
        Some(due.since(at) + 1)
    }

    /// The timer has fired, or was stopped.
    pub fn disarm(&mut self) {
        self.armed_for = None;
    }

    /// Whether the timer should have fired and didn't.
    pub fn is_timer_late(&self, at: Millis) -> bool {
        self.armed_for.is_some_and(|armed_for| at.since(armed_for) > LATE_MS)
    }
}
