//! All nodes and machines together, and the passing of time.

use std::rc::Rc;

use taskslot_engine::{Beginning, Term};
use taskslot_node::is_stamp_current;

use super::disk::Snapshot;
use super::judge::Judge;
use super::link::Stream;
use super::machine::Machine;
use super::message::{Commit, Message, Name};
use super::node::{Copy, Instant, Node, QUEUES};
use super::story::Story;
use super::txn::{Txn, Writer};
use super::workers::Workers;
use crate::dice::Dice;

/// The shard of each node.
const SHARDS: [usize; 5] = [0, 0, 0, 1, 1];
pub const NODES: usize = SHARDS.len();
/// The longest time between two beats of a node: its cron, and the messages that it takes.
const BEAT_US: u64 = 200_000;
/// The longest time that a message takes, usually.
pub const LINK_US: u64 = 50_000;

pub struct World {
    pub t: u64,
    /// Of the present step alone, so that a history goes on as before when another step is left out.
    pub dice: Dice,
    pub machines: Vec<Machine>,
    pub nodes: Vec<Node>,
    /// The shard that each queue belongs to.
    pub owners: [usize; QUEUES],
    pub judge: Judge,
    pub workers: Workers,
    pub story: Story,
    /// The last number that was given to a change, a stream or a promotion.
    drawn: u64,
}

impl World {
    pub fn new(seed: u64, story: Story) -> World {
        let mut dice = Dice(seed);
        let count = 2 + dice.below(NODES as u64 - 1);
        let machine = |dice: &mut Dice, id| {
            let wall_ahead_us = (dice.below(16 * 3600) as i64 - 8 * 3600) * 1_000_000;
            Machine::new(id, dice.below(400) as i64 - 200, wall_ahead_us)
        };
        let machines: Vec<Machine> = (1..=count).map(|id| machine(&mut dice, id)).collect();
        let t = 1;
        let nodes = (0..NODES).map(|at| {
            let on = at % machines.len();
            let now = Instant { t, reading: machines[on].reading(t), wall_us: machines[on].wall_us(t) };
            let mut node = Node::new(SHARDS[at], on, now);
            node.stream = Stream::new(1 + at as u64);
            node.disk.is_always_synced = dice.below(2) == 0;
            node.link.delay_us = LINK_US;
            node
        });
        let nodes = nodes.collect();
        let (judge, workers) = (Judge::default(), Workers::default());
        let mut world = World { t, dice, machines, nodes, owners: [0, 1], judge, workers, story, drawn: 100 };
        for at in [0, 3] {
            let (tenure, term) = (world.draws(), world.draws());
            let node = &mut world.nodes[at];
            (node.is_primary, node.tenure) = (true, tenure);
            node.term = Term { id: term, beginning: Beginning::Start };
            world.nodes[at].stream = Stream::new(term);
        }
        for (at, source) in [(1, 0), (2, 0), (4, 3)] {
            world.syncs(at, source);
        }
        world
    }

    pub fn draws(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub fn instant(&self, at: usize) -> Instant {
        let machine = &self.machines[self.nodes[at].machine];
        Instant { t: self.t, reading: machine.reading(self.t), wall_us: machine.wall_us(self.t) }
    }

    pub fn says(&mut self, line: impl FnOnce() -> String) {
        self.story.says(self.t, line);
    }

    /// The nodes that serve a queue as primaries, or believe to.
    pub fn servers(&self, queue: Name) -> Vec<usize> {
        let serves = |&at: &usize| {
            self.nodes[at].is_serving(self.t) && self.nodes[at].shard == self.nodes[at].owners[queue]
        };
        (0..NODES).filter(serves).collect()
    }

    /// A write on a primary. Queues are created by it if it changes anything.
    pub fn writes<R>(&mut self, at: usize, queue: Name, body: impl FnOnce(&mut Txn) -> R) -> R {
        let (instant, id) = (self.instant(at), self.draws());
        let node = &mut self.nodes[at];
        let now = node.now(instant);
        let mut copy = node.copies[queue].take().unwrap_or_else(Copy::new);
        let commit = Commit { id, t: self.t, now, tenure: node.tenure, reign: 0 };
        let is_loose = super::known::is_loose(node, &copy);
        let writer =
            Writer { commit, term: node.term, stamp: node.stamp(instant), is_loose, outage: node.outage };
        let mut txn = Txn::new(&mut copy, &mut self.judge, &mut self.dice, writer);
        txn.moves_due(8);
        let result = body(&mut txn);
        txn.settles();
        let message = txn.ends(queue);
        if copy.head != 0 {
            self.nodes[at].copies[queue] = Some(copy);
        }
        if let Some(message) = message {
            self.nodes[at].sent.has_changed = true;
            self.sends(at, message);
            if id % 4 == 0 {
                self.compares(at, queue);
            }
        }
        result
    }

    /// Tells the events of what a node has sent since `before`.
    pub fn tells_what_changed(&mut self, at: usize, before: u64) {
        let stream = &self.nodes[at].stream;
        for message in stream.after(stream.id, before).unwrap_or_default() {
            self.story.says(self.t, || message.to_string());
        }
    }

    /// Compares a copy with what others were after the same changes.
    pub fn compares(&mut self, at: usize, queue: Name) {
        if let Some(copy) = &self.nodes[at].copies[queue]
            && !copy.must_replicate_clock
        {
            self.judge.compares(queue, copy.head, &copy.queue);
        }
    }

    fn compares_if_known(&mut self, at: usize) {
        for (name, copy) in self.nodes[at].copies.iter().enumerate() {
            let Some(copy) = copy.as_ref().filter(|copy| !copy.must_replicate_clock) else { continue };
            self.judge.compares_if_known(name, copy.head, &copy.queue);
        }
    }

    /// Appends a message to a primary's file, and sends it to the replicas.
    pub fn sends(&mut self, from: usize, message: Message) {
        let message = Rc::new(message);
        self.nodes[from].disk.append(message.clone());
        self.nodes[from].stream.add(message.clone());
        self.passes_on(from, &message);
    }

    fn passes_on(&mut self, from: usize, message: &Rc<Message>) {
        for at in 0..NODES {
            let link = &mut self.nodes[at].link;
            if link.source == Some(from) && link.is_up {
                let arrives = self.t + self.dice.below(link.delay_us.max(1));
                link.carry(message.clone(), arrives);
            }
        }
    }

    pub fn sends_clock(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.copies.iter().all(Option::is_none) {
            return;
        }
        let (stamp, sent) = (node.stamp(self.instant(at)), &node.sent);
        let is_known = sent.last.is_some_and(|last| is_stamp_current(&last, &stamp, sent.has_changed));
        if is_known && !sent.is_due {
            return;
        }
        self.nodes[at].sent = super::node::Sent { last: Some(stamp), is_due: false, has_changed: false };
        self.says(|| {
            format!(
                "node {at} sends its clock: {} ms, ahead of its wall clock by {} ms",
                stamp.at().0,
                stamp.skew_ms()
            )
        });
        self.sends(at, Message::Clock { stamp, t: self.t });
    }

    // Links

    /// A replica connects to its primary: it gets what it lacks, or all data.
    pub fn syncs(&mut self, at: usize, source: usize) {
        let stream = &self.nodes[at].stream;
        let lacking = self.nodes[source].stream.after(stream.id, stream.offset);
        let node = &mut self.nodes[at];
        (node.is_primary, node.has_forgotten) = (false, false);
        node.link.breaks();
        (node.link.source, node.link.is_up) = (Some(source), true);
        match lacking {
            Some(messages) => {
                let (before, count) = (self.nodes[at].stream.offset, messages.len());
                self.says(|| format!("node {at} goes on as a replica of node {source}, after {before} messages, with {count}"));
                self.judge.count("partial resyncs");
                let id = self.nodes[source].stream.id;
                self.nodes[at].stream.renames(id);
                for message in messages {
                    let arrives = self.t + self.dice.below(LINK_US);
                    self.nodes[at].link.carry(message, arrives);
                }
            }
            None => self.syncs_fully(at, source),
        }
        self.nodes[source].sent.is_due = true;
    }

    fn syncs_fully(&mut self, at: usize, source: usize) {
        self.says(|| format!("node {at} gets all data of node {source}"));
        self.judge.count("full resyncs");
        let snapshot = self.nodes[source].snapshot(self.instant(source));
        let (instant, stream) = (self.instant(at), self.nodes[source].stream.clone());
        let node = &mut self.nodes[at];
        let hurry_us = node.loads(&snapshot, instant);
        assert_eq!(hurry_us, 0, "a snapshot from a running machine");
        node.disk.replace(snapshot);
        node.stream = stream;
        node.takes_over(instant);
        let clocks =
            [(at, instant), (source, self.instant(source))].map(|(at, now)| self.nodes[at].stamp(now).at().0);
        self.says(|| {
            format!("    its clock shows {} ms, and that of its primary {} ms", clocks[0], clocks[1])
        });
        // Its own replicas must get the new data.
        for other in 0..NODES {
            if self.nodes[other].link.source == Some(at) {
                self.nodes[other].link.breaks();
                self.nodes[other].stream = Stream::new(self.draws());
            }
        }
        self.compares_if_known(at);
    }

    /// Replicas whose link is broken connect again, if the other side is there.
    fn reconnects(&mut self, at: usize) {
        let link = &self.nodes[at].link;
        let Some(source) = link.source.filter(|_| !link.is_up && !link.is_cut) else { return };
        let from = &self.nodes[source];
        if from.is_up(self.t) && !from.link.is_cut && (from.is_primary || from.link.is_up) {
            self.syncs(at, source);
        }
    }

    /// The last primary of a shard, running or not.
    pub fn last_primary(&self, shard: usize) -> Option<usize> {
        let primaries = (0..NODES).filter(|&at| self.nodes[at].shard == shard && self.nodes[at].is_primary);
        primaries.max_by_key(|&at| self.nodes[at].tenure)
    }

    /// A node hears which shard owns which queue, unless it is cut off or an old primary. A primary deletes what it
    /// doesn't own.
    pub fn hears(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let shard = node.shard;
        if node.owners == self.owners || node.link.is_cut {
            return;
        }
        if self.nodes[at].is_primary && self.last_primary(shard) != Some(at) {
            return;
        }
        self.nodes[at].owners = self.owners;
        for queue in 0..QUEUES {
            let is_lost = self.owners[queue] != shard && self.nodes[at].copies[queue].is_some();
            if is_lost && self.nodes[at].is_primary {
                self.nodes[at].copies[queue] = None;
                self.sends(at, Message::Deleted { queue });
            }
        }
    }

    // The passing of time

    pub fn beats(&mut self, at: usize) {
        if !self.nodes[at].is_up(self.t) {
            return;
        }
        let instant = self.instant(at);
        self.hears(at);
        self.reconnects(at);
        let received = self.nodes[at].receives(instant);
        for message in &received {
            self.passes_on(at, message);
            if let Message::Effect { queue, commit, .. } = &**message
                && commit.id % 4 == 0
                && self.nodes[at].copies[*queue].as_ref().is_some_and(|copy| copy.head == commit.id)
            {
                self.compares(at, *queue);
            }
        }
        let now = self.nodes[at].now(instant);
        self.nodes[at].disk.beat(self.t);
        if !self.nodes[at].is_serving(self.t) {
            return;
        }
        for queue in 0..QUEUES {
            let Some(copy) = &self.nodes[at].copies[queue] else { continue };
            let now = now.ahead_by(copy.queue.clock_offset_ms());
            let is_due = copy.queue.next_due(&now).is_some_and(|due| due <= now.at);
            if (is_due || copy.must_replicate_clock) && self.nodes[at].owners[queue] == self.nodes[at].shard {
                let before = self.nodes[at].stream.offset;
                self.writes(at, queue, |txn| txn.moves_due(usize::MAX));
                self.says(|| format!("node {at} moves what is due in queue {queue}"));
                self.tells_what_changed(at, before);
            }
        }
        self.sends_clock(at);
    }

    pub fn passes(&mut self, us: u64) {
        let end = self.t + us;
        while self.t < end {
            self.t = (self.t + BEAT_US).min(end);
            (0..NODES).for_each(|at| self.beats(at));
        }
    }

    /// Looks at one copy: it must be as its history says.
    pub fn checks(&mut self, at: usize, queue: Name) {
        let instant = self.instant(at);
        let node = &mut self.nodes[at];
        let now = node.stamp(instant).at();
        let Some(copy) = node.copies[queue].as_ref().filter(|_| node.is_alive) else { return };
        let now = taskslot_engine::Now::plain(now.0).ahead_by(copy.queue.clock_offset_ms());
        copy.ledger.check(&copy.queue, &now);
        if !copy.must_replicate_clock {
            self.judge.compares_if_known(queue, copy.head, &copy.queue);
        }
    }

    pub fn snapshot(&self, at: usize) -> Snapshot {
        self.nodes[at].snapshot(self.instant(at))
    }
}
