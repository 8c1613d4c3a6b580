//! A queue's life with every kind of event, after which there is a task in every state: with errors, requests, workers,
//! priorities, headers, instants of both clocks, large payloads, gaps. The life is part of the samples that are stored
//! permanently, so it only changes with the version of the format.

use std::num::NonZeroU64;

use taskslot_engine::{
    After, Answer, Beginning, Catchup, Claim, Cursor, Due, Effect, Event, Gate, GroupLimits, GroupRate,
    Handle, Headers, Hold, Lease, Millis, Now, OnDead, Options, Push, Queue, Rate, Retry, ScheduleSpec, Set,
    TaskId, TaskState, Term, Trigger, Unique, When,
};

use crate::copies::{Dice, NAME, digest, load, save};

pub const START: u64 = 1_700_000_000_000;

/// Lives the life. `observe` sees each event with the queue before it.
pub fn live(observe: &mut dyn FnMut(&Queue, &Event)) -> Queue {
    let mut life = Life { queue: Queue::new(), now: Now::plain(START), dice: Dice(1), observe };
    life.is_set_up();
    life.works();
    life.goes_wrong();
    life.is_unique();
    life.is_steered();
    life.queue.validate().unwrap();
    life.queue
}

struct Life<'o> {
    queue: Queue,
    now: Now,
    dice: Dice,
    observe: &'o mut dyn FnMut(&Queue, &Event),
}

impl Life<'_> {
    fn apply(&mut self, event: &Event) {
        (self.observe)(&self.queue, event);
        self.queue.apply(event).unwrap();
    }

    fn push(&mut self, due: Option<Due>, options: Options, payloads: &[&[u8]]) -> TaskId {
        let event = self.queue.push(self.now, &Push { due, options, payloads }).unwrap();
        self.apply(&event);
        if let Event::Pushed { first, .. } = event { first } else { panic!() }
    }

    fn claim(&mut self, claim: Claim) -> Vec<Handle> {
        let dice = &mut self.dice;
        let event = self.queue.claim(self.now, &mut || dice.roll() as u32, &claim).unwrap().unwrap();
        self.apply(&event);
        let handle = |lease: &Lease| Handle { id: lease.id, lease: lease.number, nonce: lease.nonce };
        if let Event::Claimed { leases, .. } = &event {
            leases.iter().map(handle).collect()
        } else {
            Vec::new()
        }
    }

    fn fail(&mut self, handle: &Handle, retry: Retry, error: &[u8]) {
        let event = self.queue.fail(self.now, &mut || 1 << 31, handle, retry, error).unwrap();
        self.apply(&event);
    }

    fn passes(&mut self, ms: u64) {
        self.now = Now::plain(self.now.at.0 + ms);
        let mut pages = usize::MAX;
        while let Some(event) = self.queue.tick(self.now, &mut || 1 << 31, &mut pages) {
            self.apply(&event);
        }
    }

    fn is_set_up(&mut self) {
        self.apply(&Event::Configured { values: vec![("lease", 20_000), ("backoff", 1), ("dead-max", 3)] });
        let term = Term { id: 0x1234_5678_9abc_def0, beginning: Beginning::Promotion };
        self.apply(&self.queue.begin_term(self.now, term).unwrap());
        self.apply(&Event::Clock { offset_ms: -3 });
        self.push(None, Options::default(), &[b"zero", b"one", b"two", b"three", b"four"]);
        let headers = Headers::pack(&[(b"trace", b"0af7"), (b"empty", b"")]);
        let (attempts, lease_ms) = (Some(2), Some(40_000));
        let options = Options { priority: 3, attempts, lease_ms, headers: &headers, ..Options::default() };
        let first = self.push(None, options, &[b"special", b"special too"]);
        let event = self.queue.answered(self.now, b"push-token", Answer::Pushed { first, count: 2 });
        self.apply(&event);
        self.passes(3);
        self.push(None, Options { priority: -7, ..Options::default() }, &[&[7; 300], b"", &[8; 200]]);
        self.push(Some(Due::Wall(Millis(START + 900_000))), Options::default(), &[b"at"]);
        self.push(Some(Due::Clock(Millis(START + 800_000))), Options::default(), &[b"later"]);
        self.push(Some(Due::Clock(Millis(START + 10))), Options::default(), &[b"soon"]);
    }

    fn works(&mut self) {
        let handles = self.claim(Claim { count: 3, worker: b"alice", tied: true, ..Claim::default() });
        let event =
            self.queue.answered(self.now, b"claim-token", Answer::Claimed { handles: handles.clone() });
        self.apply(&event);
        let event = self.queue.ack(self.now, &handles[0]).unwrap();
        self.apply(&event);
        self.fail(&handles[1], Retry::Backoff, b"a connection was refused");
        let event = self.queue.extend(self.now, &handles[2], Some(70_000)).unwrap();
        self.apply(&event);
        let bob = self.claim(Claim { worker: b"bob", lease_ms: Some(500), ..Claim::default() });
        self.claim(Claim { noack: true, ..Claim::default() });
        let event = self.queue.requeue(self.now, &bob[0], None, true).unwrap();
        self.apply(&event);
        self.passes(10);
    }

    fn goes_wrong(&mut self) {
        let short = Claim { count: 2, lease_ms: Some(5), worker: b"mallory", ..Claim::default() };
        let slow = self.claim(short);
        self.passes(5);
        let event = self.queue.ack(self.now, &slow[0]).unwrap();
        self.apply(&event);
        for retry in [Retry::Dead, Retry::After(700_000), Retry::Dead] {
            let handles = self.claim(Claim { worker: b"bob", ..Claim::default() });
            self.fail(&handles[0], retry, if retry == Retry::Dead { b"poison \xff" } else { b"" });
        }
        let undone = self.claim(Claim::default());
        let event = self.queue.unclaim(self.now, &undone[0]).unwrap();
        self.apply(&event);
        let cancelled = self.claim(Claim { worker: b"carol", ..Claim::default() });
        let event = self.queue.cancel(cancelled[0].id).unwrap();
        self.apply(&event);
    }

    /// Tokens of every kind: held, kept, given back and freed. Tasks that expired, and tasks that can.
    fn is_unique(&mut self) {
        let at = |ms| Millis(START + ms);
        let mut push = |token, hold, ttl_ms| {
            let unique = Some(Unique { token, hold });
            let options = Options { priority: -8, unique, ttl_ms, ..Options::default() };
            self.push(None, options, &[token])
        };
        push(b"to the end", Hold::End, None);
        push(b"to the start", Hold::Start, NonZeroU64::new(5));
        push(b"for a while", Hold::AtMost(at(600_000)), None);
        push(b"for a moment", Hold::AtMost(at(20)), None);
        push(b"kept", Hold::Exactly(at(600_000)), NonZeroU64::new(900_000));
        let gone = push(b"kept by nobody", Hold::Exactly(at(600_000)), None);
        let event = self.queue.cancel(gone).unwrap();
        self.apply(&event);
        let headers = Headers::pack(&[(b"version", b"2")]);
        for token in [&b"for a while"[..], b"kept"] {
            let id = self.queue.holder(self.now.at, token).unwrap();
            let event = self.queue.replace(id, &headers, b"a new payload").unwrap().unwrap();
            self.apply(&event);
        }
        self.push(None, Options { ttl_ms: NonZeroU64::new(700_000), ..Options::default() }, &[b"in time"]);
        self.passes(10);
    }

    fn is_steered(&mut self) {
        let event = self.queue.retry_oldest(self.now, 1).unwrap();
        self.apply(&event);
        let ids: Vec<TaskId> = (0..4).map(|n| self.push(None, Options::default(), &[&[n; 40]])).collect();
        let event = self.queue.cancel(ids[0]).unwrap();
        self.apply(&event);
        self.apply(&Event::Purged { ids: vec![ids[1]] });
        self.apply(&Event::Configured { values: vec![("dead-max", 1)] });
        let handles = self.claim(Claim { worker: b"bob", ..Claim::default() });
        self.fail(&handles[0], Retry::Dead, b"the last one");
        self.passes(1);
        for size in [4500, 8300, 4500] {
            self.push(None, Options::default(), &[&vec![9; size]]);
        }
        self.push(None, Options::default(), &[b"after", b"and after"]);
        self.finishes();
        self.is_shared();
        self.is_scheduled();
        self.is_related();
        self.apply(&Event::Paused { gate: Gate::All, until: Some(Millis(START + 500_000)) });
        self.apply(&Event::Resumed { gate: Gate::Out });
    }
}

impl Life<'_> {
    /// Tasks are done and retained, or not; one is forgotten, another in progress.
    fn finishes(&mut self) {
        let retain = |retain_ms| Options { priority: 9, retain_ms, ..Options::default() };
        self.push(None, retain(Some(5)), &[b"soon forgotten"]);
        self.push(None, retain(Some(900_000)), &[b"kept as the push says", b"acked as none"]);
        self.push(None, retain(None), &[b"kept as the ack says", b"not kept", b"on its way"]);
        let handles = self.claim(Claim { count: 6, worker: b"dora", ..Claim::default() });
        let keeps: [(Option<u64>, Option<&[u8]>); 5] = [
            (None, None),
            (None, Some(b"42")),
            (None, Some(b"")),
            (Some(1 << 33), Some(&[3; 70])),
            (None, Some(b"x")),
        ];
        for (handle, (retain_ms, result)) in handles.iter().zip(keeps) {
            let event = self.queue.finish(self.now, handle, retain_ms, result).unwrap();
            self.apply(&event);
        }
        let event = self.queue.progress(self.now, &handles[5], None, Some(b"37 %")).unwrap();
        self.apply(&event);
        self.passes(5);
        self.remembers();
    }

    /// Attempts are given up with their progress, and several errors are kept.
    fn remembers(&mut self) {
        self.apply(&Event::Configured { values: vec![("errors-kept", 3)] });
        self.push(None, Options { priority: 30, ..Options::default() }, &[b"in steps", b"fails often"]);
        let worker = Claim { worker: b"gina", count: 2, ..Claim::default() };
        for (error, progress) in
            [(&b"no disk"[..], Some(&b"step=1"[..])), (b"", None), (b"no net", Some(b"step=2"))]
        {
            let handles = self.claim(worker);
            let given = self.queue.requeue_at(self.now, &handles[0], Some(1), true, progress).unwrap();
            self.apply(&given);
            let retry = Retry::After(1);
            let failed =
                self.queue.fail_at(self.now, &mut || 7, &handles[1], retry, error, progress).unwrap();
            self.apply(&failed);
            self.passes(1);
        }
    }
}

impl Life<'_> {
    /// Groups take turns; one rests, one waits because it is ordered, one is forgotten.
    fn is_shared(&mut self) {
        let of = |group| Options { priority: 20, group, ..Options::default() };
        self.push(None, of(b"a"), &[b"a1", b"a2", b"a3"]);
        self.push(None, of(b"b"), &[b"b1", b"b2"]);
        self.push(None, of(b""), &[b"none"]);
        self.push(None, of(b"c"), &[b"c1"]);
        self.push(None, of(b"gone"), &[b"gone"]);
        let (slow, never) = (Rate { claims: 1, per_ms: 900_000 }, Rate { claims: 1, per_ms: 2 });
        for (name, limits) in [
            (&b"a"[..], GroupLimits { weight: Some(2), concurrency: Some(-1), ..GroupLimits::default() }),
            (b"b", GroupLimits { rate: GroupRate::Limited(slow), ..GroupLimits::default() }),
            (b"c", GroupLimits { ordered: true, rate: GroupRate::Unlimited, ..GroupLimits::default() }),
            (b"idle", GroupLimits { concurrency: Some(3), ..GroupLimits::default() }),
            (b"gone", GroupLimits { rate: GroupRate::Limited(never), ..GroupLimits::default() }),
        ] {
            let event = self.queue.set_group(name, limits).unwrap();
            self.apply(&event);
        }
        self.apply(&Event::Configured { values: vec![("rate", 100), ("group-concurrency", 50)] });
        for _ in 0..5 {
            let handles = self.claim(Claim { worker: b"erin", ..Claim::default() });
            let payload = self.queue.task(&self.now, handles[0].id).unwrap().payload.to_vec();
            match &payload[..] {
                b"c1" => self.fail(&handles[0], Retry::After(800_000), b""),
                b"gone" => {
                    let event = self.queue.ack(self.now, &handles[0]).unwrap();
                    self.apply(&event);
                }
                _ => {}
            }
        }
        let event = self.queue.forget_group(b"gone").unwrap();
        self.apply(&event);
        self.push(None, of(b"gone"), &[b"back"]);
        let event = self
            .queue
            .set_group(b"gone", GroupLimits { rate: GroupRate::Limited(never), ..GroupLimits::default() });
        self.apply(&event.unwrap());
        self.claim(Claim { group: Some(b"gone"), ..Claim::default() });
        self.passes(2);
        for (name, for_ms) in
            [(&b"a"[..], None), (b"b", Some(600_000)), (b"held", Some(700_000)), (b"c", None)]
        {
            let until = for_ms.map(|ms| self.now.at.plus(ms));
            let event = self.queue.pause_group(name, until).unwrap();
            self.apply(&event);
        }
        let event = self.queue.resume_group(b"c").unwrap();
        self.apply(&event);
        self.is_edited();
    }

    /// Tasks get another payload, other headers, another time, another lane.
    fn is_edited(&mut self) {
        let options = Options { priority: -20, group: b"b", ..Options::default() };
        let ids: Vec<TaskId> = (0..3).map(|n| self.push(None, options, &[&[n; 9]])).collect();
        let headers = Headers::pack(&[(b"version", b"3")]);
        let later = Set {
            when: Some(When::After(800_000)),
            priority: Some(-21),
            payload: Some(b"later"),
            ..Set::default()
        };
        let other = Set { group: Some(b"new"), headers: Some(&headers), ..Set::default() };
        let out = Set { group: Some(b""), headers: Some(b""), ..Set::default() };
        for (ids, to) in [(&ids[..2], later), (&ids[1..], other), (&ids[2..], out)] {
            let event = self.queue.set(self.now, ids, &to).unwrap().unwrap();
            self.apply(&event);
        }
    }

    /// Schedules run, are skipped, planned again, removed.
    fn is_scheduled(&mut self) {
        let options = Options { group: b"a", retain_ms: Some(5), ..Options::default() };
        let every = |ms| ScheduleSpec {
            timing: Trigger::Every(ms),
            catchup: Catchup::One,
            options,
            payload: b"tick",
        };
        let daily = Trigger::Cron("30 4 * * *", "Europe/Berlin");
        let daily =
            ScheduleSpec { timing: daily, catchup: Catchup::None, options: Options::default(), payload: b"" };
        for (name, plan) in [(&b"often"[..], every(100)), (b"daily", daily), (b"gone", every(900_000))] {
            let event = self.queue.schedule(self.now, name, plan).unwrap();
            self.apply(&event);
        }
        let event = self.queue.unschedule(b"gone").unwrap();
        self.apply(&event);
        self.passes(100);
        self.apply(&Event::Paused { gate: Gate::In, until: None });
        self.passes(100);
        self.apply(&Event::Resumed { gate: Gate::In });
        let now = self.now;
        self.now = Now { wall: Millis(now.wall.0 - 4 * 3_600_000), ..now };
        let (mut pages, queue) = (usize::MAX, &self.queue);
        let event = queue.clone().tick(self.now, &mut || 1 << 31, &mut pages).unwrap();
        self.apply(&event);
        self.now = now;
        let event = self.queue.run_schedule(self.now, b"often").unwrap().unwrap();
        self.apply(&event);
    }
}

impl Life<'_> {
    /// Batches are open, closed and complete. Tasks wait for others; one is dropped, another has waited.
    fn is_related(&mut self) {
        let options = Options { priority: 30, ..Options::default() };
        let callback = |batch| Options { group: b"a", batch, ..options };
        for (name, when, outer) in [
            (&b"outer"[..], When::Now, &b""[..]),
            (b"inner", When::After(700_000), b"outer"),
            (b"closed", When::At(Millis(START + 900_000)), b""),
            (b"complete", When::Now, b""),
        ] {
            let push = Push { due: None, options: callback(outer), payloads: &[b"callback"] };
            let event = self.queue.open_batch(self.now, name, when, &push).unwrap().unwrap();
            self.apply(&event);
        }
        let into = |batch| Options { batch, ..options };
        let dead = self.push(None, into(b"inner"), &[b"dies"]);
        self.push(None, into(b"inner"), &[b"is acked", b"stays"]);
        self.push(None, into(b"closed"), &[b"waits"]);
        self.push(None, into(b"complete"), &[b"is cancelled"]);
        let handles = self.claim(Claim { count: 2, worker: b"frank", ..Claim::default() });
        let acked = handles[1].id;
        for (after, on_dead) in [
            (&[dead, acked][..], OnDead::Wait),
            (&[dead], OnDead::Drop),
            (&[dead], OnDead::Run),
            (&[acked], OnDead::Wait),
        ] {
            let push = Push { due: None, options, payloads: &[b"dependent"] };
            let event = self
                .queue
                .push_after(self.now, &push, &After { parents: after, on_dead, when: When::After(5) })
                .unwrap();
            self.apply(&event);
        }
        self.fail(&handles[0], Retry::Dead, b"a child died");
        let event = self.queue.ack(self.now, &handles[1]).unwrap();
        self.apply(&event);
        for name in [&b"closed"[..], b"complete"] {
            let event = self.queue.close_batch(self.now, name).unwrap().unwrap();
            self.apply(&event);
        }
        let last = self.queue.list(&self.now, TaskState::Ready, Cursor::default(), 9, None, None).1;
        let cancelled = last.iter().find(|task| task.payload == b"is cancelled").unwrap().id;
        let event = self.queue.cancel(cancelled).unwrap();
        self.apply(&event);
        self.passes(5);
        self.has_news();
    }

    /// Tasks have ended in each way, and those that wait for them were not told yet.
    fn has_news(&mut self) {
        let options = Options { priority: 31, ..Options::default() };
        let ids = [&b"done"[..], b"died", b"was cancelled"].map(|name| self.push(None, options, &[name]));
        for (after, on_dead) in [
            (&ids[..1], OnDead::Wait),
            (&ids[..2], OnDead::Drop),
            (&ids[2..], OnDead::Run),
            (&ids[1..], OnDead::Wait),
        ] {
            let push = Push { due: None, options, payloads: &[b"not told yet"] };
            let event = self
                .queue
                .push_after(self.now, &push, &After { parents: after, on_dead, when: When::Now })
                .unwrap();
            self.apply(&event);
        }
        let handles = self.claim(Claim { count: 2, worker: b"grace", ..Claim::default() });
        let event = self.queue.ack(self.now, &handles[0]).unwrap();
        self.apply(&event);
        self.fail(&handles[1], Retry::Dead, b"a parent died");
        let event = self.queue.cancel(ids[2]).unwrap();
        self.apply(&event);
    }
}

/// The whole life as one effect, and the payloads beside it.
pub fn effect() -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut effect, mut beside) = (Effect::default(), Vec::new());
    live(&mut |_, event| {
        effect.add(event);
        beside.extend(event.changes().payloads.iter().map(|payload| payload.to_vec()));
    });
    let bytes = effect.seal(1, Millis(START), NAME, beside.iter().map(Vec::as_slice)).to_vec();
    (bytes, beside)
}

/// Checks that a queue which was accepted works on: random commands, each of which applies, then a save and a load.
pub fn lives_on(mut queue: Queue, dice: &mut Dice, verbs: usize) {
    let mut now = Now::plain(START + 20_000);
    let mut handles = Vec::new();
    for _ in 0..verbs {
        now = Now::plain(now.at.0 + dice.below(5) * dice.below(10_000));
        let (mut pages, mut more) = (5, Dice(dice.roll()));
        while let Some(event) = queue.tick(now, &mut || more.roll() as u32, &mut pages) {
            queue.apply(&event).unwrap();
        }
        let handle: Option<Handle> = handles.get(dice.below(handles.len() as u64) as usize).copied();
        let mut random = || more.roll() as u32;
        let event = match (dice.below(9), &handle) {
            (0, _) => {
                queue.push(now, &Push { due: None, options: Options::default(), payloads: &[b"new"] }).ok()
            }
            (1 | 2, _) => {
                let claim = Claim { count: 2, worker: b"someone", ..Claim::default() };
                queue.claim(now, &mut random, &claim).ok().flatten()
            }
            (3, _) => queue.retry_oldest(now, 1),
            (4, Some(handle)) => queue.finish(now, handle, Some(dice.below(9000)), Some(b"came of it")).ok(),
            (5, Some(handle)) => queue.fail(now, &mut random, handle, Retry::Backoff, b"again").ok(),
            (6, Some(handle)) => queue.requeue(now, handle, None, true).ok(),
            (7, Some(handle)) => queue.progress(now, handle, None, Some(b"half")).ok(),
            (_, Some(handle)) => queue.cancel(handle.id).ok(),
            _ => {
                let beginning = if dice.below(2) == 0 { Beginning::Start } else { Beginning::Promotion };
                queue.begin_term(now, Term { id: dice.below(3), beginning })
            }
        };
        if let Some(event) = event {
            queue.apply(&event).unwrap();
            if let Event::Claimed { leases, .. } = &event {
                let handle = |lease: &Lease| Handle { id: lease.id, lease: lease.number, nonce: lease.nonce };
                handles.extend(leases.iter().map(handle));
            }
        }
    }
    queue.validate().unwrap();
    let again = load(&save(&queue)).unwrap();
    assert_eq!(digest(&again), digest(&queue));
}
