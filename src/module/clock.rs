//! The only place that reads clocks. [`Clock`] computes the time from what they show.

use std::cell::RefCell;
use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use taskslot_engine::{Millis, Now, Stamp, Term};
use taskslot_node::{Clock, Reading};

use crate::entropy;
use crate::settings::FAILOVER_GRACE;
use taskslot_api::Context;
use taskslot_api::server::micros_since_boot;

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// A number that identifies the machine's boot, computed once from files.
static BOOT: OnceLock<u64> = OnceLock::new();

/// The present time.
///
/// Every call is also a heartbeat. If the time since the last one was long, or a pause of writes has just ended, a
/// grace begins for the leases that ended meanwhile.
pub fn now(ctx: Context<'_>) -> Now {
    change(|clock, reading| clock.now(reading, wall_us, ctx.avoid_replica_traffic(), grace_ms()))
}

/// What the clocks show, for INFO and for stored data. The call is not a heartbeat, so it does not hide a long silence
/// from the next one.
pub fn stamp() -> Stamp {
    change(|clock, reading| clock.stamp(reading, wall_us()))
}

/// Whether a clock was set since the last call. If so, times that were noted on it can be wrong.
pub fn was_stepped() -> bool {
    change(|clock, _| clock.was_stepped())
}

/// Continues the clock by which the data that is being loaded was written.
pub fn resume(written: &Stamp) {
    change(|clock, reading| clock.resume(reading, wall_us(), written));
}

/// Makes lease numbers run at least as far ahead as those of another node.
pub fn exceed(other: &Stamp) {
    change(|clock, _| clock.exceed(other));
}

/// Follows the clock of the primary, which sent this stamp.
pub fn follow(primary: &Stamp) {
    change(|clock, reading| clock.follow(reading, wall_us(), primary));
}

/// Follows the clock of the primary, which sent this stamp with the beginning of a term, until it sends its own.
pub fn follow_at_first(primary: &Stamp) {
    change(|clock, reading| clock.follow_at_first(reading, wall_us(), primary));
}

/// Notes that clients were served at this time, according to the data.
pub fn served(at: Millis) {
    change(|clock, _| clock.served(at));
}

/// The node has loaded its data or has become a primary. No client was served since the data was written, so a grace
/// begins.
pub fn on_takeover(ctx: Context<'_>) {
    now(ctx);
    change(|clock, _| clock.on_takeover(grace_ms()));
}

/// Called by the server's cron, `hz` times a second.
pub fn on_cron(hz: i32) {
    change(|clock, _| clock.on_cron(hz));
}

/// This node begins a term: it has loaded its data after a start, or was promoted to primary.
pub fn on_term(term: Term) {
    change(|clock, _| clock.on_term(term));
}

fn grace_ms() -> u64 {
    u64::try_from(FAILOVER_GRACE.get()).unwrap_or(0)
}

fn change<R>(change: impl FnOnce(&mut Clock, Reading) -> R) -> R {
    let reading = reading();
    CLOCK
        .with_borrow_mut(|clock| change(clock.get_or_insert_with(|| Clock::new(reading, wall_us())), reading))
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
