//! The only place that reads clocks. What time it is follows by the arithmetic of [`Clock`].

use std::cell::Cell;
use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use taskslot_engine::{Millis, Now, Stamp};
use taskslot_node::{Clock, Reading, arrived_ahead_ms};

use crate::entropy;
use crate::settings::FAILOVER_GRACE;
use taskslot_api::Context;
use taskslot_api::server::micros_since_boot;

thread_local! {
    static CLOCK: Cell<Option<Clock>> = const { Cell::new(None) };
}

/// The number of the machine's start, which is made of files: read once.
static BOOT: OnceLock<u64> = OnceLock::new();

/// What time it is. Every call is also a heartbeat: a long silence before it, or a pause of writes that has just
/// ended, begins a grace for the leases that ran out meanwhile.
pub fn now(ctx: Context<'_>) -> Now {
    change(|clock, reading| clock.now(reading, wall_us, ctx.avoid_replica_traffic(), grace_ms()))
}

/// What the clocks show, for INFO and for what is saved. This is no heartbeat, so that it hides no silence from the next one.
pub fn stamp() -> Stamp {
    let reading = reading();
    current(reading).stamp(reading, wall_us())
}

/// How far the clock of a queue that came here is ahead of this node's, in ms. `written` is what the clocks showed where it
/// was written.
pub fn ahead_ms(written: &Stamp) -> i64 {
    arrived_ahead_ms(written, &stamp())
}

/// Whether a clock was set since the last call: what was noted for its instants may be too late.
pub fn was_stepped() -> bool {
    change(|clock, _| clock.was_stepped())
}

/// The data that are being loaded were written by a clock that this node carries on.
pub fn resume(written: &Stamp) {
    change(|clock, reading| clock.resume(reading, wall_us(), written));
}

/// A stamp of the primary's clock has come.
pub fn follow(primary: &Stamp) {
    change(|clock, reading| clock.follow(reading, wall_us(), primary));
}

/// The data show that clients were served at this instant.
pub fn served(at: Millis) {
    change(|clock, _| clock.served(at));
}

/// The node has just loaded its data or become a primary: nobody was served since the data were written.
pub fn on_takeover(ctx: Context<'_>) {
    now(ctx);
    change(|clock, _| clock.on_takeover(grace_ms()));
}

/// The server's regular work, which comes `hz` times a second.
pub fn on_cron(hz: i32) {
    change(|clock, _| clock.on_cron(hz));
}

/// The node has become a primary in place of another.
pub fn on_promoted(term: u64) {
    change(|clock, _| clock.on_promoted(term));
}

fn grace_ms() -> u64 {
    u64::try_from(FAILOVER_GRACE.get()).unwrap_or(0)
}

fn change<R>(change: impl FnOnce(&mut Clock, Reading) -> R) -> R {
    let reading = reading();
    let mut clock = current(reading);
    let result = change(&mut clock, reading);
    CLOCK.set(Some(clock));
    result
}

fn current(reading: Reading) -> Clock {
    CLOCK.get().unwrap_or_else(|| Clock::new(reading, wall_us()))
}

fn reading() -> Reading {
    Reading { boot: *BOOT.get_or_init(boot), up_us: micros_since_boot() }
}

fn boot() -> u64 {
    let [machine_id, boot_id, time_offsets] =
        ["/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/proc/self/timens_offsets"]
            .map(|path| fs::read_to_string(path).unwrap_or_default());
    Reading::boot(&machine_id, &boot_id, &time_offsets, entropy::bits)
}

fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}
