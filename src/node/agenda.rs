//! The work that no client's command does, and when it is due.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// See whether a connection still holds TIED leases in a queue.
    CheckTie {
        /// The id of the connection.
        client: Holder,
        /// A queue in which it held some.
        queue: QueueKey,
    },
}

impl Job {
    /// Two databases were swapped. `Serve` stays as it is, because workers wait for a name in a database.
    fn swap_databases(&mut self, a: i32, b: i32) {
        match self {
            Job::Serve(_) => {}
            Job::GiveBack { queue, .. } | Job::Abandon { queue, .. } | Job::CheckTie { queue, .. } => {
                queue.swap_databases(a, b);
            }
        }
    }
}

/// The number of a hint on an agenda. No other hint ever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HintId(u64);

/// What a queue has noted of its hint on the agenda: the time for which that was put there, and its number. So a busy
/// queue doesn't change its hint per command. The time is never later than the due work of the queue.
#[derive(Debug, Default)]
pub struct Noted(Cell<Option<(Millis, HintId)>>);

impl Noted {
    /// Whether work may be due at `at`: there is a hint for this time or an earlier one.
    #[inline]
    pub fn is_due(&self, at: Millis) -> bool {
        self.0.get().is_some_and(|(due, _)| due <= at)
    }

    /// The hint with this number has fired, so the queue has none.
    pub fn fired(&self, id: HintId) {
        if self.0.get().is_some_and(|(_, own)| own == id) {
            self.0.set(None);
        }
    }

    /// Takes the number of the hint, so that it can be removed from the agenda.
    pub fn take(&self) -> Option<HintId> {
        self.0.take().map(|(_, id)| id)
    }
}

/// A hint that has fired.
#[derive(Debug, PartialEq, Eq)]
pub struct Fired {
    /// The number of the hint.
    pub id: HintId,
    /// When it was due.
    pub due: Millis,
    /// The queue that may have work to do.
    pub queue: QueueKey,
}

/// When queues have work to do, and jobs that are done as soon as possible. Times are on the node's clock.
///
/// Each queue has at most one hint. It can be out of date: the key can be gone, or have nothing to do yet. When it fires,
/// the key is opened, and whatever is due in it is done. The hint of a queue that is gone is removed by its number.
#[derive(Debug, Default)]
pub struct Agenda {
    /// The hints, by number: when they are due, and of which queue they are.
    hints: BTreeMap<HintId, (Millis, QueueKey)>,
    /// The numbers of the hints, in the order in which they are due.
    times: BTreeSet<(Millis, HintId)>,
    /// The last number that was given to a hint.
    last_id: u64,
    jobs: VecDeque<Job>,
    /// The queues for which there is a job `Serve`. One is enough, however many tasks become ready.
    to_serve: BTreeSet<QueueKey>,
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
            hints: BTreeMap::new(),
            times: BTreeSet::new(),
            last_id: 0,
            jobs: VecDeque::new(),
            to_serve: BTreeSet::new(),
            runs_soon: false,
            has_put_off: false,
            armed_for: None,
        }
    }

    /// Puts a hint here that a queue has work to do at `due`, in place of the one that it has.
    pub fn put(&mut self, noted: &Noted, due: Millis, queue: QueueKey) {
        if let Some(id) = noted.take() {
            self.remove(id);
        }
        self.last_id += 1;
        let id = HintId(self.last_id);
        self.insert(id, due, queue);
        noted.0.set(Some((due, id)));
    }

    /// Puts a hint here that a queue is to be looked at as soon as this node can change it.
    pub fn put_now(&mut self, noted: &Noted, queue: QueueKey) {
        self.put(noted, NOW, queue);
    }

    /// The queue that has noted this hint has another name, or came to this key in another way.
    pub fn rename(&mut self, noted: &Noted, queue: QueueKey) {
        let named = noted.take().and_then(|id| Some((id, self.hints.get_mut(&id)?)));
        if let Some((id, (due, old))) = named {
            *old = queue;
            noted.0.set(Some((*due, id)));
        }
    }

    /// Removes a hint, if it is still there. Its queue is gone.
    pub fn remove(&mut self, id: HintId) {
        if let Some((due, _)) = self.hints.remove(&id) {
            self.times.remove(&(due, id));
        }
    }

    fn insert(&mut self, id: HintId, due: Millis, queue: QueueKey) {
        self.hints.insert(id, (due, queue));
        self.times.insert((due, id));
    }

    /// Removes the first hint that is due, and returns it.
    pub fn pop_due(&mut self, at: Millis) -> Option<Fired> {
        let (due, id) = self.times.first().copied().filter(|(due, _)| *due <= at)?;
        self.times.remove(&(due, id));
        let (_, queue) = self.hints.remove(&id)?;
        Some(Fired { id, due, queue })
    }

    /// How late a hint fires. `None` for a hint that was due as soon as possible.
    pub fn lag_ms(at: Millis, due: Millis) -> Option<u64> {
        (due > NOW).then(|| at.since(due))
    }

    /// Delays a hint that has fired a little, because its queue can't be changed now.
    pub fn delay(&mut self, at: Millis, fired: Fired) {
        self.insert(fired.id, at.plus(BLOCKED_MS), fired.queue);
    }

    /// Puts off a hint that has fired, because no queue can be changed now. It is due when queues can be changed again,
    /// or after a second.
    pub fn put_off(&mut self, at: Millis, fired: Fired) {
        self.insert(fired.id, at.plus(PUT_OFF_MS), fired.queue);
    }

    /// Makes all hints due now.
    pub fn make_all_due(&mut self) {
        rare!("all hints become due");
        let hints = self.hints.iter_mut();
        self.times = hints
            .map(|(id, (due, _))| {
                *due = NOW;
                (NOW, *id)
            })
            .collect();
    }

    /// Adds a job. A queue that is to be served is not added twice.
    pub fn add(&mut self, job: Job) {
        match &job {
            // A lease that never reached its worker must be undone before the end of its connection counts as a stall.
            Job::GiveBack { .. } => self.jobs.push_front(job),
            Job::Serve(queue) if !self.to_serve.insert(queue.clone()) => {}
            _ => self.jobs.push_back(job),
        }
    }

    /// The number of jobs.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Removes the next job, and returns it.
    pub fn next_job(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front();
        if let Some(Job::Serve(queue)) = &job {
            self.to_serve.remove(queue);
        }
        job
    }

    /// Two databases were swapped: the hints and jobs of their keys are swapped too.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        self.hints.values_mut().for_each(|(_, queue)| queue.swap_databases(a, b));
        self.jobs.iter_mut().for_each(|job| job.swap_databases(a, b));
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
        let hint = self.times.first().map(|(due, _)| if *due <= at { at.plus(rest_ms) } else { *due });
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
