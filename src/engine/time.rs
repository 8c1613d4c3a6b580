//! Instants and what "now" is. The engine reads no clock: whoever calls it says what time it is.

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since the Unix epoch. Spans are plain integers whose names end in `_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The last instant a queue can hold (the year 10889): instants are stored in six bytes.
    pub const MAX: Millis = Millis((1 << 48) - 1);

    /// The same in microseconds.
    pub const MAX_US: u64 = Self::MAX.0 * 1000;

    /// The instant `span_ms` later, at most [`Millis::MAX`].
    pub fn plus(self, span_ms: u64) -> Millis {
        Millis(self.0.saturating_add(span_ms)).min(Self::MAX)
    }

    /// Milliseconds from `earlier` to this instant; 0 if it isn't earlier.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a caller says about the time of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The queue's clock, on which spans run: it neither jumps nor goes backwards.
    pub at: Millis,
    /// The wall clock, which `AT` follows.
    pub wall: Millis,
    /// Set while deadlines that passed when the server could not serve are held back.
    pub grace: Option<Grace>,
    /// The server is out of memory: schedules make no runs.
    pub is_full: bool,
    /// How far lease numbers are ahead of the clock, in microseconds: more with each promotion in the line of primaries.
    pub lead_us: u64,
}

/// A time in which nobody could be heard: leases that ran out in it are spared until `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// When the server stopped serving: deadlines up to here are over as ever.
    pub from: Millis,
    /// When it served again: deadlines after it are over as ever.
    pub to: Millis,
    /// When the deadlines between the two are acted on.
    pub until: Millis,
}

/// While a grace runs, pages of leases are looked through this often, since their bounds tell too little then.
const GRACE_STEP_MS: u64 = 10;

impl Now {
    /// A now on which both clocks agree and no grace runs.
    pub fn plain(ms: u64) -> Now {
        Now { at: Millis(ms), wall: Millis(ms), grace: None, is_full: false, lead_us: 0 }
    }

    /// The same now for a queue whose clock is so far ahead of the node's; see [`crate::State::clock_offset_ms`].
    pub fn ahead_by(self, offset_ms: i64) -> Now {
        let on = |at: Millis| Millis(at.0.saturating_add_signed(offset_ms)).min(Millis::MAX);
        let grace = self.grace.map(|g| Grace { from: on(g.from), to: on(g.to), until: on(g.until) });
        Now { at: on(self.at), grace, ..self }
    }

    /// The lease number that belongs to this instant, at most `most`.
    pub(crate) fn lease_number(&self, most: u64) -> u64 {
        self.at.0.saturating_mul(1000).saturating_add(self.lead_us).min(most)
    }

    /// Whether a lease with this deadline is over.
    pub fn is_over(&self, deadline: Millis) -> bool {
        deadline <= self.at && !self.spares(deadline)
    }

    fn spares(&self, deadline: Millis) -> bool {
        self.grace.is_some_and(|g| self.at < g.until && g.from < deadline && deadline <= g.to)
    }

    /// When to look at leases none of which ends before `bound`, on the queue's clock.
    pub(crate) fn lease_due(&self, bound: Millis) -> Millis {
        match self.grace {
            Some(grace) if self.spares(bound) => grace.until.min(self.at.plus(GRACE_STEP_MS)),
            _ => bound,
        }
    }

    /// An instant of the wall clock, told by the queue's clock.
    pub(crate) fn wall_on_clock(&self, wall: Millis) -> Millis {
        Millis(wall.0.saturating_add(self.at.0).saturating_sub(self.wall.0))
    }

    /// An instant of the queue's clock, told by the wall clock.
    pub(crate) fn clock_on_wall(self, at: Millis) -> Millis {
        Millis(at.0.saturating_add(self.wall.0).saturating_sub(self.at.0))
    }
}

/// What a node's clocks showed at one instant, in microseconds, so that another process can carry its clock on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's clock, on which spans run.
    pub at_us: u64,
    /// The wall clock.
    pub wall_us: u64,
    /// Which machine, in the upper half, and which start of it, in the lower: random numbers, the same for all that runs
    /// there since.
    pub boot: u64,
    /// Since that start; the machine may have slept meanwhile.
    pub up_us: u64,
    /// How far the node's lease numbers are ahead of its clock.
    pub lead_us: u64,
}

impl Stamp {
    /// How far the node's clock is ahead of the wall clock.
    pub fn skew_ms(&self) -> i64 {
        (self.at_us / 1000) as i64 - (self.wall_us / 1000) as i64
    }

    /// How far it is ahead of the time since the machine's start.
    pub fn ahead_of_start_ms(&self) -> i64 {
        (self.at_us / 1000) as i64 - (self.up_us / 1000) as i64
    }

    /// The node's clock.
    pub fn at(&self) -> Millis {
        Millis(self.at_us / 1000)
    }

    /// Whether every instant is one that a queue can hold.
    pub fn is_valid(&self) -> bool {
        [self.at_us, self.wall_us, self.up_us, self.lead_us].into_iter().all(|us| us <= Millis::MAX_US)
    }
}

/// An instant together with the clock that it is an instant of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Due {
    /// On the queue's clock: what came from a span (DELAY, backoff).
    #[serde(rename = "c")]
    Clock(Millis),
    /// On the wall clock: what a caller named (AT).
    #[serde(rename = "w")]
    Wall(Millis),
}

impl Due {
    /// The instant on the queue's clock, as far as that can be known now.
    pub fn on_clock(self, now: &Now) -> Millis {
        match self {
            Due::Clock(at) => at,
            Due::Wall(at) => now.wall_on_clock(at),
        }
    }

    /// The same, but no later than a queue can hold.
    pub(crate) fn bounded(self) -> Due {
        match self {
            Due::Clock(at) => Due::Clock(at.min(Millis::MAX)),
            Due::Wall(at) => Due::Wall(at.min(Millis::MAX)),
        }
    }

    /// The instant on its own clock.
    pub fn instant(self) -> Millis {
        match self {
            Due::Clock(at) | Due::Wall(at) => at,
        }
    }
}
