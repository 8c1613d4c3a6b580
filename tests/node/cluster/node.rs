//! A node: a process with its clock and its copies of queues, and what is left of it when the process is gone.

use std::rc::Rc;

use taskslot_engine::{Beginning, Effect, Event, Millis, Now, Queue, Stamp, Term};
use taskslot_node::{Clock, Reading, arrival};

use super::disk::{Disk, Snapshot};
use super::ledger::{GRACE_MS, Ledger, Outage, Watch};
use super::link::{Link, Stream};
use super::message::{Commit, Dump, Message, NAME, Name};

/// How many names of queues there are.
pub const QUEUES: usize = 2;

/// By how much a clock can be off that is continued from a file: a stamp is written when the clock has changed by a
/// quarter of a second against the others.
const RESUMED_US: u64 = 300_000;

/// What a machine's clocks show at an instant of true time.
#[derive(Clone, Copy)]
pub struct Instant {
    pub t: u64,
    pub reading: Reading,
    pub wall_us: u64,
}

/// A queue on a node, with what the judge knows of it.
pub struct Copy {
    pub queue: Queue,
    pub ledger: Rc<Ledger>,
    /// Its last change.
    pub head: u64,
    /// Its clock is its own, and the node's replicas and file don't know it yet.
    pub must_replicate_clock: bool,
}

/// The last stamp of the clock that was sent, and whether another one must be sent, as in the module.
#[derive(Default)]
pub struct Sent {
    pub last: Option<Stamp>,
    pub is_due: bool,
    pub has_changed: bool,
}

pub struct Node {
    pub shard: usize,
    pub machine: usize,
    pub is_primary: bool,
    /// The promotion by which it became a primary.
    pub tenure: u64,
    /// It lost what it knew of its promotion: see [`super::known::is_loose`].
    pub has_forgotten: bool,
    /// What its clock showed when its process ended.
    pub showed_us: u64,
    /// By how much its wall clock made it believe that it was off for longer than it was, in all.
    hurried_us: u64,
    /// The shard to which each queue belongs, as far as this node has heard.
    pub owners: [usize; QUEUES],
    pub disk: Disk,
    pub link: Link,
    // What is gone with the process.
    pub is_alive: bool,
    /// It stands still until then.
    pub asleep_until: u64,
    pub are_writes_paused: bool,
    pub clock: Clock,
    /// The last time at which clients were served, according to its data.
    served: Millis,
    pub outage: Option<Outage>,
    pub term: Term,
    pub stream: Stream,
    pub copies: [Option<Copy>; QUEUES],
    pub sent: Sent,
}

impl Node {
    pub fn new(shard: usize, machine: usize, now: Instant) -> Node {
        Node {
            shard,
            machine,
            is_primary: false,
            tenure: 0,
            has_forgotten: false,
            showed_us: 0,
            hurried_us: 0,
            owners: [0, 1],
            disk: Disk::default(),
            link: Link::default(),
            is_alive: true,
            asleep_until: 0,
            are_writes_paused: false,
            clock: Clock::new(now.reading, now.wall_us),
            served: Millis(0),
            outage: None,
            term: Term { id: 1, beginning: Beginning::Start },
            stream: Stream::default(),
            copies: Default::default(),
            sent: Sent::default(),
        }
    }

    /// Whether its process runs and does not stand still.
    pub fn is_up(&self, t: u64) -> bool {
        self.is_alive && self.asleep_until <= t
    }

    /// Whether it is alive, and clients can write.
    pub fn is_serving(&self, t: u64) -> bool {
        self.is_up(t) && self.is_primary && !self.are_writes_paused
    }

    pub fn now(&mut self, now: Instant) -> Now {
        self.clock.now(now.reading, || now.wall_us, self.are_writes_paused, GRACE_MS)
    }

    pub fn stamp(&self, now: Instant) -> Stamp {
        self.clock.stamp(now.reading, now.wall_us)
    }

    /// All queues, in their stored form.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let stamp = self.stamp(now);
        let queues = self.copies.iter().enumerate();
        Snapshot(
            queues
                .filter_map(|(name, copy)| Some((name, Rc::new(copy.as_ref()?.dump(stamp, now.t)))))
                .collect(),
        )
    }

    /// A process starts with what is in its files.
    pub fn start(&mut self, now: Instant) {
        self.clock = Clock::new(now.reading, now.wall_us);
        (self.is_alive, self.asleep_until, self.are_writes_paused) = (true, 0, false);
        self.sent = Sent::default();
        self.copies = Default::default();
        self.link.breaks();
        let mut hurry_us = self.loads(&self.disk.base(), now);
        for message in self.disk.log() {
            match &*message {
                Message::Effect { queue, bytes, payloads, commit } => {
                    self.applies(*queue, bytes, payloads, commit, |node, stamp, has_arrived| {
                        // They can be those of the former owner of a slot, for all that a file says.
                        if has_arrived {
                            node.clock.exceed(stamp);
                        } else {
                            hurry_us = node.resumes(stamp, commit.t, now);
                        }
                    });
                }
                Message::Restored { queue, dump, head } => {
                    // Its clock is not continued, because the file can be from another time.
                    let mut copy = Copy { head: *head, ..Copy::load(dump) };
                    arrival::keep_numbers(&mut copy.queue, || self.stamp(now));
                    self.copies[*queue] = Some(copy);
                }
                Message::Deleted { queue } => self.copies[*queue] = None,
                Message::Clock { stamp, t } => hurry_us = self.resumes(stamp, *t, now),
            }
        }
        // What came of that is in the files from now on.
        self.hurried_us += hurry_us;
        for copy in self.copies.iter_mut().flatten() {
            Rc::make_mut(&mut copy.ledger).hurry_us += self.hurried_us + RESUMED_US;
        }
        if self.is_primary {
            self.clock.on_term(self.term);
        }
        self.takes_over(now);
    }

    /// Loads all queues, and continues the clock by which they were saved. Returns by how much the wall clock makes it too
    /// late.
    pub fn loads(&mut self, snapshot: &Snapshot, now: Instant) -> u64 {
        self.copies = Default::default();
        self.served = Millis(0);
        let mut hurry_us = 0;
        for (name, dump) in &snapshot.0 {
            let copy = Copy::load(dump);
            if let Some(saved) = copy.queue.take_saved() {
                hurry_us = self.resumes(&saved, dump.t, now);
            }
            self.copies[*name] = Some(copy);
        }
        hurry_us
    }

    /// Continues a clock, of which `written` was taken at the true time `t`. Returns by how much that is too far.
    fn resumes(&mut self, written: &Stamp, t: u64, now: Instant) -> u64 {
        self.clock.resume(now.reading, now.wall_us, written);
        self.served = self.served.max(written.at());
        let is_same = written.boot >> 32 == now.reading.boot >> 32;
        let has_booted = is_same && written.boot != now.reading.boot;
        let off_us = now.wall_us.saturating_sub(written.wall_us);
        if has_booted { off_us.saturating_sub(now.t - t) } else { 0 }
    }

    pub fn takes_over(&mut self, now: Instant) {
        self.now(now);
        self.clock.on_takeover(GRACE_MS);
        let to = self.stamp(now).at();
        self.outage = (self.served > Millis(0)).then_some(Outage { from: self.served.min(to), to });
        self.sent.is_due = true;
    }

    pub fn is_promoted(&mut self, now: Instant, term: Term, tenure: u64) {
        self.link.leaves();
        self.stream.renames(term.id);
        (self.is_primary, self.term, self.tenure, self.has_forgotten) = (true, term, tenure, false);
        self.clock.on_term(term);
        self.takes_over(now);
    }

    /// A replica takes the messages that have arrived. Returns them, for its own replicas.
    pub fn receives(&mut self, now: Instant) -> Vec<Rc<Message>> {
        let mut received = Vec::new();
        while let Some(message) = self.link.next(now.t) {
            match &*message {
                Message::Effect { queue, bytes, payloads, commit } => {
                    self.applies(*queue, bytes, payloads, commit, |node, stamp, _| {
                        node.clock.follow_at_first(now.reading, now.wall_us, stamp);
                    });
                }
                Message::Restored { queue, dump, head } => {
                    let mut copy = Copy { head: *head, ..Copy::load(dump) };
                    copy.keeps_clock(&self.stamp(now));
                    self.copies[*queue] = Some(copy);
                }
                Message::Deleted { queue } => self.copies[*queue] = None,
                Message::Clock { stamp, .. } => {
                    self.clock.follow(now.reading, now.wall_us, stamp);
                    self.served = self.served.max(stamp.at());
                }
            }
            self.disk.append(match &*message {
                // Its own file gets its own clock.
                Message::Clock { .. } => Rc::new(Message::Clock { stamp: self.stamp(now), t: now.t }),
                _ => message.clone(),
            });
            self.stream.add(message.clone());
            received.push(message);
        }
        received
    }

    /// Applies an effect that was decided before. `takes` gets what it says of the clocks of the node that decided, and
    /// whether the queue had come on its own before it, without a term since.
    fn applies(
        &mut self,
        name: Name,
        bytes: &[u8],
        payloads: &[Vec<u8>],
        commit: &Commit,
        mut takes: impl FnMut(&mut Node, &Stamp, bool),
    ) {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let effect = Effect::decode(NAME, bytes, &payloads).unwrap();
        let copy = self.copies[name].get_or_insert_with(Copy::new);
        copy.queue.expect_effect(&effect).unwrap_or_else(|gap| panic!("an effect is missing: {gap:?}"));
        let (_, at) = effect.stamp.unwrap();
        let has_arrived = copy.queue.has_arrived();
        let mut stamps = Vec::new();
        for (nth, event) in effect.events.iter().enumerate() {
            Rc::make_mut(&mut copy.ledger).sees(commit, nth as u64, event, Watch::Copied);
            copy.queue.apply(event).unwrap();
            if let Event::Term { clocks: Some(clocks), .. } = event {
                stamps.push(*clocks);
            }
        }
        copy.head = commit.id;
        // The primary has set the queue's clock.
        copy.queue.take_saved();
        copy.must_replicate_clock = false;
        let offset_ms = copy.queue.clock_offset_ms();
        stamps.iter().for_each(|stamp| takes(self, stamp, has_arrived));
        if at > Millis(0) {
            let served = Millis(at.0.saturating_add_signed(-offset_ms));
            self.clock.served(served);
            self.served = self.served.max(served);
        }
    }
}

impl Copy {
    pub fn new() -> Copy {
        let ledger = Rc::new(Ledger::new());
        Copy { queue: Queue::new(), ledger, head: 0, must_replicate_clock: false }
    }

    pub fn load(dump: &Dump) -> Copy {
        let (head, rest) = dump.chunks.split_first().unwrap();
        let mut queue = Queue::load_head(head).unwrap();
        rest.iter().for_each(|chunk| queue.load_chunk(chunk).unwrap());
        queue.validate().unwrap();
        let ledger = dump.ledger.clone();
        Copy { queue, ledger, head: dump.head, must_replicate_clock: false }
    }

    pub fn dump(&self, stamp: Stamp, t: u64) -> Dump {
        let mut chunks = Vec::new();
        self.queue.save_at(stamp, &mut |chunk| chunks.push(chunk.to_vec()));
        Dump { chunks, ledger: self.ledger.clone(), head: self.head, t }
    }

    /// Keeps the clock by which the queue was written, as the module does it for a queue that came on its own.
    pub fn keeps_clock(&mut self, here: &Stamp) {
        self.must_replicate_clock |= arrival::keep_clock(&mut self.queue, || *here);
    }
}
