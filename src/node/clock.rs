//! The clock that spans run on, and when nobody could be heard.

use taskslot_engine::{Grace, Millis, Now, PROMOTION_STEP, Stamp};

/// The clock is slewed by one part in this many.
const SLEW: u64 = 100;
/// A silence that is no longer than this is no standstill.
const STANDSTILL_MS: u64 = 500;
/// The wall clock is read this often.
const WALL_READ_US: u64 = 10_000;
/// A wall clock that is off by more than this was set by somebody.
const STEP_US: u64 = 20_000;
/// A replica's clock goes back to its primary's by at most one part in this many. A stamp that arrives late looks like a
/// clock that is behind, and a clock that is slewed falls behind by no more than this.
const FOLLOW_BACK: u64 = 50;

/// The random part of a promotion's lead is below this many microseconds, 71 minutes.
const PROMOTION_SPREAD: u64 = 1 << 32;

/// What the clocks of a machine show, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which machine and which start of it, as in [`Stamp::boot`].
    pub boot: u64,
    /// Since that start; it goes on while the machine sleeps and is never set.
    pub up_us: u64,
}

impl Reading {
    /// The number of a machine's start, as in [`Stamp::boot`]: the machine in the upper half, its start in the lower. It is made
    /// of what Linux tells in files (`machine-id`, `boot_id`, `timens_offsets`); a text is empty where there is no such file.
    /// Machines that don't tell who they are count as one, and a start that isn't told is `random`.
    pub fn boot(machine_id: &str, boot_id: &str, time_offsets: &str, random: impl FnOnce() -> u32) -> u64 {
        let machine = first_digits(machine_id).unwrap_or(0);
        let start = first_digits(boot_id).unwrap_or_else(random);
        // Containers may count the time since the start from different instants.
        let start = time_offsets.bytes().fold(start, |start, byte| start.rotate_left(5) ^ u32::from(byte));
        u64::from(machine) << 32 | u64::from(start)
    }
}

/// The first 32 bits of a hexadecimal number, whatever is between its digits.
fn first_digits(text: &str) -> Option<u32> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    u32::from_str_radix(&digits, 16).ok()
}

/// A node's clock: what the wall clock showed once, plus the time since, slewed towards the wall clock by at most 1 %. So a
/// wall clock that jumps neither ends leases early nor freezes them.
///
/// A process carries on the clock that its data was written by ([`Clock::resume`]), and a replica goes by its primary's
/// ([`Clock::follow`]), so spans keep their length over a restart and a promotion, whatever the wall clocks say.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Where all three clocks stood when the wall clock was read last. Time is counted from there, so that no
    /// fraction is lost however often it is asked for.
    anchor: Reading,
    anchor_at_us: u64,
    anchor_wall_us: u64,
    /// The latest instant that the clock has shown.
    at_us: u64,
    /// The time between two calls by the server's regular work, at least.
    beat_ms: u64,
    /// See [`Clock::was_stepped`].
    stepped: bool,
    /// A primary's clock is followed. Its last stamp came at this time since the machine's start.
    followed_us: Option<u64>,
    /// The last instant at which the data show that clients were served.
    served_at: Option<Millis>,
    grace: Option<Grace>,
    /// The most that a grace lasts.
    grace_ms: u64,
    writes_paused_since: Option<Millis>,
    /// How far lease numbers are ahead of the clock.
    lead_us: u64,
}

impl Clock {
    /// A clock that begins with the wall clock.
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

    /// What time it is. Every call is also a heartbeat: a long silence before it, or a pause of writes that has just
    /// ended, begins a grace of at most `grace_ms` for the leases that ran out meanwhile.
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

    /// What the clocks show. This is no heartbeat, so that it hides no silence from the next one.
    pub fn stamp(mut self, reading: Reading, wall_us: u64) -> Stamp {
        self.read(reading, || wall_us);
        let wall_us = wall_us.min(Millis::MAX_US);
        Stamp { at_us: self.at_us, wall_us, boot: reading.boot, up_us: reading.up_us, lead_us: self.lead_us }
    }

    /// Whether the wall clock was set, or the clock itself, since the last call: what was noted for their instants may be too
    /// late.
    pub fn was_stepped(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }

    /// The server's regular work, which comes `hz` times a second.
    pub fn on_cron(&mut self, hz: i32) {
        self.beat_ms = 1000 / u64::from(hz.max(1).unsigned_abs());
    }

    /// Carries on the clock of the process that wrote this file. If the machine has been started since, the wall clock says how
    /// long ago that was, and one that stands before that says nothing. Between two machines, whose wall clocks may differ
    /// by more, time has stood still.
    pub fn resume(&mut self, reading: Reading, wall_us: u64, written: &Stamp) {
        let is_restarted = written.boot != reading.boot && written.boot >> 32 == reading.boot >> 32;
        let off_us = if is_restarted { wall_us.saturating_sub(written.wall_us) } else { 0 };
        let at_us = written.at_us.saturating_add(since_us(written, reading.boot, reading.up_us));
        self.set(reading, wall_us, at_us.saturating_add(off_us));
        self.followed_us = None;
        self.lead_us = self.lead_us.max(written.lead_us).min(Millis::MAX_US);
        self.served(written.at());
    }

    /// A stamp of the primary's clock has come. If the primary is on another machine, it was some time on its way. The first
    /// stamp is taken as it is; after that the clock is set ahead at once, and back only as slowly as a clock can be slewed.
    pub fn follow(&mut self, reading: Reading, wall_us: u64, primary: &Stamp) {
        self.read(reading, || wall_us);
        let primary_us = primary.at_us.saturating_add(since_us(primary, reading.boot, reading.up_us));
        let earliest_us = self.followed_us.map_or(0, |followed_us| {
            self.at_us.saturating_sub(reading.up_us.saturating_sub(followed_us) / FOLLOW_BACK)
        });
        self.set(reading, wall_us, primary_us.max(earliest_us));
        self.followed_us = Some(reading.up_us);
        self.lead_us = self.lead_us.max(primary.lead_us).min(Millis::MAX_US);
        self.served(primary.at());
    }

    /// The node has become a primary, and its lease numbers run ahead of those of every primary that it has heard of. A part of
    /// it is random, so that of two replicas that are both promoted neither gives the numbers of the other.
    pub fn on_promoted(&mut self, random: u64) {
        self.lead_us =
            self.lead_us.saturating_add(PROMOTION_STEP + random % PROMOTION_SPREAD).min(Millis::MAX_US);
    }

    /// The data show that clients were served at this instant.
    pub fn served(&mut self, at: Millis) {
        self.served_at = self.served_at.max(Some(at.min(Millis::MAX)));
    }

    /// The node has just loaded its data or become a primary. Nobody was served since the last instant that the data show.
    /// Where they show none, it isn't known for how long. A grace of at most `grace_ms` begins.
    pub fn on_takeover(&mut self, grace_ms: u64) {
        self.grace_ms = grace_ms;
        // Where nothing tells how long ago the data were written, time has stood still at least.
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

    /// Moves the clock on; returns what the wall clock shows. That is read now and then, and reckoned in between.
    fn read(&mut self, reading: Reading, wall_us: impl FnOnce() -> u64) -> u64 {
        let since_us = reading.up_us.saturating_sub(self.anchor.up_us);
        let mut at_us = self.anchor_at_us.saturating_add(since_us);
        let reckoned_us = self.anchor_wall_us.saturating_add(since_us);
        let mut wall = reckoned_us;
        if since_us >= WALL_READ_US {
            wall = wall_us();
            self.stepped |= wall.abs_diff(reckoned_us) > STEP_US;
            if self.followed_us.is_none() {
                at_us = wall.clamp(at_us - since_us / SLEW, at_us.saturating_add(since_us / SLEW));
            }
            (self.anchor, self.anchor_at_us, self.anchor_wall_us) = (reading, at_us, wall);
        }
        self.at_us = self.at_us.max(at_us).min(Millis::MAX_US);
        wall
    }

    /// Sets the clock, which isn't a standstill.
    fn set(&mut self, reading: Reading, wall_us: u64, at_us: u64) {
        self.stepped |= at_us != self.at_us;
        let at_us = at_us.min(Millis::MAX_US);
        (self.anchor, self.anchor_at_us, self.anchor_wall_us, self.at_us) = (reading, at_us, wall_us, at_us);
    }

    fn at(&self) -> Millis {
        Millis(self.at_us / 1000)
    }

    /// Spares the leases that ran out between the two instants, for as long again, at most `failover-grace`. A grace
    /// that runs already is made longer.
    fn begin_grace(&mut self, from: Millis, to: Millis) {
        let until = to.plus(to.since(from).min(self.grace_ms));
        let new = Grace { from, to, until };
        self.grace = Some(match self.grace {
            Some(old) => Grace { from: old.from.min(from), to, until: old.until.max(until) },
            None => new,
        });
    }
}

/// How long ago a stamp was written, in microseconds. It counts as none if it isn't known: the stamp is from another machine,
/// or from before the last start of this one.
fn since_us(written: &Stamp, boot: u64, up_us: u64) -> u64 {
    if written.boot == boot { up_us.saturating_sub(written.up_us) } else { 0 }
}

/// The earliest that a node's clock can show when `due` has come, an instant of either clock told by the node's. A clock
/// that is ahead of the wall's waits for it by going slower, so an instant of the wall clock comes before the node's clock
/// shows it.
pub fn earliest(now: &Now, due: Millis) -> Millis {
    if now.at <= now.wall {
        return due;
    }
    let span_ms = due.since(now.at);
    due.min(now.at.plus(span_ms - span_ms.div_ceil(SLEW)))
}

/// How far the clock of a queue that came here is ahead of this node's, in ms, by what the clocks showed where it was
/// written. From another machine, it isn't known how long the queue was on its way: its time stood still.
pub fn arrived_ahead_ms(written: &Stamp, here: &Stamp) -> i64 {
    let way_us = since_us(written, here.boot, here.up_us);
    (written.at_us.saturating_add(way_us) / 1000) as i64 - here.at().0 as i64
}
