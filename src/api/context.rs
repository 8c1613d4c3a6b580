//! The context of a call: the client, the state of the server, and what the module can ask it to do.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::flags::Flags;
use super::log::{Level, log_with};
use super::raw::{self, RedisModuleCtx, api, optional};
use super::string::Arg;

/// Whether a client is connected. The clients that the server uses internally, for example for scripts, are not; except
/// on Valkey 9.1.
pub fn is_connected(client_id: u64) -> bool {
    // SAFETY: the server takes null for "only whether it exists", and then writes nothing; it looks the number up among
    // its clients.
    unsafe { api!(RedisModule_GetClientInfoById)(ptr::null_mut(), client_id) == raw::OK }
}

/// A server that evicts keys makes room before each command. Between two commands it can exceed `maxmemory` by this
/// much.
const EVICTING_RATIO: f32 = 1.05;

/// The number of slots in a cluster.
const SLOTS: u16 = 16384;

/// The server has refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The context of one call from the server. It lives as long as that call, and stays on its thread.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    raw: NonNull<RedisModuleCtx>,
    /// The number of the selected database, where the server could tell another one.
    db: Option<i32>,
    life: PhantomData<&'a RedisModuleCtx>,
}

/// The module's own context, for code that the server calls without a full context.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

impl<'a> Context<'a> {
    /// `None` if the pointer is null, which the server never gives.
    ///
    /// # Safety
    /// The context lives for `'a`, and this is the server's main thread.
    pub(super) unsafe fn new(raw: *mut RedisModuleCtx) -> Option<Context<'a>> {
        NonNull::new(raw).map(|raw| Context { raw, db: None, life: PhantomData })
    }

    #[inline]
    pub(super) fn raw(self) -> *mut RedisModuleCtx {
        self.raw.as_ptr()
    }

    /// Creates the module's own context.
    pub(super) fn detach(self) {
        // SAFETY: the context lives, and the server creates a new one from it, which is ours and never freed.
        let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(self.raw()) };
        DETACHED.store(detached, Relaxed);
    }

    /// The module's own context. It can start timers and write to the log, but must **not** change or replicate data,
    /// because the server doesn't flush what it replicates. Main thread only, where all callbacks of the server run.
    pub(super) fn detached() -> Option<Context<'static>> {
        // SAFETY: null, or made by `detach` and never freed. Callers are on the main thread: only callbacks of the
        // server call.
        unsafe { Context::new(DETACHED.load(Relaxed)) }
    }

    /// Writes a line to the server's log. Control characters become blanks, and the server cuts the line at 1 KiB.
    pub fn log(self, level: Level, text: &str) {
        // SAFETY: the context lives as long as `self`.
        unsafe { log_with(self.raw(), level, text) };
    }

    /// The state of the server and of the command. Takes about 10 ns.
    #[inline]
    pub fn flags(self) -> Flags {
        // SAFETY: the context lives as long as `self`, and the server only reads it.
        Flags(unsafe { api!(RedisModule_GetContextFlags)(self.raw()) })
    }

    /// Whether the server would refuse a `deny-oom` command now.
    pub fn is_out_of_memory(self) -> bool {
        let flags = self.flags();
        let ratio = || match optional!(RedisModule_GetUsedMemoryRatio) {
            // SAFETY: the function takes nothing and divides two numbers of the server.
            Some(ratio) => unsafe { ratio() },
            None => 0.0,
        };
        flags.any(Flags::OOM) && (!flags.any(Flags::EVICT) || ratio() > EVICTING_RATIO)
    }

    /// Whether nothing may be replicated now: writes are paused, or a failover or a move of slots is in progress. The
    /// server aborts if something is replicated all the same. So check this **before** any change outside a client's
    /// write command. Takes 1–2 ns.
    #[inline]
    pub fn avoid_replica_traffic(self) -> bool {
        // SAFETY: the function takes nothing and reads the server's own state, on its thread.
        unsafe { api!(RedisModule_AvoidReplicaTraffic)() != 0 }
    }

    /// Whether data can be changed outside a client's command: on a primary that isn't loading, not in a forked child,
    /// and not while writes are paused, when replicating would abort the server.
    pub fn may_change_data(self) -> bool {
        let flags = self.flags();
        flags.is_primary() && !flags.is_loading() && !flags.is_child() && !self.avoid_replica_traffic()
    }

    /// The id of the present client; 0 in timers and events. It can be an internal client of the server, which never
    /// disconnects: for scripts, functions, calls of other modules, and files that are loaded.
    fn client_id(self) -> u64 {
        // SAFETY: the context lives as long as `self`; one without a client answers 0.
        unsafe { api!(RedisModule_GetClientId)(self.raw()) }
    }

    /// The connection that sent this command. The server will report when it closes. `None` if there is no such
    /// connection: in scripts and functions, in calls of other modules, in timers, and for commands from a primary or a
    /// file.
    pub fn connection(self) -> Option<u64> {
        let (id, flags) = (self.client_id(), self.flags());
        // Valkey 9.1 counts the client of its scripts as connected, so `is_connected` alone is not enough.
        let is_called = flags.any(Flags::LUA) || flags.denies_blocking() && !flags.any(Flags::MULTI);
        let is_from_peer = flags.is_replicated() || flags.is_loading();
        (!is_called && !is_from_peer && is_connected(id)).then_some(id)
    }

    /// Closes the connection of the present client, if it has one, after the reply so far.
    pub fn close_client(self) {
        let Some(id) = self.connection() else { return };
        // SAFETY: the context lives; the server looks up the id. It returns an error if the client no longer exists,
        // which needs no action. It closes the connection later, not during this call.
        unsafe { api!(RedisModule_DeauthenticateAndCloseClient)(self.raw(), id) };
    }

    /// The number of the selected database.
    pub fn selected_db(self) -> i32 {
        // SAFETY: the context lives as long as `self`, and every context has a client, maybe the server's own.
        self.db.unwrap_or_else(|| unsafe { api!(RedisModule_GetSelectedDb)(self.raw()) })
    }

    /// This context with a number of the selected database that the server doesn't tell.
    pub(super) fn in_db(self, db: i32) -> Context<'a> {
        Context { db: Some(db), ..self }
    }

    /// Selects another database, in timers and events. (A command stays in the database of its client.)
    pub fn select_db(self, db: i32) -> Result<(), Refused> {
        // SAFETY: the context lives as long as `self`, and the server refuses a number that is no database.
        accepted(unsafe { api!(RedisModule_SelectDb)(self.raw(), db) })
    }

    /// Reports that the key has changed: transactions that WATCH it fail, and client caches drop it.
    pub fn signal_modified(self, key: Arg<'_>) {
        // SAFETY: the context lives as long as `self`, the name as long as `key`; the server only reads the name.
        unsafe { api!(RedisModule_SignalModifiedKey)(self.raw(), key.raw()) };
    }

    /// Sends a keyspace event of class `d` about the key. No value may be borrowed, because other modules get the event
    /// too, and can do anything.
    pub fn notify(self, event: &CStr, key: Arg<'_>) {
        // SAFETY: context, text and name live through the call. The caller holds no value, so other modules may change
        // any.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent)(self.raw(), NOTIFY_MODULE, event.as_ptr(), key.raw())
        };
    }

    /// Sends `cmd key effect [extra ...]` to replicas and the AOF, at the end of the current unit of execution. The key
    /// and the extra arguments are shared with the server, the effect is copied. Errors: no such command exists.
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

    /// Sends the running command unchanged to replicas and the AOF. Only in a command.
    pub fn replicate_verbatim(self) {
        // SAFETY: a command's context lives, and so do the arguments that the server keeps with its client.
        unsafe { api!(RedisModule_ReplicateVerbatim)(self.raw()) };
    }

    /// Sends `cmd bytes`, a command without a key, to replicas and the AOF.
    pub fn replicate_keyless(self, cmd: &CStr, bytes: &[u8]) -> Result<(), Refused> {
        // SAFETY: the context lives; "b" is a pointer and a size, which live through the call.
        accepted(unsafe {
            api!(RedisModule_Replicate)(self.raw(), cmd.as_ptr(), c"b".as_ptr(), bytes.as_ptr(), bytes.len())
        })
    }

    /// Whether cluster mode is on.
    pub fn is_cluster(self) -> bool {
        self.flags().is_cluster()
    }

    /// Whether this node may use the keys of this slot. Known from Redis 8.4 on; always true on other servers. Valkey 9
    /// reports the slots that are being imported by [`super::events::ServerEvent::SlotsMove`].
    pub fn can_access_slot(self, slot: u16) -> bool {
        match optional!(RedisModule_ClusterCanAccessKeysInSlot) {
            // SAFETY: the server uses the slot as an index into its tables, and the slot exists.
            Some(can) if slot < SLOTS => unsafe { can(c_int::from(slot)) != 0 },
            _ => true,
        }
    }
}

/// Class `d` of keyspace events: events of modules.
const NOTIFY_MODULE: c_int = raw::REDISMODULE_NOTIFY_MODULE;

/// Whether `notify-keyspace-events` has class `d`. Takes 1–2 ns.
#[inline]
pub fn notifies() -> bool {
    // SAFETY: the function takes nothing and returns a variable of the server, on its thread.
    unsafe { api!(RedisModule_GetNotifyKeyspaceEvents)() & NOTIFY_MODULE != 0 }
}

/// Random bytes from the server's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the server writes N bytes, and there are N.
    unsafe { api!(RedisModule_GetRandomBytes)(bytes.as_mut_ptr(), N) };
    bytes
}

pub(super) fn accepted(status: c_int) -> Result<(), Refused> {
    if status == raw::OK { Ok(()) } else { Err(Refused) }
}
