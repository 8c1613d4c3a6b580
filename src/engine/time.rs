//! Instants, spans and the two clocks. The engine reads no clock: the caller passes the time to each call.

use serde::{Deserialize, Serialize};

use crate::bounds::SPAN_MAX_MS;

/// An instant: milliseconds since the Unix epoch. Spans are plain integers whose names end in `_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The last instant that a queue can store (in the year 10889): instants have six bytes.
    pub const MAX: Millis = Millis((1 << 48) - 1);

    /// [`Millis::MAX`] in microseconds.
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

/// The earlier of two instants, if there is one.
pub(crate) fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The present time and the condition of the server, as the caller states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The queue's clock, on which spans run. It neither jumps nor goes backwards.
    pub at: Millis,
    /// The wall clock, which `AT` and `CRON` follow.
    pub wall: Millis,
    /// Set during a grace, in which deadlines that passed while the server could not serve are not acted on yet.
    pub grace: Option<Grace>,
    /// Whether the server is out of memory. If it is, schedules make no runs.
    pub is_full: bool,
    /// How far lease numbers are ahead of the clock, in microseconds. Each start and each promotion increases it.
    pub lead_us: u64,
}

/// A grace after a period in which the server could not serve. Leases that ended in that period are spared until
/// `until`, so that workers whose answers were already on the way are heard first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// When the server stopped serving. Deadlines up to here are not spared.
    pub from: Millis,
    /// When it served again. Deadlines after this are not spared.
    pub to: Millis,
    /// When the deadlines in between are acted on.
    pub until: Millis,
}

/// How often pages of leases are examined during a grace, when their bounds say little.
const GRACE_STEP_MS: u64 = 10;

impl Now {
    /// A time at which both clocks agree and no grace runs.
    pub fn plain(ms: u64) -> Now {
        Now { at: Millis(ms), wall: Millis(ms), grace: None, is_full: false, lead_us: 0 }
    }

    /// The same time for a queue whose clock is ahead of the node's: see [`crate::State::clock_offset_ms`].
    pub fn ahead_by(self, offset_ms: i64) -> Now {
        let on = |at: Millis| Millis(at.0.saturating_add_signed(offset_ms)).min(Millis::MAX);
        let grace = self.grace.map(|g| Grace { from: on(g.from), to: on(g.to), until: on(g.until) });
        Now { at: on(self.at), grace, ..self }
    }

    /// The lease number for this instant, at most `most`.
    pub(crate) fn lease_number(&self, most: u64) -> u64 {
        self.at.0.saturating_mul(1000).saturating_add(self.lead_us).min(most)
    }

    /// Whether a lease with this deadline has ended.
    pub fn is_over(&self, deadline: Millis) -> bool {
        deadline <= self.at && !self.spares(deadline)
    }

    fn spares(&self, deadline: Millis) -> bool {
        self.grace.is_some_and(|g| self.at < g.until && g.from < deadline && deadline <= g.to)
    }

    /// When to examine leases that end at `bound` or later, on the queue's clock.
    pub(crate) fn lease_due(&self, bound: Millis) -> Millis {
        match self.grace {
            Some(grace) if self.spares(bound) => grace.until.min(self.at.plus(GRACE_STEP_MS)),
            _ => bound,
        }
    }

    /// Converts an instant of the wall clock to the queue's clock.
    pub(crate) fn wall_on_clock(&self, wall: Millis) -> Millis {
        Millis(wall.0.saturating_add(self.at.0).saturating_sub(self.wall.0))
    }

    /// Converts an instant of the queue's clock to the wall clock.
    pub(crate) fn clock_on_wall(self, at: Millis) -> Millis {
        Millis(at.0.saturating_add(self.wall.0).saturating_sub(self.at.0))
    }
}

/// What the clocks of a node showed at one instant, in microseconds. Another process can continue the node's clock from
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's clock, on which spans run.
    pub at_us: u64,
    /// The wall clock.
    pub wall_us: u64,
    /// Identifies the machine (upper half) and its boot (lower half) by random numbers, equal for all processes since
    /// that boot.
    pub boot: u64,
    /// The time since that boot, including time asleep. It is never set.
    pub up_us: u64,
    /// How far the node's lease numbers are ahead of its clock.
    pub lead_us: u64,
}

impl Stamp {
    /// How far the node's clock is ahead of the wall clock, in ms.
    pub fn skew_ms(&self) -> i64 {
        (self.at_us / 1000) as i64 - (self.wall_us / 1000) as i64
    }

    /// How far the node's clock is ahead of the time since boot, in ms.
    pub fn ahead_of_start_ms(&self) -> i64 {
        (self.at_us / 1000) as i64 - (self.up_us / 1000) as i64
    }

    /// The node's clock in milliseconds.
    pub fn at(&self) -> Millis {
        Millis(self.at_us / 1000)
    }

    /// Whether a queue can store all of these instants.
    pub fn is_valid(&self) -> bool {
        [self.at_us, self.wall_us, self.up_us, self.lead_us].into_iter().all(|us| us <= Millis::MAX_US)
    }
}

/// An instant, and the clock it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Due {
    /// On the queue's clock: it results from a span (DELAY, backoff, EVERY).
    #[serde(rename = "c")]
    Clock(Millis),
    /// On the wall clock: a caller named it (AT, CRON).
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

    /// The same, but at most the last instant that a queue can store.
    pub(crate) fn bounded(self) -> Due {
        match self {
            Due::Clock(at) => Due::Clock(at.min(Millis::MAX)),
            Due::Wall(at) => Due::Wall(at.min(Millis::MAX)),
        }
    }

    /// The instant, or `last` on the queue's clock if that is earlier; `None` if `last` has passed then.
    pub fn no_later_than(self, last: Millis, now: &Now) -> Option<Due> {
        match last < self.on_clock(now) {
            true => Some(Due::Clock(last)).filter(|_| last > now.at),
            false => Some(self),
        }
    }

    /// The instant on its own clock.
    pub fn instant(self) -> Millis {
        match self {
            Due::Clock(at) | Due::Wall(at) => at,
        }
    }
}

/// When a task becomes ready, as its push says it: from the push on, or for a held task from when it waits for nothing
/// any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum When {
    /// At once.
    #[default]
    #[serde(rename = "n")]
    Now,
    /// After this many ms.
    #[serde(rename = "d")]
    After(u64),
    /// At this instant of the wall clock.
    #[serde(rename = "w")]
    At(Millis),
}

impl When {
    /// The instant; `None` if it is now or in the past.
    pub fn due(self, now: &Now) -> Option<Due> {
        match self {
            When::After(ms) if ms > 0 => Some(Due::Clock(now.at.plus(ms))),
            When::At(at) if at > now.wall => Some(Due::Wall(at)),
            _ => None,
        }
    }

    /// The instant from `at` on; `None` for at once. Unlike [`When::due`] it does not know the wall clock: whether an
    /// instant there has passed is for the tick to find out.
    pub(crate) fn due_from(self, at: Millis) -> Option<Due> {
        match self {
            When::Now => None,
            When::After(ms) => Some(Due::Clock(at.plus(ms))),
            When::At(wall) => Some(Due::Wall(wall)),
        }
    }

    /// The same in bounds, and at once if the delay is 0.
    pub(crate) fn bounded(self) -> When {
        match self {
            When::Now | When::After(0) => When::Now,
            When::After(ms) => When::After(ms.min(SPAN_MAX_MS as u64)),
            When::At(at) => When::At(at.min(Millis::MAX)),
        }
    }

    /// Whether it is within bounds, and written as a caller means it: no delay of 0 ms.
    pub(crate) fn is_valid(self) -> bool {
        match self {
            When::Now => true,
            When::After(ms) => (1..=SPAN_MAX_MS as u64).contains(&ms),
            When::At(at) => at <= Millis::MAX,
        }
    }
}
