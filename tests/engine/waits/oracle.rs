//! What the contract says about held tasks, as naively as possible: every task that ever was, every batch that ever was,
//! linear searches, no indexes. It sees each event, believes what events say about claims, limits and time, and knows by
//! itself who waits for whom, what may be told, how many tasks of a batch ended how, what a task looks like after it was
//! changed, who holds which token, and which groups there are.

use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::{
    BatchCounts, Due, Event, Hold, Millis, Now, OnDead, Options, Refusal, Release, TaskId, Then, When,
};

use super::groups::Groups;
use super::tokens::Tokens;

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

/// What a push gave a task and SET can change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub priority: i8,
    pub group: Vec<u8>,
    pub headers: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Body {
    fn of(options: &Options, payload: &[u8]) -> Body {
        Body {
            priority: options.priority,
            group: options.group.to_vec(),
            headers: options.headers.to_vec(),
            payload: payload.to_vec(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub place: Place,
    pub end: Option<End>,
    pub body: Body,
    /// When it is due, if it is delayed.
    pub due: Option<Due>,
    /// Its token, and how long it holds it.
    pub unique: Option<(Vec<u8>, Hold)>,
    /// How often it was claimed, without claims that were undone.
    deliveries: u32,
    /// The batch it counts in.
    batch: Option<usize>,
    /// All tasks it was pushed to wait for, and whether it still does.
    pub parents: BTreeMap<TaskId, bool>,
    pub on_dead: OnDead,
    /// When it becomes ready, from when it waits for nothing any more.
    pub when: When,
    /// The batch whose callback it is.
    pub callback_of: Option<usize>,
    /// How often it stopped being held, other than by being removed.
    pub releases: usize,
}

impl Task {
    fn new(place: Place, when: When) -> Task {
        let (parents, on_dead, body) = (BTreeMap::new(), OnDead::Wait, Body::default());
        let (end, due, unique, batch, callback_of) = (None, None, None, None, None);
        let (deliveries, releases) = (0, 0);
        Task {
            place,
            end,
            body,
            due,
            unique,
            deliveries,
            batch,
            parents,
            on_dead,
            when,
            callback_of,
            releases,
        }
    }

    /// A task that becomes ready at this instant, or is ready.
    fn due(due: Option<Due>) -> Task {
        let place = if due.is_some() { Place::Delayed } else { Place::Ready };
        Task { due, ..Task::new(place, When::Now) }
    }

    /// Whether it is ready, delayed or held: only such a task can be changed.
    pub fn waits(&self) -> bool {
        matches!(self.place, Place::Ready | Place::Delayed | Place::Held)
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
    pub tokens: Tokens,
    pub groups: Groups,
    /// What each schedule pushes.
    schedules: BTreeMap<Vec<u8>, Body>,
}

/// When a task is due that becomes ready as `when` says, counted from now; `None` for at once.
pub fn due_from(now: &Now, when: When) -> Option<Due> {
    match when {
        When::Now | When::After(0) => None,
        When::After(ms) => Some(Due::Clock(Millis(now.at.0 + ms))),
        When::At(at) => Some(Due::Wall(at)).filter(|_| at.0 > now.wall.0),
    }
}

/// An instant on the queue's clock.
pub fn on_clock(now: &Now, due: Due) -> u64 {
    match due {
        Due::Clock(at) => at.0,
        Due::Wall(at) => at.0 + now.at.0 - now.wall.0,
    }
}

impl Oracle {
    pub fn place(&self, id: TaskId) -> Place {
        self.tasks.get(&id).map_or(Place::Gone, |task| task.place)
    }

    pub fn task(&mut self, id: TaskId) -> &mut Task {
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
            Event::Pushed { first, count, due, options, payloads } => {
                self.pushed(now, (*first, *count), Task::due(*due), options, payloads[0]);
            }
            Event::PushedAfter { first, count, when, parents, on_dead, options, payloads, .. } => {
                let open: BTreeMap<TaskId, bool> =
                    parents.iter().map(|parent| (parent.id, self.is_open(parent.id))).collect();
                assert!(parents.iter().all(|parent| parent.is_open == open[&parent.id]), "{event:?}");
                let task = match open.values().any(|is_open| *is_open) {
                    true => Task::new(Place::Held, *when),
                    // An instant that has passed is for the tick to find out.
                    false => Task::due(match *when {
                        When::At(at) => Some(Due::Wall(at)),
                        when => due_from(now, when),
                    }),
                };
                let task = Task { parents: open, on_dead: *on_dead, ..task };
                self.pushed(now, (*first, *count), task, options, payloads[0]);
            }
            Event::BatchOpened { name, id, when, options, payloads, .. } => {
                assert_eq!(self.batch(name), None, "a name for one batch");
                let callback_of = Some(self.batches.len());
                let task = Task { callback_of, ..Task::new(Place::Held, *when) };
                self.pushed(now, (*id, 1), task, options, payloads[0]);
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
            Event::Claimed { leases, .. } => leases.iter().for_each(|lease| self.claimed(now, lease.id)),
            Event::Taken { ids, .. } => ids.iter().for_each(|&id| {
                self.claimed(now, id);
                self.ends(id, End::Done, Place::Gone);
            }),
            Event::Unclaimed { id, .. } => self.unclaimed(now, *id),
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
                ids.iter().for_each(|&id| self.becomes_ready(now, id));
            }
            Event::Retried { ids, .. } => ids.iter().for_each(|&id| self.retried(now, id)),
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
            Event::Freed { tokens, .. } => tokens.iter().for_each(|token| self.tokens.freed(now.at, token)),
            Event::Grouped { name, .. } => self.groups.limited(name),
            Event::GroupPaused { name, until } => self.groups.paused(name, *until),
            Event::GroupResumed { name } => self.groups.resumed(name),
            Event::Rested { names, .. } => self.groups.rested(now.at, names),
            Event::Scheduled { name, plan, .. } => {
                let body = Body::of(&plan.options, plan.payload);
                self.schedules.insert(name.to_vec(), body);
            }
            Event::Unscheduled { name } => _ = self.schedules.remove(*name).expect("a schedule to remove"),
            Event::Fired { name, id, .. } => self.ran(name, *id),
            Event::Ran { name, id, .. } => self.ran(name, *id),
            // Whoever asked for the change says what it must do: see `set`.
            Event::Edited { .. } | Event::Replaced { .. } => {}
            Event::Extended { .. }
            | Event::PassedOver { .. }
            | Event::Term { .. }
            | Event::Clock { .. }
            | Event::Answered { .. }
            | Event::Configured { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Skipped { .. }
            | Event::Replanned { .. } => {}
        }
    }

    /// Follows a copy: leased tasks are ready in it, or cancelled.
    pub fn is_copied(&mut self) {
        let ids: Vec<TaskId> = self.living().map(|(id, _)| id).collect();
        for id in ids {
            match self.place(id) {
                Place::Leased { cancel: false } => self.task(id).place = Place::Ready,
                Place::Leased { cancel: true } => self.ends(id, End::Cancelled, Place::Gone),
                _ => {}
            }
        }
    }

    /// Tasks were pushed: the first id, and how many.
    fn pushed(
        &mut self,
        now: &Now,
        (first, count): (TaskId, u32),
        task: Task,
        options: &Options,
        payload: &[u8],
    ) {
        let batch = match options.batch {
            b"" => None,
            name => Some(self.batch(name).expect("a batch to push into")),
        };
        let body = Body::of(options, payload);
        let unique = options.unique.map(|unique| (unique.token.to_vec(), unique.hold));
        let task = Task { batch, body, unique, ..task };
        for n in 0..u64::from(count) {
            let id = TaskId { seq: first.seq + n, ..first };
            self.tokens.takes(now.at, id, &task);
            assert!(self.tasks.insert(id, task.clone()).is_none(), "{id} is new");
        }
        if let Some(batch) = batch {
            assert!(!self.is_over(batch), "a push into a batch that is over");
            self.batches[batch].pushed += u64::from(count);
        }
    }

    /// A schedule pushed a task. No schedule of these histories gives a token.
    fn ran(&mut self, name: &[u8], id: TaskId) {
        let body = self.schedules.get(name).expect("a schedule that runs").clone();
        let task = Task { body, ..Task::due(None) };
        assert!(self.tasks.insert(id, task).is_none(), "{id} is new");
    }

    fn moves(&mut self, id: TaskId, from: &[Place], to: Place) {
        assert!(from.contains(&self.place(id)), "{id} is {:?}, not {from:?}", self.place(id));
        let task = self.task(id);
        (task.place, task.due) = (to, None);
    }

    fn claimed(&mut self, now: &Now, id: TaskId) {
        self.moves(id, &[Place::Ready], Place::Leased { cancel: false });
        self.task(id).deliveries += 1;
        let task = &self.tasks[&id];
        assert!(!self.groups.is_paused(now.at, &task.body.group), "{id} is claimed from a paused group");
        self.tokens.is_claimed(id, task);
    }

    /// A claim did not reach its worker.
    fn unclaimed(&mut self, now: &Now, id: TaskId) {
        let task = self.task(id);
        (task.place, task.deliveries) = (Place::Ready, task.deliveries - 1);
        if task.deliveries == 0 {
            self.tokens.was_never_claimed(now.at, id, &self.tasks[&id]);
        }
    }

    fn becomes_ready(&mut self, now: &Now, id: TaskId) {
        let due = self.tasks[&id].due.expect("a delayed task");
        assert!(on_clock(now, due) <= now.at.0, "{id} is ready early");
        self.moves(id, &[Place::Delayed], Place::Ready);
    }

    fn ends(&mut self, id: TaskId, end: End, place: Place) {
        assert!(!matches!(self.place(id), Place::Gone | Place::Done), "{id} ends once");
        let task = self.task(id);
        (task.end, task.place, task.due) = (Some(end), place, None);
        self.tokens.has_ended(id, &self.tasks[&id]);
    }

    fn then(&mut self, id: TaskId, then: &Then) {
        let (place, due) = match then {
            Then::Ready(_) => (Place::Ready, None),
            Then::Delayed(due) => (Place::Delayed, Some(*due)),
            Then::Dead(_) => return self.ends(id, End::Dead, Place::Dead),
        };
        let task = self.task(id);
        (task.place, task.due, task.end) = (place, due, None);
    }

    /// Which of these tasks can be retried: those that are dead, delayed or held, but not a dead one whose token is
    /// taken by another, or by one before it.
    pub fn may_retry(&self, now: &Now, ids: &[TaskId]) -> Vec<TaskId> {
        let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
        for &id in ids {
            let can = match self.place(id) {
                _ if chosen.contains(&id) => false,
                Place::Delayed | Place::Held => true,
                Place::Dead => match self.tokens.wants_again(now.at, &self.tasks[&id]) {
                    None => true,
                    Some(token) => {
                        self.tokens.holder(now.at, token).is_none_or(|holder| holder == id)
                            && taken.insert(token)
                    }
                },
                Place::Ready | Place::Leased { .. } | Place::Done | Place::Gone => false,
            };
            if can {
                chosen.push(id);
            }
        }
        chosen
    }

    fn retried(&mut self, now: &Now, id: TaskId) {
        if self.place(id) == Place::Dead {
            self.tokens.is_retried(now.at, id, &self.tasks[&id]);
        }
        let task = self.task(id);
        let was = std::mem::replace(&mut task.place, Place::Ready);
        assert!(matches!(was, Place::Dead | Place::Delayed | Place::Held), "{id} is {was:?}");
        (task.end, task.due) = (None, None);
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
        let due = due_from(now, task.when);
        let (expected, place) = match (task.waits_for().next(), due) {
            _ if is_dropped => (Release::Cancelled, Place::Gone),
            (Some(_), _) => (Release::Held, Place::Held),
            (None, None) => (Release::Ready, Place::Ready),
            (None, Some(due)) => (Release::Delayed(due), Place::Delayed),
        };
        assert_eq!(release, expected, "what becomes of {id}");
        if is_dropped {
            return self.ends(id, End::Cancelled, Place::Gone);
        }
        (task.place, task.due) = (place, due.filter(|_| place == Place::Delayed));
        task.releases += usize::from(matches!(place, Place::Ready | Place::Delayed));
    }
}
