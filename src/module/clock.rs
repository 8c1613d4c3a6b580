//! The only place that reads time, and that notices when nobody was served.
//!
//! The module's clock is the wall clock at the start plus the monotonic time since, slewed towards the wall clock by
//! at most 1 %: a wall clock that jumps neither ends leases early nor freezes them.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use taskslot_engine::{Grace, Millis, Now};

use crate::api::Context;
use crate::settings::FAILOVER_GRACE;

/// A standstill shorter than this is nobody's trouble.
const STANDSTILL_MS: u64 = 500;
/// The clock is slewed by one part in this many.
pub const SLEW: u64 = 100;

/// The wall clock is read this often.
const WALL_READ_US: u64 = 10_000;
/// A wall clock that is off by more than this was set by somebody.
const STEP_US: u64 = 20_000;

#[derive(Clone, Copy)]
struct Clock {
    /// Where all three clocks stood when the wall clock was read last. Time is counted from there, so that no
    /// fraction is lost however often it is asked for.
    anchor: Instant,
    anchor_at_us: u64,
    anchor_wall_us: u64,
    /// What was answered last.
    at_us: u64,
    /// How long the server's regular work may keep us waiting: the time between two beats, at least.
    beat_ms: u64,
    /// The wall clock was set since anybody asked.
    stepped: bool,
    grace: Option<Grace>,
    writes_paused_since: Option<Millis>,
}

thread_local! {
    static CLOCK: Cell<Option<Clock>> = const { Cell::new(None) };
}

/// What time it is. Every call is also a heartbeat: a long silence before it, or a pause of writes that has just
/// ended, begins a grace for the leases that ran out meanwhile.
pub fn now(ctx: Context<'_>) -> Now {
    let read_at = Instant::now();
    let mut clock = CLOCK.get().unwrap_or_else(|| Clock::new(read_at));
    let before = Millis(clock.at_us / 1000);
    let wall_us = clock.read(read_at);
    let at = Millis(clock.at_us / 1000);
    if at.since(before) > STANDSTILL_MS.max(2 * clock.beat_ms) {
        clock.begin_grace(before, at);
    }
    match (ctx.avoid_replica_traffic(), clock.writes_paused_since) {
        (true, None) => clock.writes_paused_since = Some(at),
        (false, Some(since)) => {
            clock.writes_paused_since = None;
            if at.since(since) > STANDSTILL_MS {
                clock.begin_grace(since, at);
            }
        }
        _ => {}
    }
    clock.grace = clock.grace.filter(|grace| at < grace.until);
    CLOCK.set(Some(clock));
    Now { at, wall: Millis(wall_us / 1000), grace: clock.grace, is_full: false }
}

/// What time it is, and how far that is ahead of the wall clock, in ms: for INFO, which must neither count as a
/// heartbeat nor hide a silence from the next one.
pub fn glance() -> (Millis, i64) {
    let read_at = Instant::now();
    let mut clock = CLOCK.get().unwrap_or_else(|| Clock::new(read_at));
    let wall_us = clock.read(read_at);
    let skew_us = i64::try_from(clock.at_us).unwrap_or(i64::MAX) - i64::try_from(wall_us).unwrap_or(i64::MAX);
    (Millis(clock.at_us / 1000), skew_us / 1000)
}

/// Whether the wall clock was set since this was asked before: what was noted for its instants may be too late.
pub fn was_stepped() -> bool {
    let Some(clock) = CLOCK.get() else { return false };
    CLOCK.set(Some(Clock { stepped: false, ..clock }));
    clock.stepped
}

/// The node has just loaded its data or become a primary: for how long nobody was served isn't known.
pub fn took_over(ctx: Context<'_>) {
    let at = now(ctx).at;
    if let Some(mut clock) = CLOCK.get() {
        clock.begin_grace(Millis(0), at);
        clock.writes_paused_since = None;
        CLOCK.set(Some(clock));
    }
}

/// The server's regular work comes `hz` times a second.
pub fn beats(hz: i32) {
    if let Some(mut clock) = CLOCK.get() {
        clock.beat_ms = 1000 / u64::from(hz.max(1).unsigned_abs());
        CLOCK.set(Some(clock));
    }
}

impl Clock {
    fn new(anchor: Instant) -> Clock {
        let wall_us = wall_us();
        Clock {
            anchor,
            anchor_at_us: wall_us,
            anchor_wall_us: wall_us,
            at_us: wall_us,
            beat_ms: 0,
            stepped: false,
            grace: None,
            writes_paused_since: None,
        }
    }

    /// Moves the clock on, and tells the wall clock: read now and then, and told by the monotonic one between.
    fn read(&mut self, read_at: Instant) -> u64 {
        let since_us = u64::try_from(read_at.duration_since(self.anchor).as_micros()).unwrap_or(0);
        let (mut at_us, told_us) = (self.anchor_at_us + since_us, self.anchor_wall_us + since_us);
        let mut wall = told_us;
        if since_us >= WALL_READ_US {
            wall = wall_us();
            self.stepped |= wall.abs_diff(told_us) > STEP_US;
            at_us = wall.clamp(at_us - since_us / SLEW, at_us + since_us / SLEW);
            (self.anchor, self.anchor_at_us, self.anchor_wall_us) = (read_at, at_us, wall);
        }
        self.at_us = self.at_us.max(at_us);
        wall
    }

    /// Spares the leases that ran out between the two instants, for as long again, at most `failover-grace`. A grace
    /// that runs already is made longer.
    fn begin_grace(&mut self, from: Millis, to: Millis) {
        let most = u64::try_from(FAILOVER_GRACE.get()).unwrap_or(0);
        let until = to.plus(to.since(from).min(most));
        let new = Grace { from, to, until };
        self.grace = Some(match self.grace {
            Some(old) => Grace { from: old.from.min(from), to, until: old.until.max(until) },
            None => new,
        });
    }
}

fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}
