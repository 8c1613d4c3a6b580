//! A write on a primary, as the module does it: due work first, then the command, then what follows from it. One effect
//! has all of its events.

use std::rc::Rc;

use taskslot_engine::{Claim, ClaimTurns, Effect, Event, Lease, Millis, Now, Stamp, Term};

use super::judge::Judge;
use super::ledger::{Ledger, Outage, Watch};
use super::message::{Commit, Message, NAME, Name};
use super::node::Copy;
use crate::dice::Dice;

pub struct Txn<'w> {
    pub copy: &'w mut Copy,
    pub judge: &'w mut Judge,
    pub dice: &'w mut Dice,
    pub now: Now,
    pub t: u64,
    commit: Commit,
    term: Term,
    stamp: Stamp,
    /// The numbers of this promotion need not be above those before: see [`super::known`].
    is_loose: bool,
    outage: Option<Outage>,
    effect: Effect,
    payloads: Vec<Vec<u8>>,
    events: u64,
}

/// What a node states at the beginning of a write.
pub struct Writer {
    pub commit: Commit,
    pub term: Term,
    pub stamp: Stamp,
    pub is_loose: bool,
    /// The last outage, on the node's clock.
    pub outage: Option<Outage>,
}

impl<'w> Txn<'w> {
    pub fn new(copy: &'w mut Copy, judge: &'w mut Judge, dice: &'w mut Dice, writer: Writer) -> Txn<'w> {
        let Writer { commit, term, stamp, is_loose, outage } = writer;
        copy.keeps_clock(&stamp);
        let now = commit.now.ahead_by(copy.queue.clock_offset_ms());
        let commit = Commit { now, reign: copy.ledger.reign, ..commit };
        let (t, effect, payloads) = (commit.t, Effect::default(), Vec::new());
        let mut txn = Txn {
            copy,
            judge,
            dice,
            now,
            t,
            commit,
            term,
            stamp,
            is_loose,
            outage,
            effect,
            payloads,
            events: 0,
        };
        if std::mem::take(&mut txn.copy.must_replicate_clock) {
            let event = txn.copy.queue.clock_event();
            txn.record(&event, Watch::Decided);
        }
        txn
    }

    pub fn ledger(&self) -> &Ledger {
        &self.copy.ledger
    }

    /// Moves due tasks, at most so many pages of them.
    pub fn moves_due(&mut self, mut pages: usize) {
        while let Some(event) = self.ticks(&mut pages) {
            self.commit(&event);
        }
    }

    /// Tells held tasks what this write has ended.
    pub fn settles(&mut self) {
        let mut steps = 0;
        while self.copy.queue.has_news() && steps < 100 {
            let Some(event) = self.ticks(&mut 2) else { break };
            self.commit(&event);
            steps += 1;
        }
    }

    fn ticks(&mut self, pages: &mut usize) -> Option<Event<'static>> {
        let Txn { copy, dice, now, .. } = self;
        copy.queue.tick(*now, &mut || dice.roll() as u32, pages)
    }

    pub fn commit(&mut self, event: &Event) {
        self.begins_term();
        self.record(event, Watch::Decided);
    }

    /// Leases end because their connection was closed.
    pub fn abandons(&mut self, event: &Event) {
        self.begins_term();
        self.record(event, Watch::Disconnected);
    }

    /// A push, or another event with payloads. Done tasks make room first.
    pub fn commit_push(&mut self, event: &Event) {
        while let Some(room) = self.copy.queue.make_room(event) {
            self.commit(&room);
        }
        self.commit(event);
        self.payloads.extend(event.changes().payloads.iter().map(|payload| payload.to_vec()));
    }

    /// Begins the node's term in the queue. A new queue begins a reign by it, and so does one that may have forgotten how
    /// high its numbers were.
    pub fn begins_term(&mut self) {
        let Some(mut event) = self.copy.queue.begin_term(self.now, self.term) else { return };
        let Event::Term { clocks, .. } = &mut event else { return };
        *clocks = Some(self.stamp);
        let ledger = &self.copy.ledger;
        if ledger.tenure != self.commit.tenure || self.is_loose {
            let parent = (ledger.tenure != 0).then_some(ledger.reign);
            self.commit.reign = self.judge.reign(parent, self.is_loose);
        }
        self.record(&event, Watch::Decided);
    }

    fn record(&mut self, event: &Event, watch: Watch) {
        self.applies(event, watch);
        self.effect.add(event);
    }

    fn applies(&mut self, event: &Event, watch: Watch) {
        let ledger = Rc::make_mut(&mut self.copy.ledger);
        ledger.sees(&self.commit, self.events, event, watch);
        if let (Event::Stalled { tasks }, Watch::Decided, Some(outage)) = (event, watch, self.outage) {
            let offset_ms = self.copy.queue.clock_offset_ms();
            let here = |at: Millis| Millis(at.0.saturating_add_signed(offset_ms));
            let outage = Outage { from: here(outage.from), to: here(outage.to) };
            tasks.iter().for_each(|(id, _)| ledger.was_spared(*id, outage, self.now.at));
        }
        if let Event::Claimed { leases, .. } = event {
            for lease in leases {
                self.judge.gives(ledger.reign, ledger.uid(lease.id), lease.number.0);
            }
        }
        self.copy.queue.apply(event).unwrap();
        self.events += 1;
    }

    /// Claims turn by turn. Together the turns are one event, as in the module. Returns the leases.
    pub fn claims(&mut self, claim: Claim<'_>) -> Vec<Lease> {
        if let Some(event) = self.copy.queue.pass_over(self.now, &claim) {
            self.commit(&event);
        }
        let (mut turns, mut all) = (ClaimTurns::new(claim), None);
        loop {
            let Txn { copy, dice, now, .. } = self;
            let Ok(Some(turn)) = turns.turn(&copy.queue, *now, &mut || dice.roll() as u32) else { break };
            if let Event::Expired { .. } = turn {
                self.commit(&turn);
                continue;
            }
            if all.is_none() && self.copy.queue.begin_term(self.now, self.term).is_some() {
                // The numbers of the term are higher, so the turn is decided again.
                self.begins_term();
                turns = ClaimTurns::new(claim);
                continue;
            }
            self.applies(&turn, Watch::Decided);
            match (&mut all, turn) {
                (Some(Event::Claimed { leases, .. }), Event::Claimed { leases: more, .. }) => {
                    leases.extend(more)
                }
                (Some(Event::Taken { ids, .. }), Event::Taken { ids: more, .. }) => ids.extend(more),
                (all, turn) => *all = Some(turn),
            }
        }
        all.iter().for_each(|event| self.effect.add(event));
        match all {
            Some(Event::Claimed { leases, .. }) => leases,
            _ => Vec::new(),
        }
    }

    /// Ends the write. Returns what replicas and the file get; `None` if nothing has changed.
    pub fn ends(mut self, queue: Name) -> Option<Message> {
        if self.effect.is_empty() {
            return None;
        }
        let bytes = {
            let (number, payloads) =
                (self.copy.queue.count_effect(), self.payloads.iter().map(Vec::as_slice));
            self.effect.seal(number, self.now.at, NAME, payloads).to_vec()
        };
        self.copy.head = self.commit.id;
        Some(Message::Effect { queue, bytes, payloads: self.payloads, commit: self.commit })
    }
}
