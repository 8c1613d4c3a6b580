//! Terms: the periods in which one node is the primary, and the lease numbers of each.

use crate::event::Event;
use crate::request::{Beginning, Term};
use crate::state::State;
use crate::task::LeaseNumber;
use crate::time::Now;

/// By how much the lease numbers of a promoted primary exceed those of its predecessor: 19 hours in microseconds, more
/// than any clock is wrong.
pub const PROMOTION_STEP: u64 = 1 << 36;
/// A primary that restarts may have lost its last claims. It skips the numbers of this many microseconds (16 s), plus a
/// random part of the same span, because an earlier start may have lost claims too. Thousands of restarts add up to
/// less than one promotion, so the numbers stay below a successor's.
const RESTART_STEP: u64 = 1 << 24;
/// Lease numbers follow the clock up to this one (the year 2253). Above it, each is the last plus 1, so that a clock
/// that was set far ahead does not use them up.
pub(crate) const CLOCK_NUMBER_MAX: u64 = LeaseNumber::MAX.0 - (1 << 46);

impl State {
    /// What a primary records before its first change of a queue; `None` if the queue's term is already its own. The
    /// lease number is a fencing token: a primary that was replaced, lives on or restarts never gives a number as high
    /// as its successor's.
    pub fn begin_term(&self, now: Now, term: Term) -> Option<Event<'static>> {
        if self.term == term.id {
            return None;
        }
        let (last, clock) = (self.last_lease.0, now.lease_number(CLOCK_NUMBER_MAX));
        let floor = match term.beginning {
            // A queue that no primary has changed yet has nothing to lose.
            Beginning::Start if self.term == 0 && last == 0 => 0,
            Beginning::Start => last.max(clock).saturating_add(RESTART_STEP + term.id % RESTART_STEP),
            // The clock's number is already ahead by this much.
            Beginning::Promotion => last.saturating_add(PROMOTION_STEP).max(clock),
        };
        let most = LeaseNumber::MAX.0;
        Some(Event::Term { term: term.id, floor: LeaseNumber(floor.min(most)), clocks: None })
    }
}
