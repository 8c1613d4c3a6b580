//! A simulation of several nodes, each with a copy of one queue, in one process and from a seed. Every node has the
//! clocks of its machine (offset, drift, steps), its term and its files. At any step, links are cut and healed, and
//! nodes are promoted, demoted, killed and started, even so that two believe to be the primary. The judge checks, over
//! all nodes:
//!
//! - No lease number is given twice for a task, and no number of a primary is as high as one of its successor for that
//!   task.
//! - Spans (DELAY, LEASE, TTL) keep their length, within the drift of the clocks.
//! - Copies that have got the same messages are equal.
//! - In the end, when there are no more faults, all leases end.

use std::collections::{BTreeMap, VecDeque};

use taskslot_engine::{
    Beginning, Claim, Cursor, Due, Effect, Event, Handle, Millis, Now, Options, Push, Queue, Retry, Stamp,
    TaskId, TaskState, TaskView, Term,
};
use taskslot_node::{Clock, Reading};

use crate::dice::Dice;

const START_US: u64 = 1_700_000_000_000_000;
const NODES: usize = 3;
const GRACE_MS: u64 = 5000;
/// How often the server's cron runs.
const BEAT_US: u64 = 100_000;
/// The longest time that a message takes from one node to another.
const LINK_US: u64 = 50_000;
/// The most by which a span can differ: a clock is slewed by at most a hundredth, and a machine drifts by less than a
/// thousandth.
const DRIFT: f64 = 0.012;
/// What links, beats and whole milliseconds add to a span.
const SLACK_US: u64 = 400_000;
const SPANS_MS: [u64; 4] = [200, 1500, 10_000, 60_000];

/// A message from a primary to its replicas; files contain the same.
#[derive(Clone)]
enum Message {
    Effect(Vec<u8>, Vec<Vec<u8>>),
    Clock(Stamp),
}

struct Machine {
    boot: u64,
    /// By how many parts in a million the machine's clock is faster than true time.
    drift_ppm: i64,
    wall_ahead_us: i64,
}

impl Machine {
    fn reading(&self, t: u64) -> Reading {
        let drifted = t as i64 + (t as i64 / 1_000_000) * self.drift_ppm;
        Reading { boot: self.boot, up_us: drifted as u64 }
    }

    fn wall_us(&self, t: u64) -> u64 {
        (START_US + self.reading(t).up_us).wrapping_add_signed(self.wall_ahead_us)
    }
}

struct Node {
    machine: Machine,
    clock: Clock,
    queue: Queue,
    term: Term,
    /// The number of promotions in the history of the node's data.
    epoch: u32,
    is_primary: bool,
    is_alive: bool,
    /// The primary that it replicates.
    source: Option<usize>,
    inbox: VecDeque<(u64, Message)>,
    /// The number of messages that it has got as a replica.
    received: u64,
    snapshot: Vec<Vec<u8>>,
    log: Vec<Message>,
    clock_sent: Option<Stamp>,
}

/// What the judge knows about a task. Payloads identify tasks, because two primaries can give the same id.
#[derive(Default)]
struct Judged {
    /// The lease numbers of the task, each with the epoch of the primary that gave it.
    numbers: BTreeMap<u64, u32>,
}

/// A kind of span, and the tasks whose span has ended, each with its lease number.
type Ended = (&'static str, Vec<(Vec<u8>, u64)>);

/// A span, in true time.
#[derive(Clone, Copy)]
struct Span {
    began: u64,
    ms: u64,
}

struct World {
    seed: u64,
    t: u64,
    dice: Dice,
    nodes: Vec<Node>,
    tasks: BTreeMap<Vec<u8>, Judged>,
    /// The spans that run, by kind, payload and lease number.
    spans: BTreeMap<(&'static str, Vec<u8>, u64), Span>,
    handles: Vec<Handle>,
    pushed: u64,
    /// A counter for the ids of terms.
    drawn: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let nodes = (0..NODES)
            .map(|at| {
                let machine = Machine {
                    boot: if dice.below(3) == 0 { 1 } else { (10 + at as u64) << 32 },
                    drift_ppm: dice.below(400) as i64 - 200,
                    wall_ahead_us: (dice.below(16 * 3600) as i64 - 8 * 3600) * 1_000_000,
                };
                let clock = Clock::new(machine.reading(1), machine.wall_us(1));
                Node {
                    machine,
                    clock,
                    queue: Queue::new(),
                    term: Term { id: 1 + at as u64, beginning: Beginning::Start },
                    epoch: 0,
                    is_primary: at == 0,
                    is_alive: true,
                    source: None,
                    inbox: VecDeque::new(),
                    received: 0,
                    snapshot: Vec::new(),
                    log: Vec::new(),
                    clock_sent: None,
                }
            })
            .collect();
        let mut world = World {
            seed,
            t: 1,
            dice,
            nodes,
            tasks: BTreeMap::new(),
            spans: BTreeMap::new(),
            handles: Vec::new(),
            pushed: 0,
            drawn: 100,
            counts: BTreeMap::new(),
        };
        world.write(0, |_, _, _| {
            Some(Event::Configured {
                values: vec![("backoff-jitter", 0), ("stalls", 100), ("backoff-base", 1)],
            })
        });
        for at in 1..NODES {
            world.full_sync(at, 0);
        }
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn now(&mut self, at: usize) -> Now {
        let (t, node) = (self.t, &mut self.nodes[at]);
        let wall_us = node.machine.wall_us(t);
        let now = node.clock.now(node.machine.reading(t), || wall_us, false, GRACE_MS);
        now.ahead_by(node.queue.clock_offset_ms())
    }

    fn stamp(&self, at: usize) -> Stamp {
        let node = &self.nodes[at];
        node.clock.stamp(node.machine.reading(self.t), node.machine.wall_us(self.t))
    }

    // The work of a node.

    /// A write on a primary: decides, applies the event and sends the effect. Returns the event.
    fn write(
        &mut self,
        at: usize,
        decide: impl for<'q> FnOnce(&'q mut Queue, Now, &mut dyn FnMut() -> u32) -> Option<Event<'static>>,
    ) -> Option<Event<'static>> {
        let (now, stamp) = (self.now(at), self.stamp(at));
        let node = &mut self.nodes[at];
        let mut effect = Effect::default();
        if let Some(mut event) = node.queue.begin_term(now, node.term) {
            if let Event::Term { clocks, .. } = &mut event {
                *clocks = Some(stamp);
            }
            node.queue.apply(&event).unwrap();
            effect.add(&event);
        }
        let dice = &mut self.dice;
        let decided = decide(&mut node.queue, now, &mut || dice.roll() as u32);
        let mut payloads = Vec::new();
        if let Some(event) = &decided {
            node.queue.apply(event).unwrap();
            effect.add(event);
            payloads.extend(event.changes().payloads.iter().map(|payload| payload.to_vec()));
        }
        if !effect.is_empty() {
            let (number, beside) = (node.queue.count_effect(), payloads.iter().map(Vec::as_slice));
            let bytes = effect.seal(number, now.at, b"queue", beside).to_vec();
            self.send(at, Message::Effect(bytes, payloads));
        }
        decided
    }

    /// Sends a message to the replicas, and appends it to the file.
    fn send(&mut self, from: usize, message: Message) {
        self.nodes[from].log.push(message.clone());
        for at in 0..NODES {
            if self.nodes[at].source == Some(from) && self.nodes[at].is_alive {
                let arrives = self.t + self.dice.below(LINK_US);
                let before = self.nodes[at].inbox.back().map_or(0, |(at, _)| *at);
                self.nodes[at].inbox.push_back((arrives.max(before), message.clone()));
            }
        }
    }

    fn send_clock(&mut self, at: usize) {
        let stamp = self.stamp(at);
        self.nodes[at].clock_sent = Some(stamp);
        self.send(at, Message::Clock(stamp));
    }

    /// A replica takes the messages that have arrived.
    fn receive(&mut self, at: usize) {
        while let Some((arrives, _)) = self.nodes[at].inbox.front()
            && *arrives <= self.t
        {
            let Some((_, message)) = self.nodes[at].inbox.pop_front() else { return };
            let (t, node) = (self.t, &mut self.nodes[at]);
            let (reading, wall_us) = (node.machine.reading(t), node.machine.wall_us(t));
            match message {
                Message::Effect(..) => {
                    node.apply_message(&message, false, reading, wall_us, self.seed);
                    node.log.push(message);
                }
                Message::Clock(stamp) => {
                    node.clock.follow(reading, wall_us, &stamp);
                    let own = node.clock.stamp(reading, wall_us);
                    node.log.push(Message::Clock(own));
                }
            }
            node.received += 1;
        }
    }

    fn beat(&mut self, at: usize) {
        if !self.nodes[at].is_alive {
            return;
        }
        self.receive(at);
        self.now(at);
        if !self.nodes[at].is_primary {
            return;
        }
        let mut pages = usize::MAX;
        while let Some((kind, tasks)) = self.write_tick(at, &mut pages) {
            for (name, number) in tasks {
                self.judge_span(kind, name, number);
            }
        }
        let (stamp, sent) = (self.stamp(at), self.nodes[at].clock_sent);
        let is_off = sent.is_none_or(|sent| {
            sent.skew_ms().abs_diff(stamp.skew_ms()) > 250
                || sent.ahead_of_start_ms().abs_diff(stamp.ahead_of_start_ms()) > 250
                || stamp.up_us - sent.up_us > 60_000_000
        });
        if is_off {
            self.send_clock(at);
        }
    }

    /// Does the next due work. Returns the spans that have ended by it.
    fn write_tick(&mut self, at: usize, pages: &mut usize) -> Option<Ended> {
        let now = self.now(at);
        self.nodes[at].queue.next_due(&now).filter(|due| *due <= now.at)?;
        let mut ended = ("other", Vec::new());
        self.write(at, |queue, now, entropy| {
            let event = queue.tick(now, entropy, pages);
            let (kind, ids) = match &event {
                Some(Event::BecameReady { ids, .. }) => ("delay", ids.clone()),
                Some(Event::Expired { ids, .. }) => ("ttl", ids.clone()),
                Some(Event::Stalled { tasks }) => ("lease", tasks.iter().map(|(id, _)| *id).collect()),
                _ => return event,
            };
            let tasks = ids.into_iter().filter_map(|id| queue.task(&now, id));
            let number = |task: &TaskView| task.lease.map_or(0, |lease| lease.number.0);
            ended = (kind, tasks.map(|task| (task.payload.to_vec(), number(&task))).collect());
            event
        })?;
        Some(ended)
    }

    /// Copies all data of a primary to a replica, then sends the time of the primary's clock.
    fn full_sync(&mut self, at: usize, from: usize) {
        let stamp = self.stamp(from);
        let mut chunks = Vec::new();
        self.nodes[from].queue.save_at(stamp, &mut |chunk| chunks.push(chunk.to_vec()));
        // The replicas of this node must get its data again.
        self.nodes.iter_mut().filter(|other| other.source == Some(at)).for_each(|other| other.source = None);
        let (t, epoch) = (self.t, self.nodes[from].epoch);
        let node = &mut self.nodes[at];
        (node.is_primary, node.source, node.epoch) = (false, Some(from), epoch);
        node.inbox.clear();
        node.snapshot = chunks;
        node.log.clear();
        node.load(t, self.seed);
        self.send_clock(from);
    }

    // Faults and changes of roles.

    fn promote(&mut self, at: usize) {
        self.drawn += 1;
        let (t, id, dice) = (self.t, self.drawn, self.dice.roll());
        let node = &mut self.nodes[at];
        if node.is_primary || !node.is_alive {
            return;
        }
        let reading = node.machine.reading(t);
        let wall_us = node.machine.wall_us(t);
        node.term = Term { id: id << 40 | dice >> 24, beginning: Beginning::Promotion };
        (node.is_primary, node.source, node.clock_sent) = (true, None, None);
        node.epoch += 1;
        node.inbox.clear();
        node.clock.now(reading, || wall_us, false, GRACE_MS);
        node.clock.on_term(node.term);
        node.clock.on_takeover(GRACE_MS);
        self.send_clock(at);
        self.count("promotions");
    }

    /// Kills a node, by SIGKILL or a power cut. After a power cut, the last effects are missing in the file.
    fn kill(&mut self, at: usize) {
        let lost = self.dice.pick(&[0, 0, 0, 1, 3]);
        let node = &mut self.nodes[at];
        if node.is_alive {
            node.is_alive = false;
            node.inbox.clear();
            for _ in 0..lost {
                if matches!(node.log.last(), Some(Message::Effect(..))) {
                    node.log.pop();
                }
            }
            self.count("kills");
        }
    }

    fn start(&mut self, at: usize) {
        self.drawn += 1;
        let (t, id) = (self.t, self.drawn);
        let node = &mut self.nodes[at];
        if node.is_alive {
            return;
        }
        node.is_alive = true;
        node.term = Term { id, beginning: Beginning::Start };
        node.clock_sent = None;
        node.load(t, self.seed);
        if let Some(source) = node.source {
            if self.nodes[source].is_alive && self.nodes[source].is_primary {
                self.full_sync(at, source);
            } else {
                self.nodes[at].source = None;
            }
        }
        // The replicas of a primary that has started again get its data again.
        for other in 0..NODES {
            if self.nodes[at].is_primary && self.nodes[other].source == Some(at) && self.nodes[other].is_alive
            {
                self.full_sync(other, at);
            }
        }
    }

    fn follow_somebody(&mut self, at: usize) {
        let primaries: Vec<usize> = (0..NODES)
            .filter(|&from| from != at && self.nodes[from].is_primary && self.nodes[from].is_alive)
            .collect();
        if primaries.is_empty() || !self.nodes[at].is_alive {
            return;
        }
        let best = primaries.iter().map(|&from| self.nodes[from].epoch).max();
        let from = primaries.into_iter().find(|&from| Some(self.nodes[from].epoch) == best);
        let Some(from) = from.filter(|&from| self.nodes[from].epoch >= self.nodes[at].epoch) else { return };
        if self.nodes[at].is_primary && self.nodes[from].epoch == self.nodes[at].epoch {
            return;
        }
        self.full_sync(at, from);
        self.count("demotions and syncs");
    }

    /// Kills a node repeatedly, each time before the longest grace is over. Its short leases must end all the same.
    fn crash_loop(&mut self, at: usize) {
        self.claim(at);
        for _ in 0..7 {
            self.kill(at);
            self.pass(300_000);
            self.start(at);
            self.pass(4_000_000);
        }
        let now = self.now(at);
        for task in self.nodes[at].queue.list(&now, TaskState::Leased, Cursor::default(), 1000, None, None).1
        {
            let key = ("lease", task.payload.to_vec(), task.lease.map_or(0, |lease| lease.number.0));
            let Some(span) = self.spans.get(&key).filter(|span| span.ms <= 10_000) else { continue };
            let most = (span.ms as f64 * 1000.0 * (1.0 + DRIFT)) as u64 + 2 * GRACE_MS * 1000 + SLACK_US;
            assert!(self.t - span.began <= most, "seed {}: a lease of {} ms lasts", self.seed, span.ms);
        }
        self.count("crash loops");
    }

    fn step_wall_clock(&mut self, at: usize) {
        let seconds = self.dice.pick(&[-7200, -3600, -60, 60, 3600, 7200]);
        let ahead = &mut self.nodes[at].machine.wall_ahead_us;
        *ahead = (*ahead + seconds * 1_000_000).clamp(-8 * 3_600_000_000, 8 * 3_600_000_000);
        self.count("steps of wall clocks");
    }

    // Clients, at any node that believes to be a primary.

    fn push(&mut self, at: usize) {
        let (name, kind) = (format!("task {}", self.pushed).into_bytes(), self.dice.below(3));
        self.pushed += 1;
        let span_ms = self.dice.pick(&SPANS_MS);
        let payload: &'static [u8] = Vec::leak(name.clone());
        let payloads: &'static [&'static [u8]] = Vec::leak(vec![payload]);
        let done = self.write(at, |queue, now, _| {
            let due = (kind == 1).then(|| Due::Clock(now.at.plus(span_ms)));
            let options = Options {
                ttl_ms: std::num::NonZeroU64::new(span_ms).filter(|_| kind == 2),
                ..Options::default()
            };
            queue.push(now, &Push { due, options, payloads }).ok()
        });
        assert!(done.is_some());
        let span = Span { began: self.t, ms: span_ms };
        match kind {
            1 => _ = self.spans.insert(("delay", name, 0), span),
            2 => _ = self.spans.insert(("ttl", name, 0), span),
            _ => {}
        }
        self.count("pushes");
    }

    fn claim(&mut self, at: usize) {
        let now = self.now(at);
        if !self.nodes[at].queue.is_claimable(now.at) {
            return;
        }
        let lease_ms = self.dice.pick(&SPANS_MS) as u32;
        let claim = Claim { count: 1, lease_ms: Some(lease_ms), ..Claim::default() };
        let event = self.write(at, |queue, now, entropy| queue.claim(now, entropy, &claim).ok().flatten());
        let Some(Event::Claimed { leases, .. }) = event else { return };
        for lease in leases {
            let (name, epoch, number) = (self.name(at, lease.id), self.nodes[at].epoch, lease.number.0);
            let judged = self.tasks.entry(name.clone()).or_default();
            for (other, its_epoch) in &judged.numbers {
                assert_ne!(*other, number, "seed {}: a lease number twice", self.seed);
                let in_order = match its_epoch.cmp(&epoch) {
                    std::cmp::Ordering::Less => *other < number,
                    std::cmp::Ordering::Greater => *other > number,
                    std::cmp::Ordering::Equal => true,
                };
                assert!(
                    in_order,
                    "seed {}: {number} of promotion {epoch} beside {other} of {its_epoch}",
                    self.seed
                );
            }
            judged.numbers.insert(number, epoch);
            self.handles.push(lease.handle());
            self.spans.insert(("lease", name, number), Span { began: self.t, ms: lease_ms.into() });
            self.count("claims");
        }
    }

    /// A worker acks, requeues or fails one of the last tasks.
    fn answer(&mut self, at: usize) {
        let (kind, back) = (self.dice.below(3), self.dice.below(8) as usize);
        let Some(handle) = self.handles.len().checked_sub(1 + back).map(|place| self.handles[place]) else {
            return;
        };
        let answered = self.write(at, |queue, now, entropy| match kind {
            0 => queue.ack(now, &handle).ok(),
            1 => queue.requeue(now, &handle, None, false).ok(),
            _ => queue.fail(now, entropy, &handle, Retry::After(1), b"").ok(),
        });
        if answered.is_some() {
            self.count("answers");
        }
    }

    // The judge.

    fn name(&self, at: usize, id: TaskId) -> Vec<u8> {
        self.nodes[at].queue.task(&Now::plain(1), id).map(|task| task.payload.to_vec()).unwrap_or_default()
    }

    /// Checks that a span did not end too early. (That it ends at all is checked when there are no more faults.)
    fn judge_span(&mut self, kind: &'static str, name: Vec<u8>, number: u64) {
        let task = String::from_utf8_lossy(&name).into_owned();
        let Some(span) = self.spans.get(&(kind, name, number)).copied() else { return };
        let (passed, whole) = (self.t - span.began, span.ms * 1000);
        let least = (whole as f64 * (1.0 - DRIFT)) as u64;
        assert!(
            passed + SLACK_US >= least,
            "seed {}: the {kind} of {task} ({} ms) ended after {} ms",
            self.seed,
            span.ms,
            passed / 1000
        );
        self.count(kind);
    }

    /// Checks that each replica that has got all messages has the same data as its primary.
    fn judge_copies(&self) {
        for node in &self.nodes {
            let Some(source) = node.source.filter(|_| node.is_alive && node.inbox.is_empty()) else {
                continue;
            };
            let primary = &self.nodes[source];
            if primary.is_alive && primary.is_primary {
                assert_eq!(digest(&node.queue), digest(&primary.queue), "seed {}: copies differ", self.seed);
            }
        }
    }

    // The passing of time.

    fn pass(&mut self, us: u64) {
        let end = self.t + us;
        while self.t < end {
            self.t = (self.t + BEAT_US).min(end);
            (0..NODES).for_each(|at| self.beat(at));
        }
    }

    fn step(&mut self) {
        let at = self.dice.below(NODES as u64) as usize;
        let is_primary = self.nodes[at].is_primary && self.nodes[at].is_alive;
        match self.dice.below(100) {
            0..25 if is_primary => self.push(at),
            25..55 if is_primary => self.claim(at),
            55..65 if is_primary => self.answer(at),
            65..67 => self.promote(at),
            67..70 => self.kill(at),
            70..76 => self.start(at),
            76..80 => self.follow_somebody(at),
            80..82 => self.step_wall_clock(at),
            82..97 => {
                let us = self.dice.pick(&[1000, 10_000, 150_000, 1_000_000, 4_000_000]);
                self.pass(us);
            }
            97 => {
                let us = self.dice.pick(&[30_000_000, 90_000_000]);
                self.pass(us);
            }
            98 if is_primary => self.crash_loop(at),
            _ => self.judge_copies(),
        }
    }

    /// Ends all faults: every node runs, and one of them is the primary. Within the time of the longest span and its
    /// grace, all spans must end.
    fn heal(&mut self) {
        (0..NODES).for_each(|at| self.start(at));
        if !self.nodes.iter().any(|node| node.is_primary) {
            self.promote(0);
        }
        let primary =
            (0..NODES).filter(|&at| self.nodes[at].is_primary).max_by_key(|&at| self.nodes[at].epoch);
        let primary = primary.unwrap();
        for at in (0..NODES).filter(|&at| at != primary) {
            self.full_sync(at, primary);
        }
        let longest = SPANS_MS.iter().max().unwrap() * 1000;
        self.pass((longest as f64 * (1.0 + DRIFT)) as u64 + GRACE_MS * 1000 + 3 * SLACK_US);
        self.judge_copies();
        for state in [TaskState::Leased, TaskState::Delayed] {
            assert_eq!(
                self.nodes[primary].queue.count(state),
                0,
                "seed {}: a task stays {state:?}",
                self.seed
            );
        }
        self.nodes[primary].queue.validate().unwrap();
    }
}

impl Node {
    /// Starts a process with the data of its files; on a replica, with what its primary has sent.
    fn load(&mut self, t: u64, seed: u64) {
        let (reading, wall_us) = (self.machine.reading(t), self.machine.wall_us(t));
        self.clock = Clock::new(reading, wall_us);
        self.queue = Queue::new();
        if let Some((head, rest)) = self.snapshot.split_first() {
            self.queue = Queue::load_head(head).unwrap();
            rest.iter().for_each(|chunk| self.queue.load_chunk(chunk).unwrap());
            self.queue.validate().unwrap();
            if let Some(saved) = self.queue.take_saved() {
                self.clock.resume(reading, wall_us, &saved);
            }
        }
        for message in std::mem::take(&mut self.log) {
            match &message {
                Message::Effect(..) => self.apply_message(&message, true, reading, wall_us, seed),
                Message::Clock(stamp) => self.clock.resume(reading, wall_us, stamp),
            }
            self.log.push(message);
        }
        self.clock.now(reading, || wall_us, false, GRACE_MS);
        if self.term.beginning == Beginning::Start {
            self.clock.on_term(self.term);
        }
        self.clock.on_takeover(GRACE_MS);
    }

    fn apply_message(
        &mut self,
        message: &Message,
        is_loading: bool,
        reading: Reading,
        wall_us: u64,
        seed: u64,
    ) {
        let Message::Effect(bytes, payloads) = message else { return };
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let effect = Effect::decode(b"queue", bytes, &payloads).unwrap();
        if let Err(gap) = self.queue.expect_effect(&effect) {
            panic!("seed {seed}: {gap:?}");
        }
        for event in &effect.events {
            self.queue.apply(event).unwrap();
            if let (true, Event::Term { clocks: Some(clocks), .. }) = (is_loading, event) {
                self.clock.resume(reading, wall_us, clocks);
            }
        }
        let (_, at) = effect.stamp.unwrap();
        self.clock.served(Millis(at.0.saturating_add_signed(-self.queue.clock_offset_ms())));
    }
}

fn digest(queue: &Queue) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    queue.digest(&mut |part| parts.push(part.to_vec()));
    parts
}

#[test]
fn nodes_with_different_clocks_give_no_lease_number_twice_and_keep_spans() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..2000 {
        let mut world = World::new(seed);
        (0..400).for_each(|_| world.step());
        world.heal();
        world.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    // The histories must contain enough of everything, otherwise they would prove nothing.
    for what in [
        "claims",
        "promotions",
        "kills",
        "demotions and syncs",
        "delay",
        "lease",
        "ttl",
        "answers",
        "crash loops",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 1000), "{what}: {counts:?}");
    }
}
