//! One-shot timers. They fire on replicas and while writes are paused too: who changes data asks first
//! ([`Context::flags`], [`Context::avoid_replica_traffic`]).
//!
//! The server keeps a pointer to a [`TimerRecord`]; it comes back when the timer fires or is stopped. Stopping a timer
//! inside its own callback frees it twice on some servers, so [`Timer::stop`] refuses that.

use std::ffi::{c_longlong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::context::Context;
use super::guard::guard;
use super::raw::{self, RedisModuleCtx, RedisModuleTimerID, api};

/// A timer that was started, and may have fired since. Dropping it doesn't stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    id: RedisModuleTimerID,
}

/// What the server hands back.
struct TimerRecord {
    id: RedisModuleTimerID,
    callback: fn(Context<'_>),
}

/// The timer whose callback is running; ids are times in µs, never 0.
static FIRING: AtomicU64 = AtomicU64::new(0);

impl Timer {
    /// Calls `callback` once, `after` ms from now at the earliest, in the database that is selected now.
    pub fn start(ctx: Context<'_>, after: u64, callback: fn(Context<'_>)) -> Timer {
        let record = Box::into_raw(Box::new(TimerRecord { id: 0, callback }));
        let after = c_longlong::try_from(after).unwrap_or(c_longlong::MAX / 2000).min(c_longlong::MAX / 2000);
        // SAFETY: the context lives as long as `ctx`; `fire` takes such a record, which lives until the timer has fired or is
        // stopped. It doesn't fire before we return, so the number is there in time.
        unsafe {
            let id = api!(RedisModule_CreateTimer)(ctx.raw(), after, Some(fire), record.cast());
            (*record).id = id;
            Timer { id }
        }
    }

    /// As [`Timer::start`], where there is no context: database 0.
    pub fn start_detached(after: u64, callback: fn(Context<'_>)) -> Option<Timer> {
        Context::detached().map(|ctx| Timer::start(ctx, after, callback))
    }

    /// Stops the timer. False if it has fired, or is firing now: its callback can't stop itself.
    pub fn stop(self, ctx: Context<'_>) -> bool {
        if FIRING.load(Relaxed) == self.id {
            return false;
        }
        let mut record: *mut c_void = ptr::null_mut();
        // SAFETY: the context lives as long as `ctx`; the server refuses the number of a timer that is gone, and writes one
        // pointer. The timer isn't the one that fires.
        let status = unsafe { api!(RedisModule_StopTimer)(ctx.raw(), self.id, &mut record) };
        if status != raw::OK || record.is_null() {
            return false;
        }
        // SAFETY: made by `start`; the timer is gone, so this is the only pointer.
        drop(unsafe { Box::from_raw(record.cast::<TimerRecord>()) });
        true
    }
}

unsafe extern "C" fn fire(ctx: *mut RedisModuleCtx, record: *mut c_void) {
    // SAFETY: made by `start`; the timer fires once and can't be stopped meanwhile.
    let record = unsafe { Box::from_raw(record.cast::<TimerRecord>()) };
    FIRING.store(record.id, Relaxed);
    guard("a timer", (), || {
        // SAFETY: the server gives a context that lives through this call, on its main thread.
        if let Some(ctx) = unsafe { Context::new(ctx) } {
            (record.callback)(ctx);
        }
    });
    FIRING.store(0, Relaxed);
}
