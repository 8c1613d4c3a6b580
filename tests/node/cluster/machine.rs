//! A machine and its clocks. Its wall clock is wrong and is set, its time since the boot drifts, and a power cut ends
//! the boot.

use taskslot_node::Reading;

const START_US: u64 = 1_700_000_000_000_000;

pub struct Machine {
    id: u64,
    boots: u64,
    /// When it was booted, by its own clock.
    booted_us: u64,
    pub is_on: bool,
    /// By how many parts in a million its clock is faster than true time.
    drift_ppm: i64,
    wall_ahead_us: i64,
}

impl Machine {
    pub fn new(id: u64, drift_ppm: i64, wall_ahead_us: i64) -> Machine {
        Machine { id, boots: 1, booted_us: 0, is_on: true, drift_ppm, wall_ahead_us }
    }

    /// The time that its clock has counted at the true time `t`.
    fn local_us(&self, t: u64) -> u64 {
        t.wrapping_add_signed(t as i64 * self.drift_ppm / 1_000_000)
    }

    pub fn reading(&self, t: u64) -> Reading {
        Reading { boot: self.id << 32 | self.boots, up_us: self.local_us(t) - self.booted_us }
    }

    pub fn wall_us(&self, t: u64) -> u64 {
        (START_US + self.local_us(t)).wrapping_add_signed(self.wall_ahead_us)
    }

    /// Sets the wall clock, so that it is wrong by at most eight hours.
    pub fn set_wall(&mut self, by_us: i64) {
        const MOST: i64 = 8 * 3_600_000_000;
        self.wall_ahead_us = (self.wall_ahead_us + by_us).clamp(-MOST, MOST);
    }

    pub fn boot(&mut self, t: u64) {
        (self.is_on, self.boots, self.booted_us) = (true, self.boots + 1, self.local_us(t));
    }
}
