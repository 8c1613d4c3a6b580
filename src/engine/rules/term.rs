//! Terms: the time in which one node is the primary, and the lease numbers that come with it.

use crate::event::Event;
use crate::request::{Beginning, Term};
use crate::state::State;
use crate::task::LeaseNumber;
use crate::time::Now;

/// How far a promoted primary's lease numbers run ahead of those of the one before it: 19 hours of microseconds, more than
/// any clock is wrong.
pub const PROMOTION_STEP: u64 = 1 << 36;
/// A primary that starts again may have lost its last claims: it skips the numbers of this many microseconds (16 s), and a
/// random part of as many more, since it may have lost those of a start before. Thousands of starts are less than one
/// promotion, so its numbers stay below a successor's.
const RESTART_STEP: u64 = 1 << 24;
/// Lease numbers follow the clock up to here, the year 2253; from there on each is the last and one, so that a clock that was
/// set far ahead doesn't use them up.
pub(crate) const CLOCK_NUMBER_MAX: u64 = LeaseNumber::MAX.0 - (1 << 46);

impl State {
    /// What a primary says before its first change of a queue; `None` where the term is its own. The lease number is a
    /// fencing token: no primary that was replaced, lives on or starts again gives one that is as high as its successor's.
    pub fn begin_term(&self, now: Now, term: Term) -> Option<Event<'static>> {
        if self.term == term.id {
            return None;
        }
        let (last, clock) = (self.last_lease.0, now.lease_number(CLOCK_NUMBER_MAX));
        let floor = match term.beginning {
            // A queue that nobody has changed yet has nothing to lose.
            Beginning::Start if self.term == 0 && last == 0 => 0,
            Beginning::Start => last.max(clock).saturating_add(RESTART_STEP + term.id % RESTART_STEP),
            // The clock's number is ahead by as much already.
            Beginning::Promotion => last.saturating_add(PROMOTION_STEP).max(clock),
        };
        let most = LeaseNumber::MAX.0;
        Some(Event::Term { term: term.id, floor: LeaseNumber(floor.min(most)), clocks: None })
    }
}
