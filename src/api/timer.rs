//! Timers that fire once. They also fire on replicas and while writes are paused, so a callback that changes data has to
//! check [`Context::may_change_data`] first.
//!
//! The server keeps a pointer to a `TimerRecord` until the timer fires or is stopped. On some servers, a timer that is
//! stopped inside its own callback is freed twice, so [`Timer::stop`] refuses that.

use std::ffi::{c_longlong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::context::Context;
use super::guard::guard;
use super::raw::{self, RedisModuleCtx, RedisModuleTimerID, api};

/// A timer that was started. It may have fired since. Dropping this doesn't stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    id: RedisModuleTimerID,
}

/// The data of a timer, which the server passes back when it fires.
struct TimerRecord {
    id: RedisModuleTimerID,
    callback: fn(Context<'_>),
}

/// The id of the timer whose callback is running, or 0. Ids are times in µs, and never 0.
static FIRING: AtomicU64 = AtomicU64::new(0);

impl Timer {
    /// Starts a timer that calls `callback` once, after at least `after` ms, in the database that is selected now.
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

    /// Like [`Timer::start`], for callers without a context. The callback runs in database 0.
    pub fn start_detached(after: u64, callback: fn(Context<'_>)) -> Option<Timer> {
        Context::detached().map(|ctx| Timer::start(ctx, after, callback))
    }

    /// Stops the timer. Returns false if it has fired, or is firing now: a callback can't stop its own timer.
    pub fn stop(self, ctx: Context<'_>) -> bool {
        if FIRING.load(Relaxed) == self.id {
            return false;
        }
        let mut record: *mut c_void = ptr::null_mut();
        // SAFETY: the context lives as long as `ctx`; the server refuses the id of a timer that no longer exists, and writes one
        // pointer. The timer isn't the one that fires.
        let status = unsafe { api!(RedisModule_StopTimer)(ctx.raw(), self.id, &mut record) };
        if status != raw::OK || record.is_null() {
            return false;
        }
        // SAFETY: made by `start`; the timer no longer exists, so this is the only pointer.
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
