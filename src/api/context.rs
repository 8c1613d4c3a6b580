//! The context of a call: whom we serve, what the server is doing, and what we tell it.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::raw::{self, api};
use super::reply::Reply;
use super::string::{Arg, line};

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For operators, now.
    Warning,
}

impl Level {
    pub(super) fn name(self) -> &'static CStr {
        match self {
            Level::Warning => c"warning",
        }
    }
}

/// Writes one line to the server's log, from any thread and without a context. Control characters become blanks.
pub fn log(level: Level, text: &str) {
    log_with(ptr::null_mut(), level, text);
}

fn log_with(ctx: *mut raw::Ctx, level: Level, text: &str) {
    let text = line(text);
    // SAFETY: the format takes one C string, and gets one; the context is live or null, which the server allows.
    unsafe { (api().log)(ctx, level.name().as_ptr(), c"%s".as_ptr(), text.as_ptr()) }
}

/// Whether a client is there. Those that the server makes for scripts and the like are not, except on Valkey 9.1.
pub fn is_connected(client_id: u64) -> bool {
    // SAFETY: the server takes null for "only whether it exists".
    unsafe { (api().get_client_info_by_id)(ptr::null_mut(), client_id) == raw::OK }
}

/// What the server is and does at the moment, as `RM_GetContextFlags` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(i32);

impl Flags {
    /// In a script.
    pub const LUA: i32 = 1 << 0;
    /// In a transaction.
    pub const MULTI: i32 = 1 << 1;
    /// This node is a primary.
    pub const PRIMARY: i32 = 1 << 2;
    /// What is written goes to an AOF.
    pub const AOF: i32 = 1 << 6;
    /// Cluster mode is on.
    pub const CLUSTER: i32 = 1 << 5;
    /// The server frees memory by evicting keys.
    pub const EVICT: i32 = 1 << 9;
    /// More memory is used than `maxmemory`.
    pub const OOM: i32 = 1 << 10;
    /// The command came over the replication link (or from a slot migration).
    pub const REPLICATED: i32 = 1 << 12;
    /// An RDB or AOF file is being loaded.
    pub const LOADING: i32 = 1 << 13;
    /// This process is a forked child.
    pub const CHILD: i32 = 1 << 20;
    /// The client can't be blocked: transaction, script, AOF, a call of another module.
    pub const DENY_BLOCKING: i32 = 1 << 21;
    /// A replica is loading a second dataset while it serves the first.
    pub const ASYNC_LOADING: i32 = 1 << 23;

    /// What holds for the server whatever runs: nothing of the client or the command is told.
    pub fn of_server() -> Flags {
        // SAFETY: the server allows null and then tells of itself only.
        Flags(unsafe { (api().get_context_flags)(ptr::null_mut()) })
    }

    /// Whether any of these bits is set.
    pub fn any(self, bits: i32) -> bool {
        self.0 & bits != 0
    }

    /// This node is a primary.
    pub fn is_primary(self) -> bool {
        self.any(Self::PRIMARY)
    }

    /// A dataset is being loaded, in the foreground or beside the one that is served.
    pub fn is_loading(self) -> bool {
        self.any(Self::LOADING | Self::ASYNC_LOADING)
    }

    /// A dataset is being loaded beside the one that is served.
    pub fn is_loading_beside(self) -> bool {
        self.any(Self::ASYNC_LOADING)
    }

    /// The command came over the replication link (or from a slot migration).
    pub fn is_replicated(self) -> bool {
        self.any(Self::REPLICATED)
    }

    /// The client can't be blocked, or must not be: Redis would block the link to the primary, for ever.
    pub fn denies_blocking(self) -> bool {
        self.any(Self::DENY_BLOCKING | Self::REPLICATED)
    }

    /// In a transaction or a script: what follows in it sees what we do now.
    pub fn is_multi_or_lua(self) -> bool {
        self.any(Self::MULTI | Self::LUA)
    }

    /// This process is a forked child.
    pub fn is_child(self) -> bool {
        self.any(Self::CHILD)
    }

    /// What is written goes to an AOF.
    pub fn has_aof(self) -> bool {
        self.any(Self::AOF)
    }

    /// Cluster mode is on.
    pub fn is_cluster(self) -> bool {
        self.any(Self::CLUSTER)
    }
}

/// A server that evicts makes room before each command: between two it may be above its bound by this much.
const EVICTING_RATIO: f32 = 1.05;

/// The server refused a change or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The context of one call from the server. It lives as long as that call, and stays on its thread.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    raw: NonNull<raw::Ctx>,
    life: PhantomData<&'a raw::Ctx>,
}

/// A context of the module's own, for what has to be started where the server gives none that is whole.
static DETACHED: AtomicPtr<raw::Ctx> = AtomicPtr::new(ptr::null_mut());

impl<'a> Context<'a> {
    /// `None` if the pointer is null, which the server never gives.
    ///
    /// # Safety
    /// The context lives for `'a`, and this is the server's main thread.
    pub(super) unsafe fn new(raw: *mut raw::Ctx) -> Option<Context<'a>> {
        NonNull::new(raw).map(|raw| Context { raw, life: PhantomData })
    }

    #[inline]
    pub(super) fn raw(self) -> *mut raw::Ctx {
        self.raw.as_ptr()
    }

    /// Makes the module's own context.
    pub(super) fn detach(self) {
        // SAFETY: the context lives; the copy is kept for ever.
        let detached = unsafe { (api().get_detached_thread_safe_context)(self.raw()) };
        DETACHED.store(detached, Relaxed);
    }

    /// The module's own context: to start timers and to log, **not** to change or replicate anything, since nobody
    /// flushes what it replicates. Main thread only, which its users (callbacks of the server) are on.
    pub(super) fn detached() -> Option<Context<'static>> {
        // SAFETY: made at load and never freed.
        unsafe { Context::new(DETACHED.load(Relaxed)) }
    }

    /// Writes one line to the server's log. Control characters become blanks; the server cuts it at 1 KiB.
    pub fn log(self, level: Level, text: &str) {
        log_with(self.raw(), level, text);
    }

    /// What the server is and does at the moment. About 10 ns.
    #[inline]
    pub fn flags(self) -> Flags {
        // SAFETY: the context lives.
        Flags(unsafe { (api().get_context_flags)(self.raw()) })
    }

    /// Whether the server has no memory for what grows, as it would say to a `deny-oom` command.
    pub fn is_out_of_memory(self) -> bool {
        let flags = self.flags();
        let ratio = || match api().get_used_memory_ratio {
            // SAFETY: takes nothing.
            Some(ratio) => unsafe { ratio() },
            None => 0.0,
        };
        flags.any(Flags::OOM) && (!flags.any(Flags::EVICT) || ratio() > EVICTING_RATIO)
    }

    /// Nothing may be replicated now (writes are paused, a failover or hand-off of slots is on): replicating all
    /// the same ends the server. To be asked **before** any change outside a client's write command. 1–2 ns.
    #[inline]
    pub fn avoid_replica_traffic(self) -> bool {
        // SAFETY: takes nothing.
        unsafe { (api().avoid_replica_traffic)() != 0 }
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
        // SAFETY: the context lives.
        unsafe { (api().get_client_id)(self.raw()) }
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
        // SAFETY: the context lives; an unknown client is an error, which there is nothing to do about.
        unsafe { (api().deauthenticate_and_close_client)(self.raw(), id) };
    }

    /// The database we are in.
    pub fn selected_db(self) -> i32 {
        // SAFETY: the context lives.
        unsafe { (api().get_selected_db)(self.raw()) }
    }

    /// Goes to another database, in timers and events (a command stays where its client is).
    pub fn select_db(self, db: i32) -> Result<(), Refused> {
        // SAFETY: the context lives; the server checks the number.
        accepted(unsafe { (api().select_db)(self.raw(), db) })
    }

    /// Tells that the key was changed: WATCH fails, client caches let go of it.
    pub fn signal_modified(self, key: Arg<'_>) {
        // SAFETY: context and string live.
        unsafe { (api().signal_modified_key)(self.raw(), key.raw()) };
    }

    /// Tells subscribers of keyspace events, of class `d`, what happened to the key. No value may be borrowed, since
    /// other modules are told too, and may do what they like.
    pub fn notify(self, event: &CStr, key: Arg<'_>) {
        // SAFETY: context, text and string live.
        unsafe { (api().notify_keyspace_event)(self.raw(), NOTIFY_MODULE, event.as_ptr(), key.raw()) };
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
                [] => (api().replicate)(ctx, cmd.as_ptr(), c"sb".as_ptr(), key.raw(), bytes, len),
                // The commonest case: "v" makes the server grow its list of arguments.
                [one] => {
                    (api().replicate)(ctx, cmd.as_ptr(), c"sbs".as_ptr(), key.raw(), bytes, len, one.raw())
                }
                all => {
                    let (strings, count) = (all.as_ptr(), all.len());
                    (api().replicate)(
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
        // SAFETY: the context lives.
        unsafe { (api().replicate_verbatim)(self.raw()) };
    }

    /// Sends `cmd bytes`, which is about no key, to replicas and AOF.
    pub fn replicate_keyless(self, cmd: &CStr, bytes: &[u8]) -> Result<(), Refused> {
        // SAFETY: the context lives; "b" is a pointer and a size, which live through the call.
        accepted(unsafe {
            (api().replicate)(self.raw(), cmd.as_ptr(), c"b".as_ptr(), bytes.as_ptr(), bytes.len())
        })
    }

    /// Cluster mode is on.
    pub fn is_cluster(self) -> bool {
        self.flags().is_cluster()
    }

    /// Whether this node may touch the keys of this slot. Only Redis 8.4 on knows; elsewhere always true, and on
    /// Valkey 9 the slots being imported are told by [`super::events::ServerEvent::SlotsMove`].
    pub fn can_access_slot(self, slot: u16) -> bool {
        match api().cluster_can_access_keys_in_slot {
            // SAFETY: takes a number.
            Some(can) => unsafe { can(c_int::from(slot)) != 0 },
            None => true,
        }
    }

    /// To reply to the client we serve.
    #[inline]
    pub fn reply(self) -> Reply<'a> {
        Reply::new(self)
    }
}

/// Class `d`: events of keys of modules' types.
const NOTIFY_MODULE: c_int = 1 << 13;

/// Whether `notify-keyspace-events` has class `d`. The server returns a variable: 1–2 ns.
#[inline]
pub fn notifies() -> bool {
    // SAFETY: takes nothing.
    unsafe { (api().get_notify_keyspace_events)() & NOTIFY_MODULE != 0 }
}

/// Random bytes, without a context.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the server fills exactly these bytes.
    unsafe { (api().get_random_bytes)(bytes.as_mut_ptr(), N) };
    bytes
}

pub(super) fn accepted(status: c_int) -> Result<(), Refused> {
    if status == raw::OK { Ok(()) } else { Err(Refused) }
}
