//! Terms: the periods in which one node is the primary, and the lease numbers of each.

use crate::bounds::CLOCK_OFFSET_MAX_MS;
use crate::event::Event;
use crate::request::{Beginning, Term};
use crate::state::State;
use crate::task::LeaseNumber;
use crate::time::{Now, Stamp};

/// By how much the lease numbers of a promoted primary exceed those of its predecessor: 19 hours in microseconds, more
/// than any clock is wrong.
const PROMOTION_STEP: u64 = 1 << 36;
/// A primary that restarts may have lost its last claims. It skips the numbers of this many microseconds (16 s).
/// Thousands of restarts add up to less than one promotion, so the numbers stay below a successor's.
const START_STEP: u64 = 1 << 24;

impl Term {
    /// By how much the node's lease numbers are ahead of its clock from this term on, in addition to what they were, in
    /// microseconds.
    ///
    /// A part of it is random, so that two terms that begin from the same data don't give the same numbers: two
    /// replicas that are both promoted (below 2^32, which are 71 minutes), or two starts after clocks were set back
    /// (below 2^20, a second). Of two starts that know of the same claims, the later one gives the higher numbers if its
    /// first claim is more than a second after the last one of the other.
    pub fn step_us(&self) -> u64 {
        match self.beginning {
            Beginning::Start => START_STEP + self.id % (1 << 20),
            Beginning::Promotion => PROMOTION_STEP + self.id % (1 << 32),
        }
    }
}

/// Lease numbers follow the clock up to this one (the year 2253). Above it, each is the last plus 1, so that a clock
/// that was set far ahead does not use them up.
pub(crate) const CLOCK_NUMBER_MAX: u64 = LeaseNumber::MAX.0 - (1 << 46);

impl State {
    /// What a primary records before its first change of a queue; `None` if the queue's term is already its own. The
    /// lease number is a fencing token: a primary that was replaced, lives on or restarts never gives a number as high
    /// as its successor's.
    pub fn begin_term(&self, now: Now, term: Term) -> Option<Event<'static>> {
        if self.term == term.id && !self.has_arrived {
            return None;
        }
        let (last, clock) = (self.last_lease.0, now.lease_number(CLOCK_NUMBER_MAX));
        // The clock's number includes the term's step.
        let level = clock.saturating_add(self.ahead_us);
        let floor = match term.beginning {
            // A queue that no primary has changed yet has nothing to lose.
            Beginning::Start if self.term == 0 && last == 0 && self.ahead_us == 0 => 0,
            // The clock shows less than it did before.
            _ if level <= last => last.saturating_add(term.step_us()),
            _ => level,
        };
        let most = LeaseNumber::MAX.0;
        Some(Event::Term { term: term.id, floor: LeaseNumber(floor.min(most)), clocks: None })
    }

    /// How far a lease number is above the one that the clocks of the queue's node showed, in microseconds; 0 if it is
    /// below.
    pub(crate) fn ahead_of(&self, clocks: &Stamp, number: LeaseNumber) -> u64 {
        number.0.saturating_sub(self.number_at(clocks))
    }

    /// The queue came here from another node. The clocks there showed `written`, and those here show `here`. The queue's
    /// clock is `offset_ms` ahead of this node's. Lease numbers go on above those that the other node could have given.
    pub(crate) fn arrive(&mut self, written: &Stamp, here: &Stamp, offset_ms: i64) {
        let level = self.number_at(written).saturating_add(self.ahead_us).min(LeaseNumber::MAX.0);
        self.clock_offset_ms = offset_ms.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS);
        self.ahead_us = self.ahead_of(here, self.last_lease.max(LeaseNumber(level)));
        self.has_arrived = true;
    }

    /// The lease number that a node's clocks showed, on the queue's clock.
    pub(crate) fn number_at(&self, clocks: &Stamp) -> u64 {
        let plain = Now { lead_us: clocks.lead_us, ..Now::plain(clocks.at().0) };
        plain.ahead_by(self.clock_offset_ms).lease_number(CLOCK_NUMBER_MAX)
    }
}
