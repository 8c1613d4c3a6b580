//! What the judge knows of the history of one copy of a queue. It travels with the data, beside the bytes: to replicas,
//! into files and back. So what a fault undid is unknown to it too, and everything else must hold.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use taskslot_engine::{
    Answer, Due, Event, Gate, GroupLimits, Handle, Lease, Millis, Now, Queue, REQUEST_KEPT_MS, Release, Set,
    TaskId, TaskState, Then, When,
};

use super::judge::Judge;
use super::message::Commit;
use super::oracle::{Oracle, Place};

/// The most by which a span can differ: a clock is slewed by at most a hundredth, and a machine drifts by less than a
/// thousandth.
const DRIFT: f64 = 0.012;
/// What whole milliseconds take from a span, and clocks that count as the same: a primary tells its clock when that has
/// changed by a quarter of a second.
const EARLY_US: u64 = 400_000;
/// A grace is at most this long.
pub const GRACE_MS: u64 = 5000;

/// A span of time that runs.
#[derive(Clone, Copy)]
struct Span {
    /// When it began, in true time.
    began: u64,
    ms: u64,
    /// [`Ledger::hurry_us`] at that time.
    hurry_us: u64,
}

#[derive(Clone)]
struct Leased {
    handle: Handle,
    span: Span,
    /// When it ends, on the queue's clock.
    deadline: Millis,
    is_tied: bool,
    /// It ended as a stall, and the task was not claimed since.
    has_stalled: bool,
}

/// What must be replied to a worker's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
    /// The lease is about to end, or has just ended.
    Either,
}

/// A time in which no client was served, according to the data of a node, and the end of which it noticed.
#[derive(Clone, Copy)]
pub struct Outage {
    pub from: Millis,
    pub to: Millis,
}

/// How exactly the beginning and the end of an outage are known.
const OUTAGE_MS: u64 = 50;

/// Who sees an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The primary decides it now: it must be right.
    Decided,
    /// The same, but its leases end because their connection was closed.
    Disconnected,
    /// A node gets what was decided before.
    Copied,
}

#[derive(Clone, Default)]
pub struct Ledger {
    pub oracle: Oracle,
    /// The reign that the copy belongs to, and the promotion and the term of its last change.
    pub reign: usize,
    pub tenure: u64,
    pub term: u64,
    /// It came from a node that had forgotten its beginning.
    pub has_forgotten: bool,
    /// By how much spans may have been shortened, because a wall clock was set while its machine had no power.
    pub hurry_us: u64,
    /// A number for each task that no other task has, in no history.
    uids: BTreeMap<TaskId, u64>,
    leases: BTreeMap<TaskId, Leased>,
    delays: BTreeMap<TaskId, Span>,
    /// Times to live, and those that run.
    ttls_ms: BTreeMap<TaskId, u64>,
    ttls: BTreeMap<TaskId, Span>,
    schedules: BTreeMap<Vec<u8>, Span>,
    pauses: BTreeMap<Vec<u8>, Span>,
    results: BTreeMap<TaskId, Vec<u8>>,
    progress: BTreeMap<TaskId, Vec<u8>>,
    /// By token, and whether it was a claim.
    requests: BTreeMap<(Vec<u8>, bool), (Span, Answer)>,
    limits: BTreeMap<Vec<u8>, GroupLimits>,
    concurrency: i64,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger { concurrency: -1, ..Ledger::default() }
    }

    /// A primary takes over this copy: it was promoted, or the queue was moved to it.
    pub fn begins_reign(&mut self, judge: &mut Judge, tenure: u64) {
        (self.reign, self.tenure) = (judge.reign(Some(self.reign), false), tenure);
    }

    pub fn uid(&self, id: TaskId) -> u64 {
        self.uids.get(&id).copied().unwrap_or_default()
    }

    fn span(&self, t: u64, ms: u64) -> Span {
        Span { began: t, ms, hurry_us: self.hurry_us }
    }

    /// Whether a span may have ended.
    fn may_be_over(&self, span: Span, t: u64) -> bool {
        let passed = t - span.began + (self.hurry_us - span.hurry_us) + EARLY_US;
        passed >= (span.ms as f64 * 1000.0 * (1.0 - DRIFT)) as u64
    }

    fn is_over(&self, span: Span, t: u64, what: &str, whose: impl std::fmt::Display) {
        assert!(
            self.may_be_over(span, t),
            "the {what} of {whose}, {} ms, ends after {} ms",
            span.ms,
            (t - span.began) / 1000
        );
    }

    /// What must be replied to an answer by this handle. An ACK is accepted late, too.
    pub fn verdict(&self, handle: &Handle, t: u64, is_ack: bool) -> Verdict {
        let Some(leased) = self.leases.get(&handle.id).filter(|leased| leased.handle == *handle) else {
            return Verdict::Refused;
        };
        match self.oracle.place(handle.id) {
            Place::Leased { .. } if is_ack || !self.may_be_over(leased.span, t) => Verdict::Accepted,
            Place::Leased { .. } => Verdict::Either,
            Place::Gone | Place::Done => Verdict::Refused,
            _ if is_ack && leased.has_stalled => Verdict::Either,
            _ => Verdict::Refused,
        }
    }

    pub fn is_cancel_asked(&self, id: TaskId) -> bool {
        self.oracle.place(id) == Place::Leased { cancel: true }
    }

    /// Checks what a push or a claim with a token was replied: `recalled` if it was sent again.
    pub fn check_recall(&self, (token, is_claim): (&[u8], bool), recalled: Option<&Answer>, t: u64) {
        let request = self.requests.get(&(token.to_vec(), is_claim));
        let known = request.filter(|(span, _)| !self.may_be_over(*span, t));
        match (known, recalled) {
            (Some((_, Answer::Claimed { handles })), None) => {
                assert!(
                    !handles.iter().any(|handle| self.holds(handle)),
                    "a claim is forgotten, and runs again"
                );
            }
            (Some((_, answer)), None) => panic!("{answer:?} is forgotten, and the push runs again"),
            (_, Some(answer)) => {
                let before = request.map(|(_, answer)| answer);
                match (before, answer) {
                    (Some(Answer::Claimed { handles }), Answer::Claimed { handles: again }) => {
                        let mut held = handles.iter().filter(|handle| self.holds(handle));
                        assert!(held.all(|handle| again.contains(handle)), "a lease is not recalled");
                        assert!(again.iter().all(|handle| handles.contains(handle)), "a foreign lease");
                    }
                    _ => assert_eq!(before, Some(answer), "the reply to a request that is sent again"),
                }
            }
            (None, None) => {}
        }
    }

    fn holds(&self, handle: &Handle) -> bool {
        let is_leased = matches!(self.oracle.place(handle.id), Place::Leased { .. });
        is_leased && self.leases.get(&handle.id).is_some_and(|leased| leased.handle == *handle)
    }

    /// Follows an event, the `nth` of its commit. Panics if it must not happen.
    pub fn sees(&mut self, commit: &Commit, nth: u64, event: &Event, watch: Watch) {
        let (t, now) = (commit.t, commit.now);
        if watch != Watch::Copied {
            self.must_be_over(t, event, watch);
        }
        self.oracle.sees(&now, event);
        match event {
            Event::Term { term, .. } => {
                (self.term, self.tenure, self.reign) = (*term, commit.tenure, commit.reign);
                self.has_forgotten = false;
            }
            Event::Pushed { first, count, due, options, .. } => {
                for n in 0..u64::from(*count) {
                    let id = TaskId { seq: first.seq + n, ..*first };
                    self.is_new(commit, nth, id, n);
                    self.lives(id, options.ttl_ms);
                    self.is_due(t, &now, id, *due);
                }
            }
            Event::PushedAfter { first, count, options, .. } => {
                for n in 0..u64::from(*count) {
                    let id = TaskId { seq: first.seq + n, ..*first };
                    self.is_new(commit, nth, id, n);
                    self.lives(id, options.ttl_ms);
                    let due = self.oracle.tasks[&id].due;
                    self.is_due(t, &now, id, due);
                }
            }
            Event::BatchOpened { id, options, .. } => {
                self.is_new(commit, nth, *id, 0);
                self.lives(*id, options.ttl_ms);
            }
            Event::Fired { id, .. } | Event::Ran { id, .. } => self.is_new(commit, nth, *id, 0),
            Event::BecameReady { ids, .. } => ids.iter().for_each(|id| self.was_due(*id)),
            Event::Retried { ids, .. } => ids.iter().for_each(|id| self.is_due(t, &now, *id, None)),
            Event::Claimed { leases, tied, .. } => {
                leases.iter().for_each(|lease| self.is_leased(t, &now, lease, *tied));
                if watch != Watch::Copied {
                    self.check_limits(leases);
                }
            }
            Event::Extended { id, deadline, progress } => {
                let span = self.span(t, deadline.since(now.at));
                let leased = self.leases.get_mut(id).expect("a lease to extend");
                (leased.span, leased.deadline) = (span, *deadline);
                self.says(*id, *progress);
            }
            Event::Acked { id, end, .. } => {
                self.progress.remove(id);
                let result = end.and_then(|end| end.result);
                result.into_iter().for_each(|result| _ = self.results.insert(*id, result.to_vec()));
            }
            Event::Failed { id, then, progress, .. } | Event::Requeued { id, then, progress, .. } => {
                self.says(*id, *progress);
                self.then(t, &now, *id, then);
            }
            Event::Stalled { tasks } => {
                for (id, then) in tasks {
                    self.leases.get_mut(id).expect("a lease that ends").has_stalled = true;
                    then.iter().for_each(|then| self.then(t, &now, *id, then));
                }
            }
            Event::Told { tasks, .. } => {
                for (id, release) in tasks {
                    match release {
                        Release::Delayed(due) => self.is_due(t, &now, *id, Some(*due)),
                        Release::Ready => self.is_due(t, &now, *id, None),
                        Release::Held | Release::Cancelled => {}
                    }
                }
            }
            Event::Unclaimed { id, .. } => _ = self.leases.remove(id),
            Event::Edited { ids, then, when, priority, group, headers, payload, .. } => {
                let then = then.map(|then| match then {
                    Then::Delayed(Due::Clock(at)) => When::After(at.since(now.at)),
                    Then::Delayed(Due::Wall(at)) => When::At(at),
                    _ => When::Now,
                });
                let were_ready: Vec<bool> =
                    ids.iter().map(|id| self.oracle.place(*id) == Place::Ready).collect();
                let (when, priority) = (when.or(then), *priority);
                let to = Set { when, priority, group: *group, headers: *headers, payload: *payload };
                self.oracle.set(&now, ids, &to);
                for (id, was_ready) in ids.iter().zip(were_ready) {
                    let due = self.oracle.tasks[id].due;
                    if to.when.is_some() && !(was_ready && due.is_none()) {
                        self.is_due(t, &now, *id, due);
                    }
                }
            }
            Event::Replaced { id, headers, payload } => {
                let to = Set { headers: Some(headers), payload: Some(payload), ..Set::default() };
                self.oracle.set(&now, &[*id], &to);
            }
            Event::Answered { token, answer, .. } => {
                let span = self.span(t, REQUEST_KEPT_MS);
                let is_claim = matches!(answer, Answer::Claimed { .. });
                self.requests.insert((token.to_vec(), is_claim), (span, answer.clone()));
            }
            Event::Grouped { name, limits } => {
                match limits {
                    Some(limits) => self.limits.insert(name.to_vec(), *limits),
                    None => self.limits.remove(*name),
                };
            }
            Event::GroupPaused { name, until } => {
                self.is_paused(t, &now, name, until.map_or(u64::MAX >> 20, |until| until.since(now.at)));
            }
            Event::GroupResumed { name } => _ = self.pauses.remove(*name),
            Event::Paused { gate: Gate::Out | Gate::All, until } => {
                self.is_paused(t, &now, b"", until.map_or(u64::MAX >> 20, |until| until.since(now.at)));
            }
            Event::Resumed { gate: Gate::Out | Gate::All } => _ = self.pauses.remove(&b""[..]),
            Event::Configured { values } => {
                let concurrency = values.iter().find(|(name, _)| *name == "concurrency");
                concurrency.into_iter().for_each(|(_, most)| self.concurrency = *most);
            }
            Event::Scheduled { name, next, .. } => self.is_planned(t, &now, name, *next),
            Event::Unscheduled { name } => _ = self.schedules.remove(*name),
            _ => {}
        }
        match event {
            Event::Fired { name, next, .. }
            | Event::Skipped { name, next, .. }
            | Event::Replanned { name, next, .. } => self.is_planned(t, &now, name, *next),
            _ => {}
        }
    }

    /// Checks that the spans that an event ends have passed.
    fn must_be_over(&self, t: u64, event: &Event, watch: Watch) {
        match event {
            Event::BecameReady { ids, .. } => {
                for id in ids {
                    let delay = self.delays.get(id);
                    delay.into_iter().for_each(|delay| self.is_over(*delay, t, "delay", id));
                }
            }
            Event::Stalled { tasks } if watch == Watch::Decided => {
                tasks.iter().for_each(|(id, _)| self.is_over(self.leases[id].span, t, "lease", id));
            }
            Event::Stalled { tasks } => {
                assert!(tasks.iter().all(|(id, _)| self.leases[id].is_tied), "a lease that was not tied");
            }
            Event::Expired { ids, .. } => {
                for id in ids {
                    let ttl = self.ttls.get(id);
                    ttl.into_iter().for_each(|ttl| self.is_over(*ttl, t, "time to live", id));
                }
            }
            Event::Fired { name, .. } => {
                let span = self.schedules.get(&name[..]);
                span.into_iter()
                    .for_each(|span| self.is_over(*span, t, "interval", String::from_utf8_lossy(name)));
            }
            Event::Claimed { leases, .. } => {
                let groups = leases.iter().map(|lease| &self.oracle.tasks[&lease.id].body.group[..]);
                for group in groups.chain([&b""[..]]) {
                    let pause = self.pauses.get(group);
                    pause.into_iter().for_each(|pause| self.is_over(*pause, t, "pause", "a claim"));
                }
            }
            _ => {}
        }
    }

    fn is_new(&mut self, commit: &Commit, nth: u64, id: TaskId, n: u64) {
        self.uids.insert(id, commit.id << 16 | nth << 8 | n);
    }

    /// A task is ready, delayed or held.
    fn is_due(&mut self, t: u64, now: &Now, id: TaskId, due: Option<Due>) {
        match due {
            Some(Due::Clock(at)) => _ = self.delays.insert(id, self.span(t, at.since(now.at))),
            _ => _ = self.delays.remove(&id),
        }
        let ttl = self.ttls_ms.get(&id).filter(|_| self.oracle.place(id) == Place::Ready);
        ttl.copied().into_iter().for_each(|ms| _ = self.ttls.insert(id, self.span(t, ms)));
    }

    /// A delayed task is ready. Its time to live began when it was due.
    fn was_due(&mut self, id: TaskId) {
        let delay = self.delays.remove(&id);
        match (delay, self.ttls_ms.get(&id)) {
            (Some(delay), Some(ttl_ms)) => {
                _ = self.ttls.insert(id, Span { ms: delay.ms + ttl_ms, ..delay });
            }
            _ => _ = self.ttls.remove(&id),
        }
    }

    fn lives(&mut self, id: TaskId, ttl_ms: Option<NonZeroU64>) {
        ttl_ms.into_iter().for_each(|ms| _ = self.ttls_ms.insert(id, ms.get()));
    }

    fn is_leased(&mut self, t: u64, now: &Now, lease: &Lease, is_tied: bool) {
        let span = self.span(t, lease.deadline.since(now.at));
        let leased =
            Leased { handle: lease.handle(), span, deadline: lease.deadline, is_tied, has_stalled: false };
        self.leases.insert(lease.id, leased);
        self.delays.remove(&lease.id);
    }

    fn is_paused(&mut self, t: u64, _now: &Now, name: &[u8], ms: u64) {
        self.pauses.insert(name.to_vec(), self.span(t, ms));
    }

    fn is_planned(&mut self, t: u64, now: &Now, name: &[u8], next: Due) {
        match next {
            Due::Clock(at) => _ = self.schedules.insert(name.to_vec(), self.span(t, at.since(now.at))),
            Due::Wall(_) => _ = self.schedules.remove(name),
        }
    }

    fn then(&mut self, t: u64, now: &Now, id: TaskId, then: &Then) {
        let due = if let Then::Delayed(due) = then { Some(*due) } else { None };
        self.is_due(t, now, id, due);
    }

    fn says(&mut self, id: TaskId, progress: Option<&[u8]>) {
        match progress {
            Some(b"") => _ = self.progress.remove(&id),
            Some(text) => _ = self.progress.insert(id, text.to_vec()),
            None => {}
        }
    }

    /// Checks that claims leave the limits of the queue and of its groups as they are.
    fn check_limits(&self, leases: &[Lease]) {
        let leased = |group: Option<&[u8]>| {
            let is_leased = |(_, task): &(TaskId, &super::oracle::Task)| {
                matches!(task.place, Place::Leased { .. })
                    && group.is_none_or(|group| task.body.group == group)
            };
            self.oracle.living().filter(is_leased).count() as i64
        };
        if self.concurrency >= 0 {
            assert!(leased(None) <= self.concurrency, "more leases than `concurrency`");
        }
        for lease in leases {
            let group = &self.oracle.tasks[&lease.id].body.group[..];
            let Some(limits) = self.limits.get(group) else { continue };
            let most = if limits.ordered { Some(1) } else { limits.concurrency.filter(|most| *most >= 0) };
            assert!(
                most.is_none_or(|most| leased(Some(group)) <= most),
                "more leases than the group's limit"
            );
        }
    }

    /// Checks that a lease which ends was spared for a grace, if its deadline passed in an outage. All on the queue's
    /// clock.
    pub fn was_spared(&self, id: TaskId, outage: Outage, at: Millis) {
        let deadline = self.leases[&id].deadline;
        let is_in_it = outage.from.plus(OUTAGE_MS) < deadline && deadline.plus(OUTAGE_MS) < outage.to;
        let until = outage.to.plus(outage.to.since(outage.from).min(GRACE_MS));
        assert!(!is_in_it || at.plus(OUTAGE_MS) >= until, "the lease of {id} has no grace after an outage");
    }

    /// The tasks that become ready at an instant of the wall clock.
    pub fn delayed_by_wall(&self) -> Vec<TaskId> {
        let is_so = |task: &super::oracle::Task| {
            task.place == Place::Delayed && matches!(task.due, Some(Due::Wall(_)))
        };
        self.oracle.living().filter(|(_, task)| is_so(task)).map(|(id, _)| id).collect()
    }

    /// A lease of at most `ms` that was given after `since` and should have ended long ago.
    pub fn overdue(&self, ms: u64, since: u64, t: u64) -> Option<TaskId> {
        let most_us =
            |span: Span| (span.ms as f64 * 1000.0 * (1.0 + DRIFT)) as u64 + 2 * GRACE_MS * 1000 + 1_000_000;
        let is_overdue = |(id, leased): &(&TaskId, &Leased)| {
            let span = leased.span;
            let is_leased = matches!(self.oracle.place(**id), Place::Leased { .. });
            is_leased && span.ms <= ms && span.began >= since && t - span.began > most_us(span)
        };
        self.leases.iter().find(is_overdue).map(|(id, _)| *id)
    }

    /// Checks that a queue is as its history says.
    pub fn check(&self, queue: &Queue, now: &Now) {
        queue.validate().unwrap();
        let mut living = 0;
        for (id, task) in self.oracle.living() {
            living += 1;
            let seen = queue.task(now, id).unwrap_or_else(|| panic!("{id} is lost: it is {:?}", task.place));
            let is_asked = seen.lease.is_some_and(|lease| lease.cancel_asked);
            let place = match seen.state {
                TaskState::Ready => Place::Ready,
                TaskState::Delayed => Place::Delayed,
                TaskState::Held => Place::Held,
                TaskState::Leased => Place::Leased { cancel: is_asked },
                TaskState::Dead => Place::Dead,
                TaskState::Done => Place::Done,
            };
            assert_eq!(place, task.place, "{id}");
            let (body, options) = (&task.body, &seen.options);
            assert_eq!((options.priority, options.group), (body.priority, &body.group[..]), "{id}");
            assert_eq!((options.headers, seen.payload), (&body.headers[..], &body.payload[..]), "{id}");
            let parents = seen.relations.parents.iter().map(|parent| (parent.id, parent.is_open));
            assert!(parents.eq(task.parents.iter().map(|(id, is_open)| (*id, *is_open))), "parents of {id}");
            let progress = if place == Place::Done { None } else { self.progress.get(&id) };
            assert_eq!(seen.progress, progress.map_or(&[][..], Vec::as_slice), "how far {id} has got");
            if place == Place::Done {
                assert_eq!(seen.result, self.results.get(&id).map(Vec::as_slice), "the result of {id}");
            }
            if let Some(lease) = seen.lease {
                assert_eq!(lease.number, self.leases[&id].handle.lease, "the lease of {id}");
            }
        }
        let counted = TaskState::ALL.map(|state| queue.count(state)).iter().sum::<u64>();
        assert_eq!(counted, living, "tasks in the queue");
        for (at, batch) in self.oracle.batches.iter().enumerate() {
            if self.oracle.batch(&batch.name) == Some(at) {
                let seen = queue.batch(&batch.name).unwrap();
                assert_eq!((seen.open, seen.counts), self.oracle.counts(at), "a batch");
                assert_eq!(
                    (seen.callback, seen.is_over),
                    (batch.callback, self.oracle.is_over(at)),
                    "a batch"
                );
            }
        }
        assert_eq!(queue.has_news(), self.oracle.has_news(), "whether somebody must be told something");
    }
}
