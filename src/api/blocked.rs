//! Blocked clients, which are woken one by one.
//!
//! A client blocks on a key that never exists. So the server never visits blocked clients because a key has changed,
//! but it still handles time-outs, CLIENT UNBLOCK and disconnects, and sends `MOVED` when the slot moves away (from 7.0
//! on). For the server, a client that is woken has timed out; [`Waiting::on_reply`] decides what it gets. These
//! callbacks run, in this order:
//!
//! | what happens | `on_reply` | `on_disconnect` | `on_end` |
//! |---|---|---|---|
//! | [`Waiter::wake`] | yes: inside `wake` on Redis 6.2, 7.0 and Valkey 9.1; after the command on Redis 8.2 | – | soon |
//! | … and the client is killed in between (8.2) | – | yes | soon |
//! | time-out, CLIENT UNBLOCK id | yes, at once | – | soon |
//! | CLIENT UNBLOCK id ERROR, `MOVED`, demotion | –: the server replies | yes | soon |
//! | CLIENT KILL, connection closed | – | yes, at once | soon |
//!
//! "Soon" means before the server waits for input again. `on_disconnect` means only that the client gets no reply from
//! the module. `on_reply` doesn't mean that the reply has arrived. `on_end` always runs. Use it to undo what the client
//! didn't get.

use std::cell::Cell;
use std::ffi::{c_int, c_longlong, c_void};
use std::ptr;
use std::rc::Rc;

use super::context::Context;
use super::guard::{answering, guard};
use super::raw::{self, RedisModuleBlockedClient, RedisModuleCtx, RedisModuleString, api};
use super::replied;
use super::string::Arg;

/// The state that waits on behalf of a client. It stays on the main thread, so the parts that change are `Cell`s.
pub trait Waiting: 'static {
    /// The wait has ended: write the reply. May run inside [`Waiter::wake`]. Time-outs also run while writes are
    /// paused, so no data may be changed here.
    fn on_reply(&self, ctx: Context<'_>);
    /// The connection has closed, or the server has replied itself. No data may be changed here.
    fn on_disconnect(&self, _ctx: Context<'_>) {}
    /// The last callback. The client may no longer exist, so there is no context. To change data, start a timer
    /// ([`super::timer::Timer::start_detached`]).
    fn on_end(&self);
}

/// A blocked client. Clones refer to the same client.
pub struct Waiter<T: Waiting> {
    record: Rc<BlockedRecord<T>>,
}

struct BlockedRecord<T> {
    /// Null as soon as it is decided how the wait ends, so that the client isn't woken twice.
    client: Cell<*mut RedisModuleBlockedClient>,
    state: T,
}

impl<T: Waiting> Clone for Waiter<T> {
    fn clone(&self) -> Waiter<T> {
        Waiter { record: Rc::clone(&self.record) }
    }
}

impl<T: Waiting> Waiter<T> {
    /// Whether the client still waits, so that it can be woken.
    pub fn is_waiting(&self) -> bool {
        !self.record.client.get().is_null()
    }

    /// The state of the wait.
    pub fn state(&self) -> &T {
        &self.record.state
    }

    /// Ends the wait: [`Waiting::on_reply`] runs, at once (up to 7.0) or soon. So the state must be ready for the
    /// reply, and no key may be open. Returns false if the wait has ended already.
    pub fn wake(&self) -> bool {
        let client = self.record.client.replace(ptr::null_mut());
        if client.is_null() {
            return false;
        }
        // SAFETY: the server keeps the blocked client until it has called `end`, which would have put null there;
        // this is the main thread. The private data stays what it was.
        unsafe { api!(RedisModule_UnblockClient)(client, ptr::null_mut()) == raw::OK }
    }
}

/// Blocks the client of the running command on `name`, for `timeout` ms (0: without a limit). The command itself must
/// not reply. Returns `state` if the client can't be blocked: in transactions and scripts, and if the server refuses.
///
/// In a cluster, `name` **must** be in the slot of the command's keys. Otherwise Valkey 9.1 aborts at the next change
/// of slots (by the assertion `slot == c->slot`, tried).
pub fn block_on_key<T: Waiting>(
    ctx: Context<'_>,
    name: Arg<'_>,
    timeout: u64,
    state: T,
) -> Result<Waiter<T>, T> {
    if ctx.flags().denies_blocking() {
        return Err(state);
    }
    let record = Rc::new(BlockedRecord { client: Cell::new(ptr::null_mut()), state });
    let privdata = Rc::into_raw(Rc::clone(&record)).cast_mut().cast::<c_void>();
    let mut keys = [name.raw()];
    // The server adds the present time to it.
    let timeout = c_longlong::try_from(timeout).unwrap_or(c_longlong::MAX).min(c_longlong::MAX / 2000);
    // SAFETY: context and name live through the call, and the server copies the name; the callbacks are those of this
    // `T`, and the private data is one reference to its record, which `end` takes back.
    let client = unsafe {
        api!(RedisModule_BlockClientOnKeys)(
            ctx.raw(),
            Some(stay),
            Some(reply::<T>),
            Some(end::<T>),
            timeout,
            keys.as_mut_ptr(),
            1,
            privdata,
        )
    };
    if client.is_null() {
        // SAFETY: made by `Rc::into_raw` above; the server has blocked no client and keeps nothing, so the reference is
        // ours again.
        drop(unsafe { Rc::from_raw(privdata.cast::<BlockedRecord<T>>().cast_const()) });
        return match Rc::try_unwrap(record) {
            Ok(record) => Err(record.state),
            // Two references were made, and one was dropped above.
            Err(_) => std::process::abort(),
        };
    }
    record.client.set(client);
    // SAFETY: the client was blocked just now, so the server keeps it until it has called `end`; the callback is that
    // of this `T`.
    unsafe { api!(RedisModule_SetDisconnectCallback)(client, Some(disconnect::<T>)) };
    replied::note();
    Ok(Waiter { record })
}

/// The record of the client that a callback is for.
///
/// # Safety
/// In a callback of a client blocked by [`block_on_key`] with this `T`, for as long as it runs.
unsafe fn record<'a, T: Waiting>(ctx: Context<'a>) -> Option<&'a BlockedRecord<T>> {
    // SAFETY: the context is a blocked client's, so the server gives back the private data that it was blocked with:
    // our reference to a record of this `T`, which `end` takes back after all other callbacks; or null.
    unsafe { api!(RedisModule_GetBlockedClientPrivateData)(ctx.raw()).cast::<BlockedRecord<T>>().as_ref() }
}

/// The key exists after all, because a client created it or a database was swapped in. The client stays blocked.
unsafe extern "C" fn stay(_: *mut RedisModuleCtx, _: *mut *mut RedisModuleString, _: c_int) -> c_int {
    raw::ERR
}

/// The client was woken, or has timed out.
unsafe extern "C" fn reply<T: Waiting>(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server gives a context that lives through this call, on its main thread.
    if let Some(ctx) = unsafe { Context::new(ctx) } {
        answering("the reply to a waiting client", ctx, || {
            // SAFETY: `block_on_key` gave this function, of this `T`, to the server together with the record.
            if let Some(record) = unsafe { record::<T>(ctx) } {
                record.client.set(ptr::null_mut());
                record.state.on_reply(ctx);
            }
        });
    }
    raw::OK
}

unsafe extern "C" fn disconnect<T: Waiting>(ctx: *mut RedisModuleCtx, _: *mut RedisModuleBlockedClient) {
    guard("the loss of a waiting client", (), || {
        // SAFETY: the server gives a context that lives through this call, on its main thread.
        let Some(ctx) = (unsafe { Context::new(ctx) }) else { return };
        // SAFETY: `block_on_key` gave this function, of this `T`, to the server together with the record.
        if let Some(record) = unsafe { record::<T>(ctx) } {
            record.client.set(ptr::null_mut());
            record.state.on_disconnect(ctx);
        }
    });
}

unsafe extern "C" fn end<T: Waiting>(_: *mut RedisModuleCtx, privdata: *mut c_void) {
    guard("the end of a wait", (), || {
        // SAFETY: the reference that `block_on_key` made, taken back once: the server calls this once.
        let record = unsafe { Rc::from_raw(privdata.cast::<BlockedRecord<T>>().cast_const()) };
        record.client.set(ptr::null_mut());
        record.state.on_end();
    });
}
