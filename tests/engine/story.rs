//! A queue with a clock that is turned by hand, as a story: `s.push("a").claims("a").passes(30_000).is_ready("a")`.
//!
//! Tasks have names; a name is also the payload. After every step the queue is validated and compared with a replica
//! that received the events as bytes. Random bits are in the middle of their range, so that jitter changes nothing
//! unless a story says otherwise.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use taskslot_engine::{
    After, BatchCounts, Claim, ClaimTurns, Cursor, Due, Event, Gate, Grace, Handle, Hold, LeaseNumber,
    Millis, Now, OnDead, Options, Push, Queue, Refusal, Retry, TaskId, TaskState, TaskView, Totals, Unique,
    When,
};

use crate::copies::{digest, load, replicate, save};

pub const START: u64 = 1_000_000_000;
pub const MIDDLE: u32 = 1 << 31;

pub struct Story {
    pub queue: Queue,
    replica: Queue,
    pub now: Now,
    pub dice: u32,
    ids: BTreeMap<String, TaskId>,
    handles: BTreeMap<String, Handle>,
}

pub fn story() -> Story {
    Story {
        queue: Queue::new(),
        replica: Queue::new(),
        now: Now::plain(START),
        dice: MIDDLE,
        ids: BTreeMap::new(),
        handles: BTreeMap::new(),
    }
}

/// The options of a push with a token.
pub fn unique(token: &str, hold: Hold) -> Options<'_> {
    Options { unique: Some(Unique { token: token.as_bytes(), hold }), ..Options::default() }
}

impl Story {
    /// Applies an event, here and on the replica, and checks both.
    pub fn apply(&mut self, event: &Event) -> &mut Self {
        self.queue.apply(event).unwrap();
        replicate(&mut self.queue, &mut self.replica, event).unwrap();
        self.queue.validate().unwrap();
        assert_eq!(digest(&self.queue), digest(&self.replica), "a replica equals its primary");
        self
    }

    /// Like `apply`, for a queue that is too large to check at each step. Call `checks` later.
    pub fn apply_unchecked(&mut self, event: &Event) {
        self.queue.apply(event).unwrap();
        replicate(&mut self.queue, &mut self.replica, event).unwrap();
    }

    /// Checks that the queue is valid and equals its replica.
    pub fn checks(&self) {
        self.queue.validate().unwrap();
        assert_eq!(digest(&self.queue), digest(&self.replica), "a replica equals its primary");
    }

    /// Pushes a task without a name.
    pub fn push_unchecked(&mut self, options: Options) {
        let event = self.queue.push(self.now, &Push { due: None, options, payloads: &[b"x"] }).unwrap();
        self.apply_unchecked(&event);
    }

    /// Saves and loads the queue.
    pub fn reloads(&mut self) -> &mut Self {
        let loaded = load(&save(&self.queue)).unwrap();
        assert_eq!(digest(&loaded), digest(&self.queue), "what is loaded equals what was saved");
        self.queue = loaded;
        self
    }

    /// Replaces the queue, here and on the replica.
    pub fn arrives(&mut self, queue: &Queue) -> &mut Self {
        (self.queue, self.replica) = (queue.clone(), queue.clone());
        self
    }

    // Pushing

    pub fn push(&mut self, name: &str) -> &mut Self {
        self.push_with(name, None, Options::default())
    }

    pub fn push_all(&mut self, names: &[&str]) -> &mut Self {
        names.iter().for_each(|name| _ = self.push(name));
        self
    }

    pub fn push_priority(&mut self, name: &str, priority: i8) -> &mut Self {
        self.push_with(name, None, Options { priority, ..Options::default() })
    }

    pub fn push_delayed(&mut self, name: &str, ms: u64) -> &mut Self {
        let due = Due::Clock(self.now.at.plus(ms));
        self.push_with(name, Some(due), Options::default())
    }

    pub fn push_with(&mut self, name: &str, due: Option<Due>, options: Options) -> &mut Self {
        self.try_push(name, due, options).unwrap();
        self
    }

    pub fn try_push(&mut self, name: &str, due: Option<Due>, options: Options) -> Result<(), Refusal> {
        let payloads: [&[u8]; 1] = [name.as_bytes()];
        let event = self.queue.push(self.now, &Push { due, options, payloads: &payloads })?;
        let Event::Pushed { first, .. } = &event else { panic!("{event:?}") };
        self.ids.insert(name.to_owned(), *first);
        while let Some(room) = self.queue.make_room(&event) {
            self.apply(&room);
        }
        self.apply(&event);
        Ok(())
    }

    /// Pushes a task with a token that is free.
    pub fn push_unique(&mut self, name: &str, token: &str, hold: Hold) -> &mut Self {
        self.push_with(name, None, unique(token, hold))
    }

    /// Checks that a push with a token finds that this task holds it.
    pub fn finds(&mut self, name: &str, token: &str) -> &mut Self {
        assert_eq!(self.try_push("?", None, unique(token, Hold::End)), Err(Refusal::Held(self.id(name))));
        self
    }

    /// Replaces the payload of the task that holds a token, if it waits.
    pub fn replaces(&mut self, name: &str, payload: &str) -> bool {
        let id = self.id(name);
        let event = self.queue.replace(id, &[], payload.as_bytes()).unwrap();
        event.is_some_and(|event| {
            self.apply(&event);
            true
        })
    }

    /// Checks that this task holds the token; an empty name for none.
    pub fn holds(&mut self, token: &str, name: &str) -> &mut Self {
        let holder = self.queue.holder(self.now.at, token.as_bytes());
        assert_eq!(holder, (!name.is_empty()).then(|| self.id(name)), "who holds {token}");
        self
    }

    /// The instant this many ms from now.
    pub fn in_ms(&self, ms: u64) -> Millis {
        self.now.at.plus(ms)
    }

    pub fn push_ttl(&mut self, name: &str, ttl_ms: u64) -> &mut Self {
        self.push_with(name, None, Options { ttl_ms: NonZeroU64::new(ttl_ms), ..Options::default() })
    }

    // Batches, and tasks that wait for others

    /// Opens a batch; the name of its callback is also the payload.
    pub fn opens(&mut self, batch: &str, callback: &str) -> &mut Self {
        self.opens_with(batch, callback, When::Now, Options::default())
    }

    pub fn opens_with(&mut self, batch: &str, callback: &str, when: When, options: Options) -> &mut Self {
        let payloads: [&[u8]; 1] = [callback.as_bytes()];
        let push = Push { due: None, options, payloads: &payloads };
        let event = self.queue.open_batch(self.now, batch.as_bytes(), when, &push).unwrap().unwrap();
        let Event::BatchOpened { id, .. } = &event else { panic!("{event:?}") };
        self.ids.insert(callback.to_owned(), *id);
        self.apply(&event)
    }

    pub fn closes_batch(&mut self, batch: &str) -> &mut Self {
        let event = self.queue.close_batch(self.now, batch.as_bytes()).unwrap().unwrap();
        self.apply(&event).ticks()
    }

    /// Removes a batch; says whether there was anything to do.
    pub fn deletes_batch(&mut self, batch: &str) -> bool {
        let event = self.queue.delete_batch(batch.as_bytes());
        event.is_some_and(|event| {
            self.apply(&event).ticks();
            true
        })
    }

    pub fn push_into(&mut self, batch: &str, name: &str) -> &mut Self {
        self.push_with(name, None, Options { batch: batch.as_bytes(), ..Options::default() })
    }

    pub fn cannot_push_into(&mut self, batch: &str, refusal: Refusal) -> &mut Self {
        let options = Options { batch: batch.as_bytes(), ..Options::default() };
        assert_eq!(self.try_push("?", None, options), Err(refusal), "a push into {batch}");
        self
    }

    /// Pushes a task that waits for others.
    pub fn push_after(&mut self, name: &str, after: &[&str], on_dead: OnDead) -> &mut Self {
        self.push_after_with(name, after, on_dead, When::Now, Options::default())
    }

    pub fn push_after_with(
        &mut self,
        name: &str,
        after: &[&str],
        on_dead: OnDead,
        when: When,
        options: Options,
    ) -> &mut Self {
        let after: Vec<TaskId> = after.iter().map(|name| self.id(name)).collect();
        let payloads: [&[u8]; 1] = [name.as_bytes()];
        let push = Push { due: None, options, payloads: &payloads };
        let event =
            self.queue.push_after(self.now, &push, &After { parents: &after, when, on_dead }).unwrap();
        let Event::PushedAfter { first, .. } = &event else { panic!("{event:?}") };
        self.ids.insert(name.to_owned(), *first);
        self.apply(&event)
    }

    /// Checks a batch: its state, how many tasks are open, and how many ended how.
    pub fn is_batch(&mut self, batch: &str, state: &str, open: u64, counts: BatchCounts) -> &mut Self {
        let seen = self.queue.batch(batch.as_bytes()).unwrap_or_else(|| panic!("no batch {batch}"));
        assert_eq!((seen.state(), seen.open, seen.counts), (state, open, counts), "the batch {batch}");
        self
    }

    /// Checks that there is no batch of this name.
    pub fn is_no_batch(&mut self, batch: &str) -> &mut Self {
        assert_eq!(self.queue.batch(batch.as_bytes()), None);
        self
    }

    // Claiming

    pub fn claim(&mut self, claim: &Claim) -> Vec<String> {
        if let Some(event) = self.queue.pass_over(self.now, claim) {
            self.apply(&event);
        }
        let (mut claiming, mut claimed) = (ClaimTurns::new(*claim), Vec::new());
        let dice = self.dice;
        while let Some(event) = claiming.turn(&self.queue, self.now, &mut || dice).unwrap() {
            claimed.extend(self.claimed(&event));
        }
        claimed
    }

    fn claimed(&mut self, event: &Event) -> Vec<String> {
        let names = |ids: &mut dyn Iterator<Item = TaskId>| -> Vec<String> {
            let payload = |id| self.queue.task(&self.now, id).unwrap().payload.to_vec();
            ids.map(|id| String::from_utf8(payload(id)).unwrap()).collect()
        };
        let claimed = match event {
            Event::Claimed { leases, .. } => names(&mut leases.iter().map(|lease| lease.id)),
            Event::Taken { ids, .. } => names(&mut ids.iter().copied()),
            Event::Expired { .. } => Vec::new(),
            _ => panic!("{event:?}"),
        };
        if let Event::Claimed { leases, .. } = event {
            for (name, lease) in claimed.iter().zip(leases) {
                let handle = Handle { id: lease.id, lease: lease.number, nonce: lease.nonce };
                self.handles.insert(name.clone(), handle);
            }
        }
        self.apply(event);
        claimed
    }

    /// Checks that a claim of one task gets this one.
    pub fn claims(&mut self, name: &str) -> &mut Self {
        self.claims_all(1, &[name])
    }

    /// Checks that a claim of up to `count` tasks gets these.
    pub fn claims_all(&mut self, count: usize, names: &[&str]) -> &mut Self {
        let claimed = self.claim(&Claim { count, ..Claim::default() });
        assert_eq!(claimed, names, "claimed");
        self
    }

    pub fn claims_for(&mut self, name: &str, lease_ms: u32) -> &mut Self {
        assert_eq!(self.claim(&Claim { lease_ms: Some(lease_ms), ..Claim::default() }), [name]);
        self
    }

    /// Checks that a claim of up to `count` tasks by a named worker gets these.
    pub fn claims_as(&mut self, worker: &str, count: usize, names: &[&str]) -> &mut Self {
        let claimed = self.claim(&Claim { count, worker: worker.as_bytes(), ..Claim::default() });
        assert_eq!(claimed, names, "claimed by {worker}");
        self
    }

    pub fn claims_nothing(&mut self) -> &mut Self {
        self.claims_all(1, &[])
    }

    /// Claims and finishes all ready tasks, and checks their order.
    pub fn drains(&mut self, names: &[&str]) -> &mut Self {
        self.claims_all(1000, names);
        names.iter().for_each(|name| _ = self.acks(name));
        self
    }

    // Answering, with the last handle of a task

    pub fn handle(&self, name: &str) -> Handle {
        self.handles[name]
    }

    pub fn number(&self, name: &str) -> LeaseNumber {
        self.handle(name).lease
    }

    fn answers(&mut self, event: Result<Event<'static>, Refusal>) -> &mut Self {
        let event = event.unwrap();
        self.apply(&event)
    }

    pub fn acks(&mut self, name: &str) -> &mut Self {
        let event = self.queue.ack(self.now, &self.handle(name));
        self.answers(event)
    }

    /// Acks with RETAIN and RESULT.
    pub fn finishes(&mut self, name: &str, retain_ms: Option<u64>, result: Option<&[u8]>) -> &mut Self {
        let event = self.queue.finish(self.now, &self.handle(name), retain_ms, result).unwrap();
        self.apply(&event)
    }

    /// Extends with PROGRESS.
    pub fn reports(&mut self, name: &str, progress: &str) -> &mut Self {
        let handle = self.handle(name);
        let event = self.queue.progress(self.now, &handle, None, Some(progress.as_bytes())).unwrap();
        self.apply(&event)
    }

    pub fn cannot_ack(&mut self, name: &str, refusal: Refusal) -> &mut Self {
        assert_eq!(self.queue.ack(self.now, &self.handle(name)), Err(refusal));
        self
    }

    pub fn fails(&mut self, name: &str) -> &mut Self {
        self.fails_with(name, Retry::Backoff, "")
    }

    pub fn fails_with(&mut self, name: &str, retry: Retry, error: &str) -> &mut Self {
        let dice = self.dice;
        let event =
            self.queue.fail(self.now, &mut || dice, &self.handle(name), retry, error.as_bytes()).unwrap();
        self.apply(&event)
    }

    /// Fails, to be retried in a millisecond, and says how far the task has got.
    pub fn fails_at(&mut self, name: &str, error: &str, progress: &str) -> &mut Self {
        let (handle, dice) = (self.handle(name), self.dice);
        let (error, progress) = (error.as_bytes(), Some(progress.as_bytes()));
        let failed =
            self.queue.fail_at(self.now, &mut || dice, &handle, Retry::After(1), error, progress).unwrap();
        self.apply(&failed)
    }

    /// Gives a task back, and says how far it has got.
    pub fn requeues_at(&mut self, name: &str, progress: &str) -> &mut Self {
        let progress = Some(progress.as_bytes());
        let event = self.queue.requeue_at(self.now, &self.handle(name), None, false, progress).unwrap();
        self.apply(&event)
    }

    pub fn cannot_fail(&mut self, name: &str, refusal: Refusal) -> &mut Self {
        let failed = self.queue.fail(self.now, &mut || 0, &self.handle(name), Retry::Backoff, b"");
        assert_eq!(failed, Err(refusal));
        self
    }

    pub fn requeues(&mut self, name: &str) -> &mut Self {
        let event = self.queue.requeue(self.now, &self.handle(name), None, false);
        self.answers(event)
    }

    pub fn requeues_back(&mut self, name: &str) -> &mut Self {
        let event = self.queue.requeue(self.now, &self.handle(name), None, true);
        self.answers(event)
    }

    pub fn requeues_later(&mut self, name: &str, ms: u64) -> &mut Self {
        let event = self.queue.requeue(self.now, &self.handle(name), Some(ms), false);
        self.answers(event)
    }

    pub fn cannot_requeue(&mut self, name: &str, refusal: Refusal) -> &mut Self {
        assert_eq!(self.queue.requeue(self.now, &self.handle(name), None, false), Err(refusal));
        self
    }

    /// Extends a lease, and checks that it then ends this many ms from now.
    pub fn extends(&mut self, name: &str, lease_ms: Option<u32>, left: u64) -> &mut Self {
        let event = self.queue.extend(self.now, &self.handle(name), lease_ms);
        self.answers(event).ends_in(name, left)
    }

    pub fn cannot_extend(&mut self, name: &str, refusal: Refusal) -> &mut Self {
        assert_eq!(self.queue.extend(self.now, &self.handle(name), None), Err(refusal));
        self
    }

    pub fn unclaims(&mut self, name: &str) -> &mut Self {
        let event = self.queue.unclaim(self.now, &self.handle(name)).unwrap();
        self.apply(&event)
    }

    // Steering

    pub fn id(&self, name: &str) -> TaskId {
        self.ids[name]
    }

    pub fn cancels(&mut self, name: &str) -> &mut Self {
        let event = self.queue.cancel(self.id(name));
        self.answers(event)
    }

    pub fn retries(&mut self, names: &[&str]) -> &mut Self {
        let ids: Vec<TaskId> = names.iter().map(|name| self.id(name)).collect();
        let event = self.queue.retry(self.now, &ids).unwrap();
        self.apply(&event)
    }

    pub fn forgets(&mut self, name: &str) -> &mut Self {
        self.apply(&Event::Forgotten { ids: vec![self.id(name)] })
    }

    pub fn purges(&mut self, name: &str) -> &mut Self {
        self.apply(&Event::Purged { ids: vec![self.id(name)] })
    }

    pub fn config(&mut self, name: &str, value: i64) -> &mut Self {
        self.apply(&Event::Configured { values: vec![(name, value)] })
    }

    pub fn pauses(&mut self, gate: Gate, for_ms: Option<u64>) -> &mut Self {
        let until = for_ms.map(|ms| self.now.at.plus(ms));
        self.apply(&Event::Paused { gate, until })
    }

    pub fn resumes(&mut self, gate: Gate) -> &mut Self {
        self.apply(&Event::Resumed { gate })
    }

    /// Closes a connection: its TIED leases stall.
    pub fn closes(&mut self, holder: u64) -> &mut Self {
        let dice = self.dice;
        for id in self.queue.tied_to(holder, 100) {
            let event = self.queue.abandon(self.now, &mut || dice, id).unwrap();
            self.apply(&event);
        }
        self
    }

    // Time

    /// Lets time pass, and does the work that is due.
    pub fn passes(&mut self, ms: u64) -> &mut Self {
        self.clock_shows(ms).ticks()
    }

    /// Lets time pass, but does no due work yet.
    pub fn clock_shows(&mut self, ms: u64) -> &mut Self {
        let Now { at, wall, grace, is_full, lead_us } = self.now;
        let grace = grace.filter(|grace| at.plus(ms) < grace.until);
        self.now = Now { at: at.plus(ms), wall: wall.plus(ms), grace, is_full, lead_us };
        self
    }

    pub fn ticks(&mut self) -> &mut Self {
        let (dice, mut pages) = (self.dice, usize::MAX);
        while let Some(event) = self.queue.tick(self.now, &mut || dice, &mut pages) {
            self.apply(&event);
        }
        self
    }

    /// Sets the wall clock ahead by `ms`.
    pub fn wall_jumps(&mut self, ms: i64) -> &mut Self {
        self.now.wall = Millis(self.now.wall.0.saturating_add_signed(ms));
        self
    }

    /// The server serves nobody for a while. Afterwards there is a grace of the same length.
    pub fn stands_still(&mut self, ms: u64) -> &mut Self {
        let from = self.now.at;
        self.clock_shows(ms);
        self.now.grace = Some(Grace { from, to: self.now.at, until: self.now.at.plus(ms.min(5000)) });
        self.ticks()
    }

    pub fn next_due_in(&mut self, ms: Option<u64>) -> &mut Self {
        assert_eq!(self.queue.next_due(&self.now).map(|due| due.since(self.now.at)), ms, "next due");
        self
    }

    // Seeing

    pub fn task(&self, name: &str) -> TaskView<'_> {
        self.queue.task(&self.now, self.id(name)).unwrap_or_else(|| panic!("{name} is gone"))
    }

    fn is(&mut self, name: &str, state: TaskState) -> &mut Self {
        assert_eq!(self.task(name).state, state, "{name}");
        self
    }

    pub fn is_ready(&mut self, name: &str) -> &mut Self {
        self.is(name, TaskState::Ready)
    }

    pub fn is_delayed(&mut self, name: &str, ms: u64) -> &mut Self {
        assert_eq!(self.task(name).instant, self.now.at.plus(ms), "when {name} is due");
        self.is(name, TaskState::Delayed)
    }

    pub fn is_held(&mut self, name: &str) -> &mut Self {
        self.is(name, TaskState::Held)
    }

    pub fn is_leased(&mut self, name: &str) -> &mut Self {
        self.is(name, TaskState::Leased)
    }

    pub fn is_dead(&mut self, name: &str) -> &mut Self {
        self.is(name, TaskState::Dead)
    }

    /// Checks that a task is done, with this result, and retained for this many ms from now.
    pub fn is_done(&mut self, name: &str, result: Option<&[u8]>, left: u64) -> &mut Self {
        let task = self.task(name);
        assert_eq!(
            (task.result, task.kept_until),
            (result, Some(self.now.at.plus(left))),
            "what is left of {name}"
        );
        self.is(name, TaskState::Done)
    }

    pub fn has_progress(&mut self, name: &str, progress: &str) -> &mut Self {
        assert_eq!(self.task(name).progress, progress.as_bytes(), "how far {name} is");
        self
    }

    pub fn is_gone(&mut self, name: &str) -> &mut Self {
        assert!(self.queue.task(&self.now, self.id(name)).is_none(), "{name} isn't gone");
        self
    }

    /// Checks that a lease ends this many ms from now.
    pub fn ends_in(&mut self, name: &str, ms: u64) -> &mut Self {
        assert_eq!(self.task(name).instant, self.now.at.plus(ms), "when the lease of {name} ends");
        self.is_leased(name)
    }

    /// Checks the deliveries, failures and stalls of a task.
    pub fn counts(&mut self, name: &str, counters: [u32; 3]) -> &mut Self {
        let task = self.task(name);
        assert_eq!(
            [task.deliveries, task.failures.into(), task.stalls.into()],
            counters,
            "counters of {name}"
        );
        self
    }

    pub fn total(&mut self, of: fn(&Totals) -> u64, total: u64) -> &mut Self {
        assert_eq!(of(self.queue.totals()), total);
        self
    }

    pub fn lists(&mut self, state: TaskState, names: &[&str]) -> &mut Self {
        let (_, tasks) = self.queue.list(&self.now, state, Cursor::default(), 1000, None, None);
        let listed: Vec<String> =
            tasks.iter().map(|t| String::from_utf8(t.payload.to_vec()).unwrap()).collect();
        assert_eq!(listed, names, "{} tasks", state.name());
        self
    }
}
