//! Random histories of batches and of tasks that wait for others, compared with an oracle of their own after each step.
//! Waiting tasks are changed, and groups and tokens have limits. Queues are copied, saved and loaded, their replicas get
//! events as bytes and are promoted, and news are told in parts. `TASKSLOT_SEED=n` runs one seed, `TASKSLOT_TIMES=n` makes
//! the histories n times as many.

mod changes;
mod edits;
mod groups;
mod oracle;
mod tokens;

use std::num::NonZeroU64;

use taskslot_engine::{
    After, BATCH_MAX, Beginning, Claim, ClaimTurns, Cursor, Due, Event, Gate, GroupLimits, Handle, Hold,
    Millis, Now, OnDead, Options, Push, Queue, Refusal, Retry, Setting, TaskId, TaskState, TaskView, Term,
    Unique, When,
};

use crate::copies::{Dice, digest, load, replicate, save};
use crate::properties::{number, times};
use oracle::{Oracle, Place, Task, on_clock};

const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
const TOKENS: [&[u8]; 3] = [b"t", b"u", b"v"];
const GROUPS: [&[u8]; 4] = [b"g", b"h", b"i", b"ordered"];
const HEADERS: [&[u8]; 3] = [b"", b"\x01\x01n\x01v", b"\x01\x01n\x05other"];
const PAYLOADS: [&[u8]; 3] = [b"payload", b"another payload", b""];
const CONFIGS: [(&str, &[i64]); 11] = [
    ("lease", &[5, 50, 30_000]),
    ("attempts", &[1, 2, 25]),
    ("stalls", &[1, 2, 5]),
    ("backoff-base", &[1, 1000]),
    ("dead-max", &[0, 1, 5, 100_000, 100_000]),
    ("dead-ttl", &[-1, -1, 20]),
    ("max-len", &[-1, -1, -1, 12]),
    ("max-bytes", &[-1, -1, -1, 600]),
    ("retain-max", &[0, 2, 10_000]),
    ("groups-max", &[1, 2, 3, 100, 100]),
    ("tokens-max", &[0, 1, 2, 100, 100]),
];

/// A queue, its replica, and the oracle of both.
#[derive(Clone)]
struct World {
    queue: Queue,
    replica: Queue,
    oracle: Oracle,
    now: Now,
    dice: Dice,
    handles: Vec<Handle>,
}

/// The worlds of one history: a queue and its copies.
struct History {
    dice: Dice,
    worlds: Vec<World>,
    /// How many tasks must be told of one task. Large ones are told in parts.
    fan: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            queue: Queue::new(),
            replica: Queue::new(),
            oracle: Oracle::default(),
            now: Now::plain(1_700_000_000_000),
            dice: Dice(seed),
            handles: Vec::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        if let Event::Told { tasks, .. } = event {
            assert!((1..=128).contains(&tasks.len()), "a step of {} tasks", tasks.len());
        }
        self.oracle.sees(&self.now, event);
        self.queue.apply(event).unwrap_or_else(|error| panic!("{error:?} {event:?}"));
        replicate(&mut self.queue, &mut self.replica, event).unwrap();
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.dice.below(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.dice.below(from.len() as u64) as usize]
    }

    /// A task that was pushed once, mostly one that is still there.
    fn id(&mut self) -> TaskId {
        let living: Vec<TaskId> = self.oracle.living().map(|(id, _)| id).collect();
        if !living.is_empty() && !self.chance(4) {
            return self.pick(&living);
        }
        let all: Vec<TaskId> = self.oracle.tasks.keys().rev().take(40).copied().collect();
        if all.is_empty() { TaskId { ms: 1, seq: 1 } } else { self.pick(&all) }
    }

    /// A batch to push into, mostly one that is there; empty for none.
    fn batch(&mut self) -> &'static [u8] {
        if self.chance(2) {
            return b"";
        }
        let known: Vec<&[u8]> = NAMES.into_iter().filter(|name| self.oracle.batch(name).is_some()).collect();
        if known.is_empty() || self.chance(8) { self.pick(&NAMES) } else { self.pick(&known) }
    }

    fn unique(&mut self) -> Unique<'static> {
        let until = self.now.at.plus(1 + self.dice.below(80));
        let hold = self.pick(&[Hold::End, Hold::End, Hold::Start, Hold::AtMost(until), Hold::Exactly(until)]);
        Unique { token: self.pick(&TOKENS), hold }
    }

    fn options(&mut self) -> Options<'static> {
        let unique = self.chance(6).then(|| self.unique());
        Options {
            priority: self.pick(&[0, 0, 0, 1, -1]),
            headers: self.pick(&[HEADERS[0], HEADERS[0], HEADERS[1]]),
            group: self.pick(&[b"", b"", b"", b"g", b"h", b"i", b"ordered"]),
            ttl_ms: NonZeroU64::new(self.pick(&[0, 0, 0, 1, 30])),
            retain_ms: self.pick(&[None, None, Some(40)]),
            attempts: self.pick(&[None, None, Some(1)]),
            batch: self.batch(),
            unique,
            ..Options::default()
        }
    }

    fn when(&mut self) -> When {
        match self.dice.below(6) {
            0 => When::After(self.dice.below(40)),
            1 => When::At(Millis(self.now.wall.0 + self.dice.below(60) - 10)),
            _ => When::Now,
        }
    }

    // What clients do

    fn limit(&self, setting: Setting) -> Option<u64> {
        self.queue.settings().limit(setting)
    }

    /// What must be replied to a push, as far as the oracle knows: it does not count bytes.
    fn expected(&self, options: &Options, count: u64) -> Result<(), Refusal> {
        self.expected_after(&self.oracle, options, count)
    }

    /// The same for a push that counts after something else has happened. The batch takes it as before.
    fn expected_after(&self, after: &Oracle, options: &Options, count: u64) -> Result<(), Refusal> {
        let at = self.now.at;
        if !self.queue.paused(at, Gate::In).is_open() {
            return Err(Refusal::Paused);
        }
        if let Some(unique) = options.unique {
            if let Some(id) = after.tokens.holder(at, unique.token) {
                return Err(Refusal::Held(id));
            }
            if self.limit(Setting::TokensMax).is_some_and(|max| after.tokens.count(at) >= max) {
                return Err(Refusal::FullTokens);
            }
        }
        self.oracle.may_enter(options.batch)?;
        let unended = |place| !matches!(place, Place::Dead | Place::Done);
        let len = after.living().filter(|(_, task)| unended(task.place)).count() as u64;
        if self.limit(Setting::MaxLen).is_some_and(|max| len + count > max) {
            return Err(Refusal::FullLen);
        }
        let is_known = self.oracle.known_groups().contains(options.group);
        match is_known || after.has_room_for_group(options.group, self.limit(Setting::GroupsMax)) {
            true => Ok(()),
            false => Err(Refusal::FullGroups),
        }
    }

    /// Checks what a push was replied, and applies it. A push that finds a task may change it.
    fn pushes(&mut self, event: Result<Event, Refusal>, expected: Result<(), Refusal>) {
        match event {
            Err(Refusal::FullBytes) => assert!(matches!(expected, Ok(()) | Err(Refusal::FullGroups))),
            Err(refusal) => assert_eq!(expected, Err(refusal)),
            Ok(event) => {
                assert_eq!(expected, Ok(()), "{event:?}");
                self.makes_room_and_applies(&event);
            }
        }
        if let Err(Refusal::Held(id)) = expected {
            self.finds(id);
        }
    }

    fn makes_room_and_applies(&mut self, event: &Event) {
        while let Some(room) = self.queue.make_room(event) {
            self.apply(&room);
        }
        self.apply(event);
    }

    fn push(&mut self, fan: u64) {
        let options = self.options();
        let count = if options.unique.is_some() { 1 } else { 1 + self.dice.below(fan) };
        let payloads = vec![&b"payload"[..]; count as usize];
        let due = match self.dice.below(8) {
            0 => Some(Due::Clock(self.now.at.plus(self.dice.below(40)))),
            1 => Some(Due::Wall(self.now.wall.plus(self.dice.below(40)))),
            _ => None,
        };
        let expected = self.expected(&options, count);
        let event = self.queue.clone();
        let event = event.push(self.now, &Push { due, options, payloads: &payloads });
        self.pushes(event, expected);
    }

    fn push_after(&mut self, fan: u64) {
        let options = self.options();
        let count = if options.unique.is_some() { 1 } else { 1 + self.dice.below(fan) };
        let payloads = vec![&b"dependent"[..]; count as usize];
        let mut after: Vec<TaskId> = (0..1 + self.dice.below(4)).map(|_| self.id()).collect();
        if self.chance(4) {
            after.push(after[0]);
        }
        if self.chance(30) {
            after.push(TaskId { ms: self.now.at.0 + 1, seq: 0 });
        }
        let last = self.oracle.tasks.last_key_value().map_or(TaskId::default(), |(id, _)| *id);
        let batch = self.oracle.batch(options.batch);
        let expected = match () {
            () if after.iter().any(|id| *id > last) => Err(Refusal::NeverPushed),
            () if batch.is_some_and(|batch| self.oracle.is_circular(&after, batch)) => Err(Refusal::Circular),
            () => self.expected(&options, count),
        };
        let (when, on_dead) = (self.when(), self.pick(&OnDead::ALL));
        let queue = self.queue.clone();
        let push = Push { due: None, options, payloads: &payloads };
        self.pushes(queue.push_after(self.now, &push, &After { parents: &after, when, on_dead }), expected);
    }

    fn open(&mut self) {
        let (name, when, options) = (self.pick(&NAMES), self.when(), self.options());
        let queue = self.queue.clone();
        let push = Push { due: None, options, payloads: &[b"callback"] };
        let event = queue.open_batch(self.now, name, when, &push);
        if self.oracle.batch(name).is_some() {
            return assert_eq!(event, Ok(None));
        }
        let expected = self.expected(&options, 1);
        self.pushes(event.map(|event| event.expect("a new batch")), expected);
    }

    fn close(&mut self) {
        let name = self.pick(&NAMES);
        let expected = self.oracle.batch(name).map(|batch| !self.oracle.batches[batch].is_closed);
        let event = self.queue.close_batch(self.now, name);
        assert_eq!(
            event.as_ref().map(Option::is_some).map_err(|e| *e),
            expected.ok_or(Refusal::UnknownBatch)
        );
        event.into_iter().flatten().for_each(|event| self.apply(&event));
    }

    fn delete(&mut self) {
        let name = self.pick(&NAMES);
        let callback = self.oracle.batch(name).map(|batch| self.oracle.batches[batch].callback);
        let place = callback.map_or(Place::Gone, |id| self.oracle.place(id));
        let event = self.queue.delete_batch(name);
        assert_eq!(event.is_some(), !matches!(place, Place::Gone | Place::Leased { cancel: true }));
        let Some(event) = event else { return };
        self.apply(&event);
        let is_leased = matches!(place, Place::Leased { .. });
        assert_eq!(self.oracle.batch(name).is_some(), is_leased, "a leased callback keeps its batch");
    }

    fn claim(&mut self) {
        let claim = Claim {
            count: 1 + self.dice.below(4) as usize,
            lease_ms: self.pick(&[None, None, Some(5), Some(1000)]),
            noack: self.chance(10),
            group: self.chance(10).then(|| self.pick(&GROUPS)),
            ..Claim::default()
        };
        let mut turns = ClaimTurns::new(claim);
        if let Some(event) = self.queue.pass_over(self.now, &claim) {
            self.apply(&event);
        }
        loop {
            let mut dice = self.dice.clone();
            let event = turns.turn(&self.queue, self.now, &mut || dice.roll() as u32);
            self.dice = dice;
            let Ok(Some(event)) = event else { break };
            if let Event::Claimed { leases, .. } = &event {
                self.handles.extend(leases.iter().map(|lease| lease.handle()));
            }
            self.apply(&event);
        }
    }

    fn handle(&mut self) -> Option<Handle> {
        let recent: Vec<Handle> = self.handles.iter().rev().take(12).copied().collect();
        (!recent.is_empty()).then(|| self.pick(&recent))
    }

    fn ack(&mut self) {
        let Some(handle) = self.handle() else { return };
        let retain_ms = self.pick(&[None, None, Some(0), Some(60)]);
        if let Ok(event) = self.queue.clone().finish(self.now, &handle, retain_ms, None) {
            self.apply(&event);
        }
    }

    /// An ACK that pushes: the push is decided before the ACK counts, as if it had.
    fn ack_and_push(&mut self) {
        let Some(handle) = self.handle() else { return };
        let Ok(ack) = self.queue.ack(self.now, &handle) else { return };
        let options = self.options();
        let mut after = self.oracle.clone();
        after.sees(&self.now, &ack);
        let push = Push { due: None, options, payloads: &[b"next step"] };
        let mut parents = vec![handle.id, self.id()];
        parents.truncate(self.dice.below(3) as usize);
        let (when, on_dead) = (self.when(), self.pick(&OnDead::ALL));
        let batch = self.oracle.batch(options.batch);
        let expected = match batch.is_some_and(|batch| self.oracle.is_circular(&parents, batch)) {
            true => Err(Refusal::Circular),
            false => self.expected_after(&after, &options, 1),
        };
        let queue = self.queue.clone();
        let event = match parents.is_empty() {
            true => queue.push_next(self.now, &push, &ack),
            false => {
                queue.push_next_after(self.now, &push, &After { parents: &parents, when, on_dead }, &ack)
            }
        };
        if event.is_ok() {
            self.apply(&ack);
        }
        self.pushes(event, expected);
    }

    fn fail(&mut self) {
        let Some(handle) = self.handle() else { return };
        let retry = self.pick(&[Retry::Dead, Retry::Dead, Retry::Backoff, Retry::After(5)]);
        if let Ok(event) = self.queue.clone().fail(self.now, &mut || 1, &handle, retry, b"error") {
            self.apply(&event);
        }
    }

    fn give_back(&mut self) {
        let Some(handle) = self.handle() else { return };
        let event = match self.dice.below(3) {
            0 => self.queue.unclaim(self.now, &handle),
            1 => self.queue.requeue(self.now, &handle, Some(10), false).ok(),
            _ => self.queue.requeue(self.now, &handle, None, true).ok(),
        };
        event.iter().for_each(|event| self.apply(event));
    }

    // What administrators and time do

    fn cancel(&mut self) {
        let id = self.id();
        let event = self.queue.cancel(id);
        let can = !matches!(self.oracle.place(id), Place::Gone | Place::Dead | Place::Done);
        assert_eq!(event.is_ok(), can, "{id} is cancelled");
        event.into_iter().for_each(|event| self.apply(&event));
    }

    fn retry(&mut self) {
        if self.chance(3) {
            let event = self.queue.retry_oldest(self.now, 2);
            return event.iter().for_each(|event| self.apply(event));
        }
        let ids = [self.id(), self.id()];
        let expected = self.oracle.may_retry(&self.now, &ids);
        let expected = (!expected.is_empty()).then_some(Event::Retried { ids: expected, at: self.now.at });
        let event = self.queue.retry(self.now, &ids);
        assert_eq!(event, expected, "{ids:?} are retried");
        event.iter().for_each(|event| self.apply(event));
    }

    fn purge(&mut self) {
        let states =
            [TaskState::Ready, TaskState::Delayed, TaskState::Held, TaskState::Dead, TaskState::Done];
        let (state, count) = (self.pick(&states), 1 + self.dice.below(5) as usize);
        let (_, tasks) = self.queue.list(&self.now, state, Cursor::default(), count, None, None);
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        match state {
            TaskState::Done => self.apply(&Event::Forgotten { ids }),
            _ => self.apply(&Event::Purged { ids }),
        }
    }

    fn configure(&mut self) {
        let (name, values) = self.pick(&CONFIGS);
        let values = vec![(name, self.pick(values))];
        self.apply(&Event::Configured { values });
    }

    fn pause(&mut self) {
        let (gate, until) = (self.pick(&[Gate::In, Gate::Out]), self.now.at.plus(1 + self.dice.below(30)));
        self.apply(&Event::Paused { gate, until: Some(until) });
    }

    fn passes(&mut self, ms: u64) {
        self.now = Now { at: self.now.at.plus(ms), wall: self.now.wall.plus(ms), ..self.now };
    }

    fn wall_is_corrected(&mut self) {
        self.now.wall = Millis(self.now.wall.0 + self.dice.below(60) - 30);
    }

    fn tick(&mut self, mut pages: usize) {
        let dice = self.dice.roll() as u32;
        while let Some(event) = self.queue.tick(self.now, &mut || dice, &mut pages) {
            self.apply(&event);
        }
    }

    /// Saves and loads the queue, its replica, or both.
    fn restarts(&mut self) {
        let reload = |queue: &Queue| {
            let loaded = load(&save(queue)).unwrap();
            assert_eq!(digest(&loaded), digest(queue), "what is loaded equals what was saved");
            loaded
        };
        if self.chance(2) {
            self.queue = reload(&self.queue);
        } else {
            self.replica = reload(&self.replica);
        }
    }

    /// The replica is the primary from now on, and the old primary its replica.
    fn fails_over(&mut self) {
        std::mem::swap(&mut self.queue, &mut self.replica);
        let term = Term { id: 1 + self.dice.roll() % 1000, beginning: Beginning::Promotion };
        let event = self.queue.begin_term(self.now, term);
        event.iter().for_each(|event| self.apply(event));
    }

    fn copied(&self, seed: u64) -> World {
        let mut copy = self.clone();
        copy.queue = self.queue.copied().unwrap();
        copy.replica = self.replica.copied().unwrap();
        copy.oracle.is_copied();
        copy.dice = Dice(seed);
        copy
    }

    // What must hold

    fn check(&self) {
        self.queue.validate().unwrap();
        let living = self.oracle.living().count() as u64;
        let counted = TaskState::ALL.map(|state| self.queue.count(state)).iter().sum::<u64>();
        assert_eq!(counted, living, "tasks in the queue");
        for (id, task) in self.oracle.living() {
            let seen = self.queue.task(&self.now, id).unwrap_or_else(|| panic!("{id} is gone"));
            let is_cancel_asked = seen.lease.is_some_and(|lease| lease.cancel_asked);
            let place = match seen.state {
                TaskState::Ready => Place::Ready,
                TaskState::Delayed => Place::Delayed,
                TaskState::Held => Place::Held,
                TaskState::Leased => Place::Leased { cancel: is_cancel_asked },
                TaskState::Dead => Place::Dead,
                TaskState::Done => Place::Done,
            };
            assert_eq!(place, task.place, "{id}");
            self.check_looks(&seen, task);
            let parents = seen.relations.parents.iter().map(|parent| (parent.id, parent.is_open));
            assert!(parents.eq(task.parents.iter().map(|(id, is_open)| (*id, *is_open))), "parents of {id}");
            assert_eq!(seen.relations.on_dead, task.on_dead, "{id}");
            let callback_of = task.callback_of.map(|batch| &self.oracle.batches[batch].name[..]);
            assert_eq!(seen.relations.callback_of.map(|batch| batch.name), callback_of, "{id}");
        }
        self.check_batches();
        self.check_tokens_and_groups();
        assert_eq!(self.queue.has_news(), self.oracle.has_news(), "whether somebody must be told something");
    }

    /// Checks what can be changed about a task.
    fn check_looks(&self, seen: &TaskView, task: &Task) {
        let (id, options, body) = (seen.id, &seen.options, &task.body);
        assert_eq!((options.priority, options.group), (body.priority, &body.group[..]), "{id}");
        assert_eq!((options.headers, seen.payload), (&body.headers[..], &body.payload[..]), "{id}");
        if let Some(due) = task.due {
            assert_eq!(seen.instant.0, on_clock(&self.now, due), "when {id} is due");
        }
        let when = if task.place == Place::Held { task.when } else { When::Now };
        assert_eq!(seen.when, when, "when {id} is ready after its wait");
    }

    fn check_tokens_and_groups(&self) {
        for token in TOKENS {
            let (seen, holder) =
                (self.queue.holder(self.now.at, token), self.oracle.tokens.holder(self.now.at, token));
            assert_eq!(seen, holder, "who holds {token:?}");
        }
        let known: Vec<&[u8]> = self.queue.group_views(b"").map(|group| group.name).collect();
        assert_eq!(known, Vec::from_iter(self.oracle.known_groups()), "groups that are known");
    }

    fn check_batches(&self) {
        let mut states = (0, 0);
        for name in NAMES {
            let Some(at) = self.oracle.batch(name) else {
                assert_eq!(self.queue.batch(name), None);
                continue;
            };
            let (batch, seen) = (&self.oracle.batches[at], self.queue.batch(name).unwrap());
            assert_eq!((seen.open, seen.counts), self.oracle.counts(at), "{name:?}");
            assert_eq!(seen.tasks(), batch.pushed, "a task of {name:?} that was lost");
            assert_eq!((seen.callback, seen.is_over), (batch.callback, self.oracle.is_over(at)), "{name:?}");
            assert_eq!(seen.closed_at.is_some(), batch.is_closed, "{name:?}");
            let state =
                if batch.is_closed || self.oracle.is_over(at) { &mut states.1 } else { &mut states.0 };
            *state += 1;
        }
        assert_eq!(self.queue.batches(), states, "open and closed batches");
    }

    /// Lets everything that can end come to its end, and checks that every callback and every dependent was released
    /// that is not said to wait.
    fn comes_to_an_end(&mut self) {
        self.apply(&Event::Resumed { gate: Gate::All });
        GROUPS.iter().for_each(|group| self.resume_group(group));
        self.apply(&Event::Configured {
            values: vec![("stalls", 100), ("dead-ttl", -1), ("dead-max", 100_000)],
        });
        for name in NAMES {
            if let Ok(Some(event)) = self.queue.close_batch(self.now, name) {
                self.apply(&event);
            }
        }
        for _ in 0..10_000 {
            self.passes(100_000);
            self.tick(usize::MAX);
            let event = self.queue.retry_oldest(self.now, BATCH_MAX);
            event.iter().for_each(|event| self.apply(event));
            let claim = Claim { count: 100, ..Claim::default() };
            let Some(event) = self.queue.claim(self.now, &mut || 1, &claim).unwrap() else {
                let left = [TaskState::Ready, TaskState::Delayed, TaskState::Leased];
                if left.map(|state| self.queue.count(state)) == [0; 3] {
                    break;
                }
                continue;
            };
            self.apply(&event);
            let Event::Claimed { leases, .. } = &event else { continue };
            for lease in leases {
                let event = self.queue.ack(self.now, &lease.handle()).unwrap();
                self.apply(&event);
            }
        }
        self.check();
        self.oracle.nobody_waits_in_vain();
    }
}

impl History {
    fn new(seed: u64, fan: u64) -> History {
        let mut world = World::new(seed);
        let ordered = GroupLimits { ordered: true, ..GroupLimits::default() };
        let event = world.queue.set_group(b"ordered", ordered).unwrap();
        world.apply(&event);
        History { dice: Dice(!seed), worlds: vec![world], fan }
    }

    fn step(&mut self) {
        let at = self.dice.below(self.worlds.len() as u64) as usize;
        if self.dice.below(150) == 0 {
            let copy = self.worlds[at].copied(self.dice.roll());
            self.worlds.push(copy);
            if self.worlds.len() > 2 {
                self.worlds.remove(0).comes_to_an_end();
            }
            return;
        }
        let (fan, op) = (self.fan, self.dice.below(1000));
        let world = &mut self.worlds[at];
        match op {
            0..120 => world.push(fan.min(3)),
            120..260 => world.push_after(fan),
            260..320 => world.open(),
            320..360 => world.close(),
            360..370 => world.delete(),
            370..500 => world.claim(),
            500..605 => world.ack(),
            605..625 => world.ack_and_push(),
            625..655 => world.set(),
            655..660 => world.pause_or_resume_group(),
            660..710 => world.fail(),
            710..730 => world.give_back(),
            730..760 => world.cancel(),
            760..790 => world.retry(),
            790..805 => world.purge(),
            805..820 => world.configure(),
            820..823 => world.pause(),
            823..825 => world.wall_is_corrected(),
            825..835 => world.restarts(),
            835..845 => world.fails_over(),
            845..930 => world.tick(1 + op as usize % 3),
            930..990 => {
                let ms = world.dice.below(40);
                world.passes(ms);
            }
            _ => world.tick(usize::MAX),
        }
        world.check();
    }

    fn ends(mut self) {
        for world in &mut self.worlds {
            assert_eq!(digest(&world.queue), digest(&world.replica), "a replica equals its primary");
            world.comes_to_an_end();
            assert_eq!(digest(&world.queue), digest(&world.replica), "a replica equals its primary");
        }
    }
}

fn histories(first: u64, count: u64, length: u64, fan: u64) {
    let only = number("TASKSLOT_SEED");
    for seed in only.map_or(first..first + count * times(), |only| only..only + 1) {
        let _seed = crate::properties::Seed(seed);
        let mut history = History::new(seed, fan);
        (0..length).for_each(|_| history.step());
        history.ends();
    }
}

#[test]
fn batches_and_dependents_agree_with_the_oracle() {
    histories(0, 200, 300, 3);
}

#[test]
fn batches_and_dependents_of_many_tasks_agree_with_the_oracle() {
    histories(1 << 32, 20, 200, 200);
}
