//! What the contract says about held tasks, as naively as possible: every task that ever was, every batch that ever was,
//! linear searches, no indexes. It sees each event, believes what events say about claims, limits and time, and knows by
//! itself who waits for whom, what may be told, and how many tasks of a batch ended how.

use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::{BatchCounts, Due, Event, Now, OnDead, Options, Refusal, Release, TaskId, Then, When};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Ready,
    Delayed,
    Held,
    Leased { cancel: bool },
    Dead,
    Done,
    Gone,
}

/// How a task ended, or that it is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    Dead,
    Cancelled,
    Expired,
    Purged,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub place: Place,
    pub end: Option<End>,
    /// The batch it counts in.
    batch: Option<usize>,
    /// All tasks it was pushed to wait for, and whether it still does.
    pub parents: BTreeMap<TaskId, bool>,
    pub on_dead: OnDead,
    when: When,
    /// The batch whose callback it is.
    pub callback_of: Option<usize>,
    /// How often it stopped being held, other than by being removed.
    pub releases: usize,
}

impl Task {
    fn new(place: Place, when: When) -> Task {
        let (parents, on_dead) = (BTreeMap::new(), OnDead::Wait);
        Task { place, end: None, batch: None, parents, on_dead, when, callback_of: None, releases: 0 }
    }

    /// The tasks it waits for.
    pub fn waits_for(&self) -> impl Iterator<Item = TaskId> {
        self.parents.iter().filter(|(_, is_open)| **is_open).map(|(id, _)| *id)
    }
}

#[derive(Debug, Clone)]
pub struct Batch {
    pub name: Vec<u8>,
    pub callback: TaskId,
    pub is_closed: bool,
    /// How many tasks were ever pushed into it.
    pub pushed: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub tasks: BTreeMap<TaskId, Task>,
    pub batches: Vec<Batch>,
}

impl Oracle {
    pub fn place(&self, id: TaskId) -> Place {
        self.tasks.get(&id).map_or(Place::Gone, |task| task.place)
    }

    fn task(&mut self, id: TaskId) -> &mut Task {
        self.tasks.get_mut(&id).unwrap_or_else(|| panic!("{id} was never pushed"))
    }

    /// The tasks that are in the queue.
    pub fn living(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().filter(|(_, task)| task.place != Place::Gone).map(|(id, task)| (*id, task))
    }

    // Batches

    /// The batch of this name: the one whose callback is still there.
    pub fn batch(&self, name: &[u8]) -> Option<usize> {
        let lives = |batch: &Batch| self.place(batch.callback) != Place::Gone;
        self.batches.iter().position(|batch| batch.name == name && lives(batch))
    }

    /// Its tasks that have not ended, and how many ended how.
    pub fn counts(&self, batch: usize) -> (u64, BatchCounts) {
        let (mut open, mut counts) = (0, BatchCounts::default());
        for task in self.tasks.values().filter(|task| task.batch == Some(batch)) {
            match task.end {
                None => open += 1,
                Some(End::Done) => counts.done += 1,
                Some(End::Dead) => counts.dead += 1,
                Some(End::Cancelled) => counts.cancelled += 1,
                Some(End::Expired) => counts.expired += 1,
                Some(End::Purged) => counts.purged += 1,
            }
        }
        (open, counts)
    }

    /// Whether the callback waits no more.
    pub fn is_over(&self, batch: usize) -> bool {
        self.place(self.batches[batch].callback) != Place::Held
    }

    /// Whether the callback must be released.
    fn is_complete(&self, batch: usize) -> bool {
        !self.is_over(batch) && self.batches[batch].is_closed && self.counts(batch).0 == 0
    }

    /// What a push into a batch is replied; an empty name for none.
    pub fn may_enter(&self, name: &[u8]) -> Result<(), Refusal> {
        if name.is_empty() {
            return Ok(());
        }
        let batch = self.batch(name).ok_or(Refusal::UnknownBatch)?;
        match self.is_over(batch) || self.is_complete(batch) {
            true => Err(Refusal::ClosedBatch),
            false => Ok(()),
        }
    }

    // Dependents

    /// Whether a task to wait for is not done.
    pub fn is_open(&self, id: TaskId) -> bool {
        !matches!(self.place(id), Place::Done | Place::Gone)
    }

    /// Whether a task of a batch would wait for a held task outside the batch, which may wait for the batch.
    pub fn is_circular(&self, after: &[TaskId], batch: usize) -> bool {
        let is_outside = |id: &TaskId| self.tasks[id].batch != Some(batch);
        after.iter().any(|id| self.place(*id) == Place::Held && is_outside(id))
    }

    /// Whether a held task must be told that a parent has ended.
    fn must_hear(&self, task: &Task, parent: TaskId) -> bool {
        match self.tasks[&parent].end {
            None => false,
            Some(End::Done) => true,
            Some(_) => task.on_dead != OnDead::Wait,
        }
    }

    /// Whether somebody must be told something.
    pub fn has_news(&self) -> bool {
        let hears =
            |task: &Task| task.place == Place::Held && task.waits_for().any(|id| self.must_hear(task, id));
        self.tasks.values().any(hears) || (0..self.batches.len()).any(|batch| self.is_complete(batch))
    }

    /// The held tasks that are said to wait: they WAIT for one that ended otherwise than done, or for one that is said
    /// to wait, or for a batch with such a task. Two that wait for each other are not among them.
    fn said_to_wait(&self) -> BTreeSet<TaskId> {
        let held: Vec<(TaskId, &Task)> =
            self.living().filter(|(_, task)| task.place == Place::Held).collect();
        let mut said = BTreeSet::new();
        loop {
            let waits_for_one = |task: &Task| {
                task.waits_for().any(|id| match self.tasks[&id].end {
                    None => said.contains(&id),
                    Some(end) => task.on_dead == OnDead::Wait && end != End::Done,
                })
            };
            let waits_for_batch = |task: &Task| {
                task.callback_of.is_some_and(|batch| {
                    held.iter().any(|(id, other)| other.batch == Some(batch) && said.contains(id))
                })
            };
            let more = held.iter().filter(|(_, task)| waits_for_one(task) || waits_for_batch(task));
            let more: BTreeSet<TaskId> = more.map(|(id, _)| *id).collect();
            if more == said {
                return said;
            }
            said = more;
        }
    }

    /// Checks a queue in which all batches were closed, and nothing is left to be done: each held task is said to wait,
    /// and no other is left.
    pub fn nobody_waits_in_vain(&self) {
        assert!(!self.has_news());
        let said = self.said_to_wait();
        for (id, task) in self.living() {
            // A dead task stays if another took its token.
            let is_finished = matches!(task.place, Place::Done | Place::Dead);
            assert!(is_finished || said.contains(&id), "{id} is held for ever: {task:?}");
        }
        for (id, task) in &self.tasks {
            assert!(task.releases <= 1, "{id} was released {} times", task.releases);
        }
    }

    // Events

    /// Follows an event. Panics if it must not happen.
    pub fn sees(&mut self, now: &Now, event: &Event) {
        match event {
            Event::Pushed { first, count, due, options, .. } => {
                let place = if due.is_some() { Place::Delayed } else { Place::Ready };
                self.pushed(*first, *count, &Task::new(place, When::Now), options);
            }
            Event::PushedAfter { first, count, when, parents, on_dead, options, .. } => {
                let open: BTreeMap<TaskId, bool> =
                    parents.iter().map(|parent| (parent.id, self.is_open(parent.id))).collect();
                assert!(parents.iter().all(|parent| parent.is_open == open[&parent.id]), "{event:?}");
                let place = match (open.values().any(|is_open| *is_open), when) {
                    (true, _) => Place::Held,
                    (false, When::Now) => Place::Ready,
                    (false, _) => Place::Delayed,
                };
                let task = Task { parents: open, on_dead: *on_dead, ..Task::new(place, *when) };
                self.pushed(*first, *count, &task, options);
            }
            Event::BatchOpened { name, id, when, options, .. } => {
                assert_eq!(self.batch(name), None, "a name for one batch");
                let callback_of = Some(self.batches.len());
                self.pushed(*id, 1, &Task { callback_of, ..Task::new(Place::Held, *when) }, options);
                let (callback, is_closed) = (*id, false);
                self.batches.push(Batch { name: name.to_vec(), callback, is_closed, pushed: 0 });
            }
            Event::BatchClosed { name, .. } => {
                let batch = self.batch(name).expect("a batch to close");
                assert!(!std::mem::replace(&mut self.batches[batch].is_closed, true), "closed once");
            }
            Event::Told { parent, tasks, .. } => {
                tasks.iter().for_each(|(id, release)| self.told(now, *parent, *id, *release));
            }
            Event::Claimed { leases, .. } => leases
                .iter()
                .for_each(|lease| self.moves(lease.id, &[Place::Ready], Place::Leased { cancel: false })),
            Event::Taken { ids, .. } => ids.iter().for_each(|&id| self.ends(id, End::Done, Place::Gone)),
            Event::Unclaimed { id, .. } => self.task(*id).place = Place::Ready,
            Event::Acked { id, end, .. } => {
                let is_kept = end.is_some_and(|end| end.retain_ms > 0);
                self.ends(*id, End::Done, if is_kept { Place::Done } else { Place::Gone });
            }
            Event::Failed { id, then, .. } | Event::Requeued { id, then, .. } => self.then(*id, then),
            Event::Stalled { tasks } => tasks.iter().for_each(|(id, then)| match then {
                Some(then) => self.then(*id, then),
                None => self.ends(*id, End::Cancelled, Place::Gone),
            }),
            Event::BecameReady { ids, .. } => {
                ids.iter().for_each(|&id| self.moves(id, &[Place::Delayed], Place::Ready));
            }
            Event::Retried { ids, .. } => ids.iter().for_each(|&id| self.retried(id)),
            Event::Cancelled { id } => self.ends(*id, End::Cancelled, Place::Gone),
            Event::CancelAsked { id } => self.task(*id).place = Place::Leased { cancel: true },
            Event::Dropped { ids } => ids.iter().for_each(|&id| self.moves(id, &[Place::Dead], Place::Gone)),
            Event::Forgotten { ids } => {
                ids.iter().for_each(|&id| self.moves(id, &[Place::Done], Place::Gone));
            }
            Event::Purged { ids } => ids.iter().for_each(|&id| match self.place(id) {
                Place::Dead => self.moves(id, &[Place::Dead], Place::Gone),
                _ => self.ends(id, End::Purged, Place::Gone),
            }),
            Event::Expired { ids, .. } => {
                ids.iter().for_each(|&id| self.ends(id, End::Expired, Place::Gone));
            }
            Event::Extended { .. }
            | Event::PassedOver { .. }
            | Event::Term { .. }
            | Event::Clock { .. }
            | Event::Answered { .. }
            | Event::Replaced { .. }
            | Event::Freed { .. }
            | Event::Configured { .. }
            | Event::Grouped { .. }
            | Event::Rested { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. } => {}
            other => panic!("not part of these histories: {other:?}"),
        }
    }

    /// Follows a copy: leased tasks are ready in it, or cancelled.
    pub fn is_copied(&mut self) {
        for task in self.tasks.values_mut() {
            match task.place {
                Place::Leased { cancel: false } => task.place = Place::Ready,
                Place::Leased { cancel: true } => {
                    (task.place, task.end) = (Place::Gone, Some(End::Cancelled))
                }
                _ => {}
            }
        }
    }

    fn pushed(&mut self, first: TaskId, count: u32, task: &Task, options: &Options) {
        let batch = match options.batch {
            b"" => None,
            name => Some(self.batch(name).expect("a batch to push into")),
        };
        for n in 0..u64::from(count) {
            let id = TaskId { seq: first.seq + n, ..first };
            assert!(self.tasks.insert(id, Task { batch, ..task.clone() }).is_none(), "{id} is new");
        }
        if let Some(batch) = batch {
            assert!(!self.is_over(batch), "a push into a batch that is over");
            self.batches[batch].pushed += u64::from(count);
        }
    }

    fn moves(&mut self, id: TaskId, from: &[Place], to: Place) {
        assert!(from.contains(&self.place(id)), "{id} is {:?}, not {from:?}", self.place(id));
        self.task(id).place = to;
    }

    fn ends(&mut self, id: TaskId, end: End, place: Place) {
        assert!(!matches!(self.place(id), Place::Gone | Place::Done), "{id} ends once");
        let task = self.task(id);
        (task.end, task.place) = (Some(end), place);
    }

    fn then(&mut self, id: TaskId, then: &Then) {
        let task = self.task(id);
        task.place = match then {
            Then::Ready(_) => Place::Ready,
            Then::Delayed(_) => Place::Delayed,
            Then::Dead(_) => Place::Dead,
        };
        task.end = matches!(then, Then::Dead(_)).then_some(End::Dead);
    }

    fn retried(&mut self, id: TaskId) {
        let task = self.task(id);
        let was = std::mem::replace(&mut task.place, Place::Ready);
        assert!(matches!(was, Place::Dead | Place::Delayed | Place::Held), "{id} is {was:?}");
        task.end = None;
        if was == Place::Held {
            task.releases += 1;
            task.parents.values_mut().for_each(|is_open| *is_open = false);
        }
    }

    /// A held task is told of a parent, or that its batch is complete.
    fn told(&mut self, now: &Now, parent: Option<TaskId>, id: TaskId, release: Release) {
        assert_eq!(self.place(id), Place::Held, "{id} is told");
        let task = &self.tasks[&id];
        let is_dropped = match parent {
            None => {
                let batch = task.callback_of.expect("a callback");
                assert!(self.is_complete(batch), "{id} is released early");
                false
            }
            Some(parent) => {
                assert_eq!(task.parents.get(&parent), Some(&true), "{id} waits for {parent}");
                assert!(self.must_hear(task, parent), "{id} is told of {parent}");
                task.on_dead == OnDead::Drop && self.tasks[&parent].end != Some(End::Done)
            }
        };
        let task = self.task(id);
        parent.into_iter().for_each(|parent| _ = task.parents.insert(parent, false));
        let due = match task.when {
            When::Now => None,
            When::After(ms) => Some(Due::Clock(now.at.plus(ms))),
            When::At(at) => Some(Due::Wall(at)).filter(|_| at > now.wall),
        };
        let (expected, place) = match (task.waits_for().next(), due) {
            _ if is_dropped => (Release::Cancelled, Place::Gone),
            (Some(_), _) => (Release::Held, Place::Held),
            (None, None) => (Release::Ready, Place::Ready),
            (None, Some(due)) => (Release::Delayed(due), Place::Delayed),
        };
        assert_eq!(release, expected, "what becomes of {id}");
        task.place = place;
        task.end = is_dropped.then_some(End::Cancelled);
        task.releases += usize::from(matches!(place, Place::Ready | Place::Delayed));
    }
}
