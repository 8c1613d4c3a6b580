//! The clock for spans of time, and the grace after an outage.

use taskslot_engine::{Grace, Millis, Now, Stamp, Term};

/// The clock is slewed by one part in this many.
const SLEW: u64 = 100;
/// A time without calls counts as a standstill if it is longer than this.
const STANDSTILL_MS: u64 = 500;
/// The wall clock is read at most this often.
const WALL_READ_US: u64 = 10_000;
/// The wall clock was set if it differs by more than this from what was expected.
const STEP_US: u64 = 20_000;
/// A replica's clock falls back towards its primary's by at most one part in this many. A stamp that arrives late looks
/// like a clock that is behind, but a slewed clock can't fall behind faster than this.
const FOLLOW_BACK: u64 = 50;
/// While queues change, a stamp of the clock is at most this old.
const STAMP_US: u64 = 60_000_000;
/// A stamp is out of date if the clock differs from it by more than this.
const STAMP_OFF_MS: u64 = 250;
/// The data can't show a time that is further ahead of the clock than this.
const BELIEVED_MS: u64 = 24 * 3_600_000;

/// What the clocks of a machine show, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The machine and its boot, as in [`Stamp::boot`].
    pub boot: u64,
    /// The time since that boot. It continues while the machine sleeps, and is never set.
    pub up_us: u64,
}

impl Reading {
    /// The number of a machine's boot, as in [`Stamp::boot`]: the machine in the upper half, its boot in the lower.
    ///
    /// It is computed from the contents of Linux's files `machine-id`, `boot_id` and `timens_offsets`; a text is empty
    /// if there is no such file. Machines without an id count as the same machine, and a boot without an id is
    /// `random`.
    pub fn boot(machine_id: &str, boot_id: &str, time_offsets: &str, random: impl FnOnce() -> u32) -> u64 {
        let machine = first_digits(machine_id).unwrap_or(0);
        let start = first_digits(boot_id).unwrap_or_else(random);
        // Containers can count the time since the boot from different instants.
        let start = time_offsets.bytes().fold(start, |start, byte| start.rotate_left(5) ^ u32::from(byte));
        u64::from(machine) << 32 | u64::from(start)
    }
}

/// The first 32 bits of a hexadecimal number, ignoring any characters between its digits.
fn first_digits(text: &str) -> Option<u32> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    u32::from_str_radix(&digits, 16).ok()
}

/// The clock of a node. It starts with the wall clock, then counts the elapsed time, and is slewed towards the wall
/// clock by at most 1 %. So a jump of the wall clock neither ends leases early nor makes them last longer.
///
/// A process continues the clock by which its data was written ([`Clock::resume`]), and a replica follows its primary's
/// clock ([`Clock::follow`]). So spans keep their length over a restart and a promotion, whatever the wall clocks show.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What all three clocks showed when the wall clock was read last. Time is counted from there, so that no fraction
    /// is lost if the time is asked for often.
    anchor: Reading,
    anchor_at_us: u64,
    anchor_wall_us: u64,
    /// The latest time that the clock has shown.
    at_us: u64,
    /// The time between two calls by the server's cron.
    beat_ms: u64,
    /// A clock was set since the last call of [`Clock::was_stepped`].
    stepped: bool,
    /// On a replica: when the last stamp of the primary arrived, since the machine's boot.
    followed_us: Option<u64>,
    /// The last time at which clients were served, according to the data.
    served_at: Option<Millis>,
    grace: Option<Grace>,
    /// The longest grace.
    grace_ms: u64,
    writes_paused_since: Option<Millis>,
    /// How far lease numbers run ahead of the clock.
    lead_us: u64,
}

impl Clock {
    /// A clock that starts with the wall clock.
    pub fn new(reading: Reading, wall_us: u64) -> Clock {
        Clock {
            anchor: reading,
            anchor_at_us: wall_us,
            anchor_wall_us: wall_us,
            at_us: wall_us,
            beat_ms: 0,
            stepped: false,
            followed_us: None,
            served_at: None,
            grace: None,
            grace_ms: 0,
            writes_paused_since: None,
            lead_us: 0,
        }
    }

    /// The present time.
    ///
    /// Every call is also a heartbeat. If the time since the last one was long, or a pause of writes has just ended, a
    /// grace of at most `grace_ms` begins for the leases that ended meanwhile.
    pub fn now(
        &mut self,
        reading: Reading,
        wall_us: impl FnOnce() -> u64,
        are_writes_paused: bool,
        grace_ms: u64,
    ) -> Now {
        self.grace_ms = grace_ms;
        let before = self.at();
        let wall_us = self.read(reading, wall_us);
        let at = self.at();
        if at.since(before) > STANDSTILL_MS.max(2 * self.beat_ms) {
            self.begin_grace(before, at);
        }
        match (are_writes_paused, self.writes_paused_since) {
            (true, None) => self.writes_paused_since = Some(at),
            (false, Some(since)) => {
                self.writes_paused_since = None;
                if at.since(since) > STANDSTILL_MS {
                    self.begin_grace(since, at);
                }
            }
            _ => {}
        }
        self.grace = self.grace.filter(|grace| at < grace.until);
        Now { at, wall: Millis(wall_us / 1000), grace: self.grace, is_full: false, lead_us: self.lead_us }
    }

    /// What the clocks show. The call is not a heartbeat, so it does not hide a long silence from the next one.
    pub fn stamp(mut self, reading: Reading, wall_us: u64) -> Stamp {
        self.read(reading, || wall_us);
        let wall_us = wall_us.min(Millis::MAX_US);
        Stamp { at_us: self.at_us, wall_us, boot: reading.boot, up_us: reading.up_us, lead_us: self.lead_us }
    }

    /// Whether the wall clock or this clock was set since the last call. If so, times that were noted on them can be
    /// wrong.
    pub fn was_stepped(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }

    /// Called by the server's cron, `hz` times a second.
    pub fn on_cron(&mut self, hz: i32) {
        self.beat_ms = 1000 / u64::from(hz.max(1).unsigned_abs());
    }

    /// Continues the clock of the process that wrote the data.
    ///
    /// If the machine has booted since, the wall clock tells how long ago the data was written, unless it shows an
    /// earlier time than then. For data from another machine, whose wall clock can differ, no time has passed.
    pub fn resume(&mut self, reading: Reading, wall_us: u64, written: &Stamp) {
        let is_restarted = written.boot != reading.boot && written.boot >> 32 == reading.boot >> 32;
        let off_us = if is_restarted { wall_us.saturating_sub(written.wall_us) } else { 0 };
        let at_us = written.at_us.saturating_add(since_us(written, reading.boot, reading.up_us));
        self.set(reading, wall_us, at_us.saturating_add(off_us));
        self.followed_us = None;
        self.exceed(written);
        self.served(written.at());
    }

    /// Follows the primary's clock, by a stamp of it. If the primary is on another machine, the stamp was on its way
    /// for an unknown time. The first stamp is taken as it is. Later ones set the clock forward at once, but back only
    /// as slowly as a clock can be slewed.
    pub fn follow(&mut self, reading: Reading, wall_us: u64, primary: &Stamp) {
        self.read(reading, || wall_us);
        let primary_us = primary.at_us.saturating_add(since_us(primary, reading.boot, reading.up_us));
        let earliest_us = self.followed_us.map_or(0, |followed_us| {
            self.at_us.saturating_sub(reading.up_us.saturating_sub(followed_us) / FOLLOW_BACK)
        });
        self.set(reading, wall_us, primary_us.max(earliest_us));
        self.followed_us = Some(reading.up_us);
        self.exceed(primary);
        self.served(primary.at());
    }

    /// Follows the primary's clock by a stamp that came with the beginning of a term. Once a stamp of the clock itself has
    /// come, the clock is not set: the stamp can even be of another node, the former owner of a slot that moves here.
    pub fn follow_at_first(&mut self, reading: Reading, wall_us: u64, primary: &Stamp) {
        match self.followed_us {
            None => self.follow(reading, wall_us, primary),
            Some(_) => self.exceed(primary),
        }
    }

    /// Makes lease numbers run at least as far ahead as those of another node.
    pub fn exceed(&mut self, other: &Stamp) {
        self.lead_us = self.lead_us.max(other.lead_us).min(Millis::MAX_US);
    }

    /// The node begins a term: it has loaded its data after a start, or was promoted to primary. Its lease numbers run
    /// ahead of those of every primary whose stamps it has got.
    pub fn on_term(&mut self, term: Term) {
        self.lead_us = self.lead_us.saturating_add(term.step_us()).min(Millis::MAX_US);
    }

    /// Notes that clients were served at this time, according to the data. A time that is more than a day ahead of the
    /// clock is not believed: the data has a stamp of the clock for each minute in which it changed.
    pub fn served(&mut self, at: Millis) {
        if at.since(self.at()) <= BELIEVED_MS {
            self.served_at = self.served_at.max(Some(at.min(Millis::MAX)));
        }
    }

    /// The node has loaded its data or was promoted. No client was served since the last time that the data shows; if
    /// it shows none, that time is unknown. A grace of at most `grace_ms` begins.
    pub fn on_takeover(&mut self, grace_ms: u64) {
        self.grace_ms = grace_ms;
        // The clock must not show an earlier time than the data does.
        self.at_us = self.at_us.max(self.served_at.map_or(0, |at| at.0 * 1000));
        self.anchor_at_us = self.anchor_at_us.max(self.at_us);
        let at = self.at();
        self.followed_us = None;
        self.writes_paused_since = None;
        self.grace = None;
        let from = self.served_at.unwrap_or_default();
        if from < at {
            self.begin_grace(from, at);
        }
    }

    /// Advances the clock, and returns the time of the wall clock, which is read from time to time and computed in
    /// between.
    fn read(&mut self, reading: Reading, wall_us: impl FnOnce() -> u64) -> u64 {
        let since_us = reading.up_us.saturating_sub(self.anchor.up_us);
        let mut at_us = self.anchor_at_us.saturating_add(since_us);
        let expected_us = self.anchor_wall_us.saturating_add(since_us);
        let mut wall = expected_us;
        if since_us >= WALL_READ_US {
            wall = wall_us();
            self.stepped |= wall.abs_diff(expected_us) > STEP_US;
            if self.followed_us.is_none() {
                at_us = wall.clamp(at_us - since_us / SLEW, at_us.saturating_add(since_us / SLEW));
            }
            (self.anchor, self.anchor_at_us, self.anchor_wall_us) = (reading, at_us, wall);
        }
        self.at_us = self.at_us.max(at_us).min(Millis::MAX_US);
        wall
    }

    /// Sets the clock. A jump by this does not count as a standstill.
    fn set(&mut self, reading: Reading, wall_us: u64, at_us: u64) {
        self.stepped |= at_us != self.at_us;
        let at_us = at_us.min(Millis::MAX_US);
        (self.anchor, self.anchor_at_us, self.anchor_wall_us, self.at_us) = (reading, at_us, wall_us, at_us);
        // What an earlier clock said, which this node followed or wrote by, must not set the new one forward.
        self.served_at = self.served_at.map(|served_at| served_at.min(self.at()));
    }

    fn at(&self) -> Millis {
        Millis(self.at_us / 1000)
    }

    /// Begins a grace: leases that ended between the two times are spared for as long again, at most `failover-grace`.
    /// A grace that runs already is extended.
    fn begin_grace(&mut self, from: Millis, to: Millis) {
        let until = to.plus(to.since(from).min(self.grace_ms));
        let new = Grace { from, to, until };
        self.grace = Some(match self.grace {
            Some(old) => Grace { from: old.from.min(from), to, until: old.until.max(until) },
            None => new,
        });
    }
}

/// How long ago a stamp was written, in microseconds. 0 if that isn't known: the stamp is from another machine, or from
/// before the last boot of this one.
fn since_us(written: &Stamp, boot: u64, up_us: u64) -> u64 {
    if written.boot == boot { up_us.saturating_sub(written.up_us) } else { 0 }
}

/// The earliest time that the node's clock can show when `due` is reached, on the wall clock or on the node's. If the
/// node's clock is ahead, it runs slower until the wall clock has caught up. So a time of the wall clock is reached
/// before the node's clock shows it.
pub fn earliest(now: &Now, due: Millis) -> Millis {
    if now.at <= now.wall {
        return due;
    }
    let span_ms = due.since(now.at);
    due.min(now.at.plus(span_ms - span_ms.div_ceil(SLEW)))
}

/// Whether a stamp of this node's clock still says what it shows, so that replicas and the AOF, which have got it, need no
/// new one. If queues have changed since, it must not be old either, because it says when clients were last served.
pub fn is_stamp_current(last: &Stamp, now: &Stamp, has_changed: bool) -> bool {
    let is_old = now.up_us.saturating_sub(last.up_us) >= STAMP_US;
    let off_ms = last.skew_ms().abs_diff(now.skew_ms());
    let off_ms = off_ms.max(last.ahead_of_start_ms().abs_diff(now.ahead_of_start_ms()));
    off_ms <= STAMP_OFF_MS && !(is_old && has_changed)
}

/// How far the clock of a queue that was moved here is ahead of this node's, in ms. `written` is what the clocks showed
/// when and where the queue was written. If that was another machine, it isn't known how long the queue was on its way,
/// so that time doesn't count.
pub fn arrived_ahead_ms(written: &Stamp, here: &Stamp) -> i64 {
    let way_us = since_us(written, here.boot, here.up_us);
    (written.at_us.saturating_add(way_us) / 1000) as i64 - here.at().0 as i64
}
