//! The context of a call: whom we serve, what the server is doing, and what we tell it.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::flags::Flags;
use super::log::{Level, log_with};
use super::raw::{self, RedisModuleCtx, api, optional};
use super::string::Arg;

/// Whether a client is there. Those that the server makes for scripts and the like are not, except on Valkey 9.1.
pub fn is_connected(client_id: u64) -> bool {
    // SAFETY: the server takes null for "only whether it exists", and then writes nothing; it looks the number up among its clients.
    unsafe { api!(RedisModule_GetClientInfoById)(ptr::null_mut(), client_id) == raw::OK }
}

/// A server that evicts makes room before each command: between two it may be above its bound by this much.
const EVICTING_RATIO: f32 = 1.05;

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// The server refused a change or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The context of one call from the server. It lives as long as that call, and stays on its thread.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    raw: NonNull<RedisModuleCtx>,
    life: PhantomData<&'a RedisModuleCtx>,
}

/// A context of the module's own, for what has to be started where the server gives none that is whole.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

impl<'a> Context<'a> {
    /// `None` if the pointer is null, which the server never gives.
    ///
    /// # Safety
    /// The context lives for `'a`, and this is the server's main thread.
    pub(super) unsafe fn new(raw: *mut RedisModuleCtx) -> Option<Context<'a>> {
        NonNull::new(raw).map(|raw| Context { raw, life: PhantomData })
    }

    #[inline]
    pub(super) fn raw(self) -> *mut RedisModuleCtx {
        self.raw.as_ptr()
    }

    /// Makes the module's own context.
    pub(super) fn detach(self) {
        // SAFETY: the context lives, and the server makes another one of it, which is ours and is kept for ever.
        let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(self.raw()) };
        DETACHED.store(detached, Relaxed);
    }

    /// The module's own context: to start timers and to log, **not** to change or replicate anything, since nobody
    /// flushes what it replicates. Main thread only, which its users (callbacks of the server) are on.
    pub(super) fn detached() -> Option<Context<'static>> {
        // SAFETY: null, or made by `detach` and never freed. Callers are on the main thread: only callbacks of the server call.
        unsafe { Context::new(DETACHED.load(Relaxed)) }
    }

    /// Writes one line to the server's log. Control characters become blanks; the server cuts it at 1 KiB.
    pub fn log(self, level: Level, text: &str) {
        // SAFETY: the context lives as long as `self`.
        unsafe { log_with(self.raw(), level, text) };
    }

    /// What the server is and does at the moment. About 10 ns.
    #[inline]
    pub fn flags(self) -> Flags {
        // SAFETY: the context lives as long as `self`, and the server only reads it.
        Flags(unsafe { api!(RedisModule_GetContextFlags)(self.raw()) })
    }

    /// Whether the server has no memory for what grows, as it would say to a `deny-oom` command.
    pub fn is_out_of_memory(self) -> bool {
        let flags = self.flags();
        let ratio = || match optional!(RedisModule_GetUsedMemoryRatio) {
            // SAFETY: the function takes nothing and divides two numbers of the server's.
            Some(ratio) => unsafe { ratio() },
            None => 0.0,
        };
        flags.any(Flags::OOM) && (!flags.any(Flags::EVICT) || ratio() > EVICTING_RATIO)
    }

    /// Nothing may be replicated now (writes are paused, a failover or hand-off of slots is on): replicating all
    /// the same ends the server. To be asked **before** any change outside a client's write command. 1–2 ns.
    #[inline]
    pub fn avoid_replica_traffic(self) -> bool {
        // SAFETY: the function takes nothing and reads the server's own state, on its thread.
        unsafe { api!(RedisModule_AvoidReplicaTraffic)() != 0 }
    }

    /// Whether data may be changed outside a client's command: on a primary that isn't loading, not in a child, and not
    /// while writes are paused, when replicating would end the server.
    pub fn may_change_data(self) -> bool {
        let flags = self.flags();
        flags.is_primary() && !flags.is_loading() && !flags.is_child() && !self.avoid_replica_traffic()
    }

    /// The client we serve; 0 in timers and events. It need not be anybody's: scripts, functions, calls of other modules
    /// and files that are loaded run on clients of the server's own, which never disconnect.
    fn client_id(self) -> u64 {
        // SAFETY: the context lives as long as `self`; one without a client answers 0.
        unsafe { api!(RedisModule_GetClientId)(self.raw()) }
    }

    /// The connection whose command this is, which will be told of when it closes. `None` where there is none: in scripts
    /// and functions, in calls of other modules, in timers, and for what a primary or a file sends.
    pub fn connection(self) -> Option<u64> {
        let (id, flags) = (self.client_id(), self.flags());
        // Valkey 9.1 finds the client of its scripts among those that are connected, so that alone doesn't tell.
        let is_called = flags.any(Flags::LUA) || flags.denies_blocking() && !flags.any(Flags::MULTI);
        let is_told = flags.is_replicated() || flags.is_loading();
        (!is_called && !is_told && is_connected(id)).then_some(id)
    }

    /// Closes the connection of the client we serve, if it has one, after what was replied so far.
    pub fn close_client(self) {
        let Some(id) = self.connection() else { return };
        // SAFETY: the context lives; the server looks the number up, and answers an error, which there is nothing to do
        // about, where the client is gone. It closes the connection later, not under our hands.
        unsafe { api!(RedisModule_DeauthenticateAndCloseClient)(self.raw(), id) };
    }

    /// The database we are in.
    pub fn selected_db(self) -> i32 {
        // SAFETY: the context lives as long as `self`, and every context has a client, maybe the server's own.
        unsafe { api!(RedisModule_GetSelectedDb)(self.raw()) }
    }

    /// Goes to another database, in timers and events (a command stays where its client is).
    pub fn select_db(self, db: i32) -> Result<(), Refused> {
        // SAFETY: the context lives as long as `self`, and the server refuses a number that is no database.
        accepted(unsafe { api!(RedisModule_SelectDb)(self.raw(), db) })
    }

    /// Tells that the key was changed: WATCH fails, client caches let go of it.
    pub fn signal_modified(self, key: Arg<'_>) {
        // SAFETY: the context lives as long as `self`, the name as long as `key`; the server only reads the name.
        unsafe { api!(RedisModule_SignalModifiedKey)(self.raw(), key.raw()) };
    }

    /// Tells subscribers of keyspace events, of class `d`, what happened to the key. No value may be borrowed, since
    /// other modules are told too, and may do what they like.
    pub fn notify(self, event: &CStr, key: Arg<'_>) {
        // SAFETY: context, text and name live through the call. The caller holds no value, so other modules may change any.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent)(self.raw(), NOTIFY_MODULE, event.as_ptr(), key.raw())
        };
    }

    /// Sends `cmd key effect [extra …]` to replicas and AOF, at the end of the current unit. The key and the extra
    /// arguments are shared with the server, the effect is copied. Refused if no such command exists.
    pub fn replicate(
        self,
        cmd: &CStr,
        key: Arg<'_>,
        effect: &[u8],
        extra: &[Arg<'_>],
    ) -> Result<(), Refused> {
        let (ctx, bytes, len) = (self.raw(), effect.as_ptr(), effect.len());
        // SAFETY: "s" is a string, "b" a pointer and a size, "v" a pointer to strings and a size; `Arg` has the
        // layout of a pointer to a string. All of them live through the call.
        accepted(unsafe {
            match extra {
                [] => api!(RedisModule_Replicate)(ctx, cmd.as_ptr(), c"sb".as_ptr(), key.raw(), bytes, len),
                // The commonest case: "v" makes the server grow its list of arguments.
                [one] => api!(RedisModule_Replicate)(
                    ctx,
                    cmd.as_ptr(),
                    c"sbs".as_ptr(),
                    key.raw(),
                    bytes,
                    len,
                    one.raw(),
                ),
                all => {
                    let (strings, count) = (all.as_ptr(), all.len());
                    api!(RedisModule_Replicate)(
                        ctx,
                        cmd.as_ptr(),
                        c"sbv".as_ptr(),
                        key.raw(),
                        bytes,
                        len,
                        strings,
                        count,
                    )
                }
            }
        })
    }

    /// Sends the running command as it is to replicas and AOF. Only in a command.
    pub fn replicate_verbatim(self) {
        // SAFETY: a command's context lives, and so do the arguments that the server keeps with its client.
        unsafe { api!(RedisModule_ReplicateVerbatim)(self.raw()) };
    }

    /// Sends `cmd bytes`, which is about no key, to replicas and AOF.
    pub fn replicate_keyless(self, cmd: &CStr, bytes: &[u8]) -> Result<(), Refused> {
        // SAFETY: the context lives; "b" is a pointer and a size, which live through the call.
        accepted(unsafe {
            api!(RedisModule_Replicate)(self.raw(), cmd.as_ptr(), c"b".as_ptr(), bytes.as_ptr(), bytes.len())
        })
    }

    /// Cluster mode is on.
    pub fn is_cluster(self) -> bool {
        self.flags().is_cluster()
    }

    /// Whether this node may touch the keys of this slot. Only Redis 8.4 on knows; elsewhere always true, and on
    /// Valkey 9 the slots being imported are told by [`super::events::ServerEvent::SlotsMove`].
    pub fn can_access_slot(self, slot: u16) -> bool {
        match optional!(RedisModule_ClusterCanAccessKeysInSlot) {
            // SAFETY: the server looks into tables of its slots at this place, and there is such a slot.
            Some(can) if slot < SLOTS => unsafe { can(c_int::from(slot)) != 0 },
            _ => true,
        }
    }
}

/// Class `d`: events of keys of modules' types.
const NOTIFY_MODULE: c_int = raw::REDISMODULE_NOTIFY_MODULE;

/// Whether `notify-keyspace-events` has class `d`. The server returns a variable: 1–2 ns.
#[inline]
pub fn notifies() -> bool {
    // SAFETY: the function takes nothing and returns a variable of the server, on its thread.
    unsafe { api!(RedisModule_GetNotifyKeyspaceEvents)() & NOTIFY_MODULE != 0 }
}

/// Random bytes, without a context.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the server writes N bytes, and there are N.
    unsafe { api!(RedisModule_GetRandomBytes)(bytes.as_mut_ptr(), N) };
    bytes
}

pub(super) fn accepted(status: c_int) -> Result<(), Refused> {
    if status == raw::OK { Ok(()) } else { Err(Refused) }
}
