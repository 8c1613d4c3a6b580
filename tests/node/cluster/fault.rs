//! What befalls nodes, machines and links, and what operators do.

use std::rc::Rc;

use taskslot_engine::{Beginning, Event, Term};

use super::known;
use super::message::{Dump, Message, NAME};
use super::node::{Copy, QUEUES};
use super::step::{Step, Verb};
use super::world::{LINK_US, NODES, World};
use crate::dice::Dice;

impl World {
    pub fn step(&mut self, step: Step) {
        self.dice = Dice(step.seed);
        // No two steps are at one instant, mostly.
        self.t += self.dice.below(2000);
        let at = self.dice.below(NODES as u64) as usize;
        match step.verb {
            Verb::Pass => {
                let us = self
                    .dice
                    .pick(&[1000, 10_000, 10_000, 150_000, 150_000, 1_000_000, 4_000_000, 30_000_000]);
                self.passes(us);
            }
            Verb::Promote => self.promotes(at),
            Verb::Demote => self.demotes(at),
            Verb::Kill => self.kills(at),
            Verb::CutPower => self.cuts_power(self.nodes[at].machine),
            Verb::Start => self.starts(at),
            Verb::CutLink => {
                self.says(|| format!("the link of node {at} is cut"));
                let link = &mut self.nodes[at].link;
                link.is_cut = true;
                link.breaks();
            }
            Verb::HealLink => {
                self.nodes[at].link.is_cut = false;
                self.nodes[at].link.delay_us = LINK_US;
            }
            Verb::SlowLink => self.nodes[at].link.delay_us = self.dice.pick(&[500_000, 2_000_000]),
            Verb::Sleep => {
                let us = self.dice.pick(&[300_000, 2_000_000, 20_000_000]);
                self.says(|| format!("node {at} stands still for {} ms", us / 1000));
                self.nodes[at].asleep_until = self.t + us;
            }
            Verb::PauseWrites => self.pauses_writes(at),
            Verb::SetWall => {
                let seconds = self.dice.pick(&[-7200, -3600, -60, -1, 1, 60, 3600, 7200]);
                let on = self.nodes[at].machine;
                self.says(|| format!("the wall clock of machine {on} is set by {seconds} s"));
                self.machines[on].set_wall(seconds * 1_000_000);
            }
            Verb::Rewrite => self.rewrites(at),
            Verb::Move => self.moves(),
            Verb::CrashLoop => self.crashes_again_and_again(at),
            Verb::Check => (0..QUEUES).for_each(|queue| self.checks(at, queue)),
            verb => self.client(verb),
        }
    }

    /// A replica is promoted, whatever becomes of the primary.
    pub fn promotes(&mut self, at: usize) {
        if self.nodes[at].is_primary || !self.nodes[at].is_up(self.t) || self.nodes[at].link.source.is_none()
        {
            return;
        }
        self.says(|| format!("node {at} is promoted"));
        self.judge.count("promotions");
        let id = self.draws() << 40 | self.dice.roll() >> 24;
        let (term, tenure) = (Term { id, beginning: Beginning::Promotion }, self.draws());
        let instant = self.instant(at);
        self.nodes[at].is_promoted(instant, term, tenure);
        for copy in self.nodes[at].copies.iter_mut().flatten() {
            Rc::make_mut(&mut copy.ledger).begins_reign(&mut self.judge, tenure);
        }
        self.hears(at);
        self.sends_clock(at);
    }

    /// A node follows the last primary of its shard.
    pub fn demotes(&mut self, at: usize) {
        let Some(source) = self.last_primary(self.nodes[at].shard) else { return };
        let link = &self.nodes[at].link;
        let is_right = link.source == Some(source) || link.is_cut || self.nodes[source].link.is_cut;
        if source == at || is_right || !self.nodes[at].is_up(self.t) || !self.nodes[source].is_up(self.t) {
            return;
        }
        self.says(|| format!("node {at} follows node {source}"));
        self.judge.count("demotions");
        self.syncs(at, source);
    }

    pub fn kills(&mut self, at: usize) {
        if self.nodes[at].is_alive {
            self.says(|| format!("node {at} is killed"));
            self.judge.count("kills");
            self.nodes[at].disk.is_left();
            self.is_gone(at);
        }
    }

    fn is_gone(&mut self, at: usize) {
        self.nodes[at].showed_us = self.nodes[at].stamp(self.instant(at)).at_us;
        self.nodes[at].is_alive = false;
        for link in self.nodes.iter_mut().map(|node| &mut node.link).filter(|link| link.source == Some(at)) {
            link.is_up = false;
        }
        self.nodes[at].link.breaks();
    }

    /// The power of a machine is cut: its nodes lose what was not synced.
    pub fn cuts_power(&mut self, on: usize) {
        if !self.machines[on].is_on {
            return;
        }
        self.says(|| format!("the power of machine {on} is cut"));
        self.judge.count("power cuts");
        for at in 0..NODES {
            if self.nodes[at].machine != on {
                continue;
            }
            let was_alive = self.nodes[at].is_alive;
            let spared = self.dice.below(3) as usize;
            let lost = self.nodes[at].disk.loses_power(spared);
            self.nodes[at].has_forgotten |= lost.iter().any(|message| has_beginning(message));
            if was_alive {
                self.says(|| format!("node {at} loses {} messages", lost.len()));
                self.is_gone(at);
            }
        }
        self.machines[on].is_on = false;
    }

    pub fn starts(&mut self, at: usize) {
        if self.nodes[at].is_alive {
            return;
        }
        let on = self.nodes[at].machine;
        if !self.machines[on].is_on {
            self.machines[on].boot(self.t);
            self.says(|| format!("machine {on} boots"));
        }
        self.says(|| format!("node {at} starts"));
        let (id, stream) = (self.draws() << 40 | self.dice.roll() >> 24, self.draws());
        let instant = self.instant(at);
        let node = &mut self.nodes[at];
        node.term = Term { id, beginning: Beginning::Start };
        node.start(instant);
        node.has_forgotten |= node.stamp(instant).at_us + node.term.step_us() < node.showed_us;
        node.stream = super::link::Stream::new(stream);
        if self.nodes[at].is_primary {
            self.sends_clock(at);
        }
        // The module looks at each queue that it has loaded, before it serves clients.
        for queue in 0..QUEUES {
            if self.nodes[at].copies[queue].is_some() && self.servers(queue).contains(&at) {
                self.writes(at, queue, |txn| txn.moves_due(usize::MAX));
            }
        }
        (0..QUEUES).for_each(|queue| self.checks(at, queue));
    }

    fn pauses_writes(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.are_writes_paused = node.is_alive && !node.are_writes_paused;
        let is_paused = node.are_writes_paused;
        self.says(|| format!("writes at node {at} are paused: {is_paused}"));
    }

    fn rewrites(&mut self, at: usize) {
        if self.nodes[at].is_up(self.t) {
            self.says(|| format!("node {at} rewrites its file"));
            let snapshot = self.snapshot(at);
            let done_at = self.t + self.dice.pick(&[0, 500_000, 3_000_000]);
            self.nodes[at].disk.rewrite(snapshot, done_at);
        }
    }

    /// A queue is moved to the other shard, by DUMP and RESTORE.
    fn moves(&mut self) {
        let queue = self.dice.below(QUEUES as u64) as usize;
        let (from, to) = (self.owners[queue], 1 - self.owners[queue]);
        let (Some(source), Some(target)) = (self.last_primary(from), self.last_primary(to)) else { return };
        let is_ready = [source, target]
            .iter()
            .all(|&at| self.nodes[at].is_serving(self.t) && !self.nodes[at].link.is_cut);
        let stamp = self.nodes[source].stamp(self.instant(source));
        if !is_ready || self.nodes[source].copies[queue].is_none() {
            return;
        }
        let Some(copy) = self.nodes[source].copies[queue].take() else { return };
        let mut dump = copy.dump(stamp, self.t);
        Rc::make_mut(&mut dump.ledger).has_forgotten |= self.nodes[source].has_forgotten;
        self.says(|| format!("queue {queue} is moved from node {source} to node {target}"));
        self.judge.count("moves");
        self.owners[queue] = to;
        self.hears(source);
        self.sends(source, Message::Deleted { queue });
        let way_us = self.dice.pick(&[0, 0, 0, 300_000, 2_000_000]);
        self.passes(way_us);
        self.hears(target);
        Rc::make_mut(&mut dump.ledger).begins_reign(&mut self.judge, self.nodes[target].tenure);
        self.restores(target, queue, Rc::new(dump));
    }

    fn restores(&mut self, at: usize, queue: usize, dump: Rc<Dump>) {
        let (head, stamp) = (self.draws(), self.nodes[at].stamp(self.instant(at)));
        let mut copy = Copy { head, ..Copy::load(&dump) };
        copy.keeps_clock(&stamp);
        self.nodes[at].copies[queue] = Some(copy);
        if known::a_restored_queue_lacks_a_stamp() {
            self.nodes[at].sent.is_due = true;
            self.sends_clock(at);
        }
        self.sends(at, Message::Restored { queue, dump, head });
    }

    /// Kills a node repeatedly, each time before the longest grace is over. Its short leases must end all the same.
    fn crashes_again_and_again(&mut self, at: usize) {
        let queue = self.nodes[at].owners.iter().position(|&shard| shard == self.nodes[at].shard);
        let Some(queue) = queue.filter(|_| self.nodes[at].is_serving(self.t)) else { return };
        if self.last_primary(self.nodes[at].shard) != Some(at) {
            return;
        }
        self.judge.count("crash loops");
        let since = self.t;
        self.writes(at, queue, |txn| _ = txn.claims(taskslot_engine::Claim::default()));
        for _ in 0..7 {
            self.kills(at);
            self.passes(300_000);
            self.starts(at);
            self.passes(4_000_000);
        }
        let overdue =
            self.nodes[at].copies[queue].as_ref().and_then(|copy| copy.ledger.overdue(10_000, since, self.t));
        assert_eq!(overdue, None, "a lease that does not end, though its node runs in between");
    }
}

/// Whether a message is the beginning of a term, or shows how far lease numbers run ahead of the clock.
fn has_beginning(message: &Message) -> bool {
    match message {
        Message::Effect { bytes, payloads, .. } => {
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let effect = taskslot_engine::Effect::decode(NAME, bytes, &payloads).unwrap();
            effect.events.iter().any(|event| matches!(event, Event::Term { .. }))
        }
        Message::Clock { .. } => true,
        Message::Restored { .. } | Message::Deleted { .. } => false,
    }
}
