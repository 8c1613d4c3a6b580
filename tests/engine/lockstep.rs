//! A queue, a replica that only receives its events, and the naive model go through the same history step by step. A
//! step is four words, which a seed or proptest can produce. Any disagreement is a panic.

mod comparison;
mod edits;
mod keeping;
mod steering;
mod steps;
mod tokens;

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use taskslot_engine::{
    Answer, Claim, ClaimTurns, Due, Entropy, Event, Handle, Headers, Lease, Millis, Now, Options, Push,
    Queue, Refusal, TaskId, Then,
};

use crate::copies::{Dice, digest, replicate};
use crate::model::{Fate, Model, Place, Task};

/// How many tasks a history accumulates.
#[derive(Clone, Copy, PartialEq)]
pub enum Depth {
    Shallow,
    /// Thousands: pages seal, compact and vanish.
    Deep,
}

pub struct Lockstep {
    pub queue: Queue,
    replica: Queue,
    pub model: Model,
    now: Now,
    depth: Depth,
    dice: Dice,
    handles: Vec<Handle>,
    last_number: u64,
    /// The connection of each TIED lease, as far as this node can know.
    ties: BTreeMap<TaskId, u64>,
    pub steps: u64,
}

const LEASES: [u32; 6] = [1, 10, 100, 1000, 30_000, 86_400_000];
const CONFIGS: [(&str, &[i64]); 16] = [
    ("lease", &[1, 50, 30_000]),
    ("attempts", &[-1, 1, 2, 3, 25]),
    ("stalls", &[-1, 1, 2, 3, 5]),
    ("backoff", &[0, 1, 2]),
    ("backoff-base", &[1, 10, 1000]),
    ("backoff-max", &[1, 500, 3_600_000]),
    ("backoff-jitter", &[0, 10, 100]),
    ("max-len", &[-1, -1, 0, 10, 40]),
    ("max-bytes", &[-1, -1, 0, 5000]),
    ("dead-max", &[0, 1, 5, -1, 100_000]),
    ("dead-ttl", &[-1, -1, 0, 1000]),
    ("run-max", &[-1, 20, 1000]),
    ("retain", &[0, 0, 50, 10_000]),
    ("retain-max", &[0, 1, 5, -1, 10_000]),
    ("tokens-max", &[1_000_000, 1_000_000, 0, 2]),
    ("errors-kept", &[1, 2, 3, 10]),
];

fn pick<T: Copy>(from: &[T], word: u32) -> T {
    from[word as usize % from.len()]
}

impl Lockstep {
    pub fn new(depth: Depth) -> Lockstep {
        Lockstep {
            queue: Queue::new(),
            replica: Queue::new(),
            model: Model::new(),
            now: Now::plain(1_700_000_000_000),
            depth,
            dice: Dice(0),
            handles: Vec::new(),
            last_number: 0,
            ties: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Runs one step of a history.
    pub fn step(&mut self, words: [u32; 4]) {
        let [op, a, b, c] = words;
        self.dice = Dice(u64::from(a) << 32 | u64::from(b));
        self.passes(c);
        match op % 1000 {
            0..220 => self.push(a, b, c),
            220..440 => self.claim(a, b, c),
            440..560 => self.ack(a, b),
            560..600 => self.ack_and_push(a, b),
            600..680 => self.fail(a, b),
            680..740 => self.requeue(a, b),
            740..790 => self.extend(a, b),
            790..820 => self.cancel(a),
            820..845 => self.retry(a, b),
            845..860 => self.purge(a, b),
            860..870 => self.unclaim(a),
            870..880 => self.disconnect(u64::from(a % 4)),
            880..900 => self.configure(a, b),
            900..912 => self.pause(a, b),
            912..930 => self.resume(a),
            930..935 => self.begin_term(a),
            935..940 => self.wall_is_corrected(a),
            940..945 => self.grace(a),
            945..950 => self.reload(),
            950..952 => self.copy(),
            952..965 => self.set(a, b),
            965..970 => self.postpone(a, b),
            _ => self.tick(if op & 1024 == 0 { usize::MAX } else { 1 + a as usize % 3 }),
        }
        self.steps += 1;
        self.model.forget_settled_suspects();
        assert_eq!(self.queue.awaited_worker(), self.model.awaited.as_deref(), "the reserved worker");
        self.compare_counts();
        self.compare_holders();
        let size = self.model.tasks.len() as u64;
        if self.steps.is_multiple_of(1 + size / 2) {
            self.queue.validate().unwrap();
            assert_eq!(digest(&self.queue), digest(&self.replica), "a replica equals its primary");
        }
        if self.steps.is_multiple_of(7 + size) {
            self.compare_lists();
            self.compare_tokens();
        }
    }

    /// Lets time pass, mostly a little. Mostly due work is done then.
    fn passes(&mut self, word: u32) {
        let span = u64::from(word >> 8);
        let span = match word % 100 {
            0..70 => 0,
            70..90 => span % 20,
            90..98 => span % 2000,
            98 => span % 100_000,
            _ => span % 7_200_000,
        };
        self.set_now(self.now.at.0 + span);
        if !word.is_multiple_of(3) {
            self.tick(usize::MAX);
        }
    }

    fn set_now(&mut self, at: u64) {
        let wall = self.now.wall.0 + (at - self.now.at.0);
        let grace = self.now.grace.filter(|grace| at < grace.until.0);
        self.now = Now { at: Millis(at), wall: Millis(wall), grace, is_full: false, lead_us: 0 };
    }

    /// Applies an event to the queue, and to the replica by way of bytes.
    fn apply(&mut self, event: &Event) {
        self.queue.apply(event).unwrap();
        replicate(&mut self.queue, &mut self.replica, event).unwrap();
    }

    /// Lets the queue decide, with the random bits of this step.
    fn decide<R>(&mut self, verb: impl FnOnce(&mut Queue, Now, Entropy) -> R) -> R {
        let mut dice = self.dice.clone();
        let result = verb(&mut self.queue, self.now, &mut || dice.roll() as u32);
        self.dice = dice;
        result
    }

    fn push(&mut self, a: u32, b: u32, c: u32) {
        let most = if self.depth == Depth::Deep { 60 } else { 3 };
        let unique = self.unique(a >> 4);
        let count = if unique.is_some() { 1 } else { 1 + self.dice.below(most) as usize };
        let size = |dice: &mut Dice| match dice.below(100) {
            0..60 => dice.below(30),
            60..92 => dice.below(300),
            92..98 => dice.below(2000),
            _ => 3000 + dice.below(2200),
        };
        let payloads: Vec<Vec<u8>> =
            (0..count).map(|_| vec![self.dice.roll() as u8; size(&mut self.dice) as usize]).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let due = match b % 8 {
            0 => Some(Due::Clock(Millis(self.now.at.0 + u64::from(c % 500)))),
            1 => Some(Due::Wall(Millis(self.now.wall.0 + u64::from(c % 900) - 100))),
            _ => None,
        };
        let headers = match a % 16 {
            0 => Headers::pack(&[(b"trace", b"abc"), (b"", b"")]),
            _ => Vec::new(),
        };
        let options = Options {
            priority: pick(&[0, 0, 0, 0, 0, 1, -1, 127, -128], b >> 8),
            attempts: pick(&[None, None, None, Some(1), Some(3), Some(-1)], b >> 12),
            lease_ms: pick(&[None, None, None, Some(5), Some(700)], b >> 16),
            headers: &headers,
            retain_ms: pick(&[None, None, Some(0), Some(300), Some(40_000)], b >> 20),
            unique,
            ttl_ms: NonZeroU64::new(pick(&[0, 0, 0, 1, 300, 40_000], b >> 22)),
            ..Options::default()
        };
        let token = format!("p{}", a % 7).into_bytes();
        if b & 0x8000_0000 != 0 {
            let known = self.queue.recall_push(self.now, &token);
            assert_eq!(known, self.model.recall_push(&self.now, &token), "a push sent again");
            if known.is_some() {
                return;
            }
        }
        let push = Push { due, options, payloads: &payloads };
        let event = self.queue.push(self.now, &push);
        let task = blank(&options);
        let bytes = self.bytes_without_done();
        let expected = self.model.push(&self.now, &task, due, &payloads, bytes);
        assert_eq!(event.as_ref().map(|event| first_of(event)).map_err(|refusal| *refusal), expected);
        if let Err(Refusal::Held(id)) = event
            && c & 3 == 0
        {
            return self.replace(id, &headers, payloads[0]);
        }
        let Ok(event) = event else { return };
        self.make_room(&event);
        self.apply(&event);
        if b & 0x8000_0000 != 0 {
            self.answered(&token, Answer::Pushed { first: first_of(&event), count: count as u32 });
        }
    }

    fn answered(&mut self, token: &[u8], answer: Answer) {
        self.model.answered(&self.now, token, answer.clone());
        let event = self.queue.answered(self.now, token, answer);
        self.apply(&event);
    }

    fn claim(&mut self, a: u32, b: u32, c: u32) {
        let most = if self.depth == Depth::Deep { 50 } else { 4 };
        let names = if b >> 24 & 1 == 0 { 3 } else { 23 };
        let worker = format!("worker-{}", b % names).into_bytes();
        let claim = Claim {
            count: 1 + a as usize % most,
            bytes: (a >> 8 & 7 == 0).then_some(u64::from(b % 1000)),
            lease_ms: (a >> 11 & 1 == 0).then(|| pick(&LEASES, a >> 12)),
            worker: if b >> 8 & 1 == 0 { &worker } else { &[] },
            tied: b >> 9 & 3 == 0,
            noack: b >> 11 & 15 == 0,
            group: None,
        };
        let token = format!("c{}", c % 5).into_bytes();
        let is_request = b >> 20 & 7 == 0;
        if is_request {
            let known = self.queue.recall_claim(self.now, &token);
            assert_eq!(known, self.model.recall_claim(&self.now, &token), "a claim sent again");
            if known.is_some() {
                return;
            }
        }
        self.model.forget_settled_suspects();
        let passed_over = self.queue.pass_over(self.now, &claim);
        let awaited = |event: &Event| match event {
            Event::PassedOver { worker, .. } => worker.to_vec(),
            other => panic!("a suspect that is passed over: {other:?}"),
        };
        assert_eq!(passed_over.as_ref().map(awaited), self.model.pass_over(&self.now, &claim));
        self.apply_if(passed_over);
        let mut claiming = ClaimTurns::new(claim);
        let mut event = self.decide(|queue, now, entropy| claiming.turn(queue, now, entropy));
        while let Ok(Some(expired @ Event::Expired { .. })) = &event {
            self.apply(expired);
            event = self.decide(|queue, now, entropy| claiming.turn(queue, now, entropy));
            if let Ok(None) = event {
                // One claim removes a bounded number of expired tasks.
                claiming = ClaimTurns::new(claim);
                event = self.decide(|queue, now, entropy| claiming.turn(queue, now, entropy));
            }
        }
        let batch = self.queue.claimable(self.now.at, &claim);
        let expected = self.model.claim(&self.now, &claim);
        let event = match event {
            Ok(event) => event,
            Err(refusal) => return assert_eq!(expected, Err(refusal)),
        };
        let given = match &event {
            Some(Event::Claimed { leases, .. }) => leases
                .iter()
                .map(|lease| (lease.id, lease.number.0, lease.lease_ms, lease.deadline.0))
                .collect(),
            Some(Event::Taken { ids, .. }) => ids.iter().map(|&id| (id, 0, 0, 0)).collect(),
            _ => Vec::new(),
        };
        assert_eq!(Ok(given), expected, "a claim");
        self.compare_batch(batch, &claim, event.as_ref());
        let Some(event) = event else { return };
        self.apply(&event);
        let Event::Claimed { leases, .. } = &event else { return };
        let handles: Vec<Handle> = leases.iter().map(handle_of).collect();
        for handle in &handles {
            assert!(handle.lease.0 > self.last_number, "lease numbers increase");
            self.last_number = handle.lease.0;
            self.model.learn(handle);
            if claim.tied {
                let holder = u64::from(c % 4);
                self.queue.tie(holder, handle.id);
                self.ties.insert(handle.id, holder);
            }
        }
        self.handles.extend(&handles);
        if is_request {
            self.answered(&token, Answer::Claimed { handles });
        }
    }

    /// A handle that was given before, mostly a recent one, sometimes with a wrong number or nonce.
    fn handle(&self, word: u32) -> Handle {
        let known = self.handles.len();
        let reach = if word.is_multiple_of(4) { known } else { known.min(20) };
        let nobodys =
            Handle { id: TaskId { ms: 1, seq: 1 }, lease: taskslot_engine::LeaseNumber(1), nonce: 1 };
        let Some(from) = known.checked_sub(1 + (word >> 8) as usize % reach.max(1)) else { return nobodys };
        let mut handle = self.handles[from];
        match word >> 4 & 63 {
            0 => handle.nonce ^= 1,
            1 => handle.lease.0 -= 1,
            2 => handle.id.seq += 1,
            _ => {}
        }
        handle
    }

    fn apply_if(&mut self, event: Option<Event>) {
        event.iter().for_each(|event| self.apply(event));
    }

    /// Checks that what the engine drew is within the model's bounds, and copies it into the model.
    fn settle(&mut self, id: TaskId, then: Option<Then>, fate: Fate) {
        match (then, fate) {
            (None, Fate::Gone) => {}
            (Some(Then::Ready(at)), Fate::Ready) => assert_eq!(at, self.now.at),
            (Some(Then::Dead(at)), Fate::Dead) => assert_eq!(at, self.now.at),
            (Some(Then::Delayed(due)), Fate::Between(low, high)) => {
                let Due::Clock(at) = due else { panic!("a delay runs on the queue's clock") };
                assert!((low..=high).contains(&at.0), "a delay until {} is in {low}..={high}", at.0);
                self.model.delay(id, due);
            }
            other => panic!("{id}: {other:?}"),
        }
    }

    fn fail(&mut self, a: u32, b: u32) {
        let handle = self.handle(a);
        let retry = match b % 8 {
            0 => taskslot_engine::Retry::Dead,
            1 | 2 => taskslot_engine::Retry::After(u64::from(b >> 8) % 100),
            _ => taskslot_engine::Retry::Backoff,
        };
        let error = vec![b'e'; pick(&[0, 0, 3, 40, 4096], b >> 4)];
        let progress = pick(&PROGRESS, b >> 12);
        let event =
            self.decide(|queue, now, entropy| queue.fail_at(now, entropy, &handle, retry, &error, progress));
        let expected = self.model.fail(&self.now, &handle, retry, &error, progress);
        self.ended(handle.id, event, expected);
    }

    fn ended(
        &mut self,
        id: TaskId,
        event: Result<Event, taskslot_engine::Refusal>,
        expected: Result<Fate, taskslot_engine::Refusal>,
    ) {
        let (event, fate) = match (event, expected) {
            (Ok(event), Ok(fate)) => (event, fate),
            (event, expected) => return assert_eq!(event.map(|_| ()), expected.map(|_| ())),
        };
        let then = match &event {
            Event::Failed { then, .. } | Event::Requeued { then, .. } => Some(*then),
            _ => None,
        };
        self.settle(id, then, fate);
        self.apply(&event);
    }

    fn requeue(&mut self, a: u32, b: u32) {
        let handle = self.handle(a);
        let (delay_ms, back) = (pick(&[0, 0, 1, 70], b), b >> 8 & 1 == 0);
        let progress = pick(&PROGRESS, b >> 12);
        let asked_ms = (b >> 9 & 1 == 0 || delay_ms > 0).then_some(delay_ms);
        let event = self.queue.requeue_at(self.now, &handle, asked_ms, back, progress);
        let expected = self.model.requeue(&self.now, &handle, delay_ms, back, progress);
        self.ended(handle.id, event, expected);
    }

    fn extend(&mut self, a: u32, b: u32) {
        let handle = self.handle(a);
        let lease_ms = (b & 1 == 0).then(|| pick(&LEASES, b >> 1));
        let progress = pick(&PROGRESS, b >> 8);
        let event = self.queue.progress(self.now, &handle, lease_ms, progress);
        let expected = self.model.extend(&self.now, &handle, lease_ms, progress);
        let until = |event: &Event| if let Event::Extended { deadline, .. } = event { deadline.0 } else { 0 };
        assert_eq!(event.as_ref().map(until).map_err(|refusal| *refusal), expected, "an extension");
        self.apply_if(event.ok());
    }

    /// The id of a task that exists or existed.
    fn id(&self, word: u32) -> TaskId {
        match self.model.tasks.len() {
            0 => TaskId { ms: 0, seq: 0 },
            _ if word.is_multiple_of(8) => self.handle(word).id,
            n => self.model.tasks[(word >> 3) as usize % n].id,
        }
    }
}

/// What workers say about how far a task has got.
const PROGRESS: [Option<&[u8]>; 5] = [None, None, Some(b"half"), Some(b"nearly all"), Some(b"")];

fn blank(options: &Options) -> Task {
    Task {
        id: TaskId::default(),
        payload: Vec::new(),
        priority: options.priority,
        attempts: options.attempts,
        lease_ms: options.lease_ms,
        headers: options.headers.to_vec(),
        place: Place::Dead { at: 0 },
        pushed: 0,
        turn: 0,
        number: 0,
        nonce: 0,
        own_ms: 0,
        stalled: false,
        deliveries: 0,
        failures: 0,
        stalls: 0,
        errors: Vec::new(),
        last: None,
        retain_ms: options.retain_ms,
        result: None,
        progress: Vec::new(),
        unique: options.unique.map(|unique| (unique.token.to_vec(), unique.hold)),
        ttl_ms: options.ttl_ms.map(NonZeroU64::get),
        replaced: 0,
        replaced_headers: 0,
    }
}

fn first_of(event: &Event) -> TaskId {
    if let Event::Pushed { first, .. } = event { *first } else { panic!("a push: {event:?}") }
}

fn ids_of(event: &Option<Event>) -> Vec<TaskId> {
    if let Some(Event::Retried { ids, .. }) = event { ids.clone() } else { Vec::new() }
}

fn handle_of(lease: &Lease) -> Handle {
    Handle { id: lease.id, lease: lease.number, nonce: lease.nonce }
}
