//! The server's events, and keyspace events.
//!
//! One callback gets all server events, another one all keyspace events. The server identifies events by numbers. The numbers 18
//! and 19 have different meanings in Redis and Valkey, which this file hides.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::context::Context;
use super::guard::guard;
use super::load::{LoadError, server};
use super::raw::{self, RedisModuleCtx, RedisModuleEvent, RedisModuleString, api};
use super::string::Arg;
use super::valkey;

/// The phase of a load of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPhase {
    /// The load begins, from an RDB file, an AOF or a primary.
    Started,
    /// The data is loaded.
    Ended,
    /// The load has failed.
    Failed,
}

/// The phase of a move of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovePhase {
    /// The move begins. At the target, the keys of the slots are copies until it is completed.
    Started,
    /// The move has failed or was cancelled.
    Failed,
    /// The slots belong to the target now.
    Completed,
}

/// The role of this node in a move of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The slots move to this node.
    Import,
    /// The slots move away from this node.
    Export,
}

/// A range of slots, both ends included.
pub type SlotRange = std::ops::RangeInclusive<u16>;

/// An event of the server.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// This node has become a primary or a replica. There is no such event at the start.
    RoleChanged {
        /// Whether it is a primary now.
        primary: bool,
    },
    /// A load of data has begun, ended or failed.
    Loading(LoadPhase),
    /// A replica of this node has got the data, and gets every change from now on.
    ReplicaOnline,
    /// Two databases were swapped.
    SwapDb {
        /// The number of one database.
        a: i32,
        /// The number of the other database.
        b: i32,
    },
    /// The server's cron has run.
    Cron {
        /// How often it runs, in times per second.
        hz: i32,
    },
    /// The connection of a client has closed.
    ClientDisconnected {
        /// The id of the client.
        client_id: u64,
    },
    /// Slots move to this node or away from it, as a whole (Redis 8.4, Valkey 9).
    SlotsMove {
        /// The role of this node.
        direction: Direction,
        /// The phase of the move.
        phase: MovePhase,
        /// The slots that move.
        ranges: Vec<SlotRange>,
    },
}

/// The kinds of events, for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For [`ServerEvent::RoleChanged`].
    Role,
    /// For [`ServerEvent::Loading`].
    Loading,
    /// For [`ServerEvent::ReplicaOnline`].
    Replica,
    /// For [`ServerEvent::SwapDb`].
    SwapDb,
    /// For [`ServerEvent::Cron`].
    Cron,
    /// For [`ServerEvent::ClientDisconnected`].
    Client,
    /// For [`ServerEvent::SlotsMove`].
    Slots,
}

const ROLE: u64 = raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED;
const LOADING: u64 = raw::REDISMODULE_EVENT_LOADING;
const CLIENT: u64 = raw::REDISMODULE_EVENT_CLIENT_CHANGE;
const REPLICA: u64 = raw::REDISMODULE_EVENT_REPLICA_CHANGE;
const CRON: u64 = raw::REDISMODULE_EVENT_CRON_LOOP;
const SWAP_DB: u64 = raw::REDISMODULE_EVENT_SWAPDB;
const REDIS_SLOTS: u64 = raw::REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION;
const VALKEY_SLOTS: u64 = valkey::EVENT_ATOMIC_SLOT_MIGRATION;

static HANDLER: OnceLock<fn(Context<'_>, ServerEvent)> = OnceLock::new();
static KEY_HANDLER: OnceLock<fn(Context<'_>, &CStr, Arg<'_>)> = OnceLock::new();

/// Subscribes to server events. Returns the kinds that this server doesn't have. Called once, while the module is loaded.
pub fn subscribe(ctx: Context<'_>, kinds: &[Kind], handler: fn(Context<'_>, ServerEvent)) -> Vec<Kind> {
    HANDLER.get_or_init(|| handler);
    let mut unknown = Vec::new();
    for kind in kinds {
        let ids: &[u64] = match kind {
            Kind::Client if client_events_crash() => {
                unknown.push(*kind);
                &[]
            }
            Kind::Role => &[ROLE],
            Kind::Loading => &[LOADING],
            Kind::Replica => &[REPLICA],
            Kind::SwapDb => &[SWAP_DB],
            Kind::Cron => &[CRON],
            Kind::Client => &[CLIENT],
            Kind::Slots if server().is_valkey() => &[VALKEY_SLOTS],
            Kind::Slots => &[REDIS_SLOTS],
        };
        for id in ids {
            let event = RedisModuleEvent { id: *id, dataver: 1 };
            // SAFETY: OnLoad's context knows the module; the server refuses an event that it doesn't know, and `on_event` has the
            // signature of such a callback.
            let status =
                unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw(), event, Some(on_event)) };
            if status != raw::OK && unknown.last() != Some(kind) {
                unknown.push(*kind);
            }
        }
    }
    unknown
}

/// Whether events of closed clients can crash this server. Redis before 6.2.8, and 7.0 before 7.0.6, move a client that has
/// closed to database 0 before they send the event. If the client was blocked in another database, by any command, the server
/// then aborts (redis PR 11500).
fn client_events_crash() -> bool {
    let version = server().version;
    !server().is_valkey() && (version < 0x0006_0208 || (0x0007_0000..0x0007_0006).contains(&version))
}

unsafe extern "C" fn on_event(
    ctx: *mut RedisModuleCtx,
    event: RedisModuleEvent,
    sub: u64,
    data: *mut c_void,
) {
    guard("a server event", (), || {
        // SAFETY: the server gives a context that lives through this call, on its main thread.
        let (Some(ctx), Some(handler)) = (unsafe { Context::new(ctx) }, HANDLER.get()) else { return };
        // SAFETY: the event was subscribed to with version 1 of its data, so that is what it comes with.
        if let Some(event) = unsafe { translate(event.id, sub, data) } {
            handler(ctx, event);
        }
    });
}

/// # Safety
/// `data` is what event `id` comes with: null, or the struct of its version 1.
unsafe fn translate(id: u64, sub: u64, data: *const c_void) -> Option<ServerEvent> {
    match id {
        ROLE => Some(ServerEvent::RoleChanged {
            primary: sub == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER,
        }),
        LOADING => Some(ServerEvent::Loading(match sub {
            raw::REDISMODULE_SUBEVENT_LOADING_RDB_START
            | raw::REDISMODULE_SUBEVENT_LOADING_AOF_START
            | raw::REDISMODULE_SUBEVENT_LOADING_REPL_START => LoadPhase::Started,
            raw::REDISMODULE_SUBEVENT_LOADING_ENDED => LoadPhase::Ended,
            raw::REDISMODULE_SUBEVENT_LOADING_FAILED => LoadPhase::Failed,
            _ => return None,
        })),
        REPLICA if sub == raw::REDISMODULE_SUBEVENT_REPLICA_CHANGE_ONLINE => Some(ServerEvent::ReplicaOnline),
        SWAP_DB => {
            // SAFETY: the caller promises null, or the struct of SWAPDB, which lives through the callback.
            let info = unsafe { data.cast::<raw::RedisModuleSwapDbInfo>().as_ref() }?;
            Some(ServerEvent::SwapDb { a: info.dbnum_first, b: info.dbnum_second })
        }
        CRON => {
            // SAFETY: the caller promises null, or the struct of the cron loop, which lives through the callback.
            let info = unsafe { data.cast::<raw::RedisModuleCronLoopInfo>().as_ref() }?;
            Some(ServerEvent::Cron { hz: info.hz })
        }
        CLIENT if sub == raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED => {
            // SAFETY: the caller promises null, or the struct of a change of a client, which lives through the callback.
            let info = unsafe { data.cast::<raw::RedisModuleClientInfo>().as_ref() }?;
            Some(ServerEvent::ClientDisconnected { client_id: info.id })
        }
        VALKEY_SLOTS if server().is_valkey() => {
            // SAFETY: the caller promises null, or the struct of an atomic slot migration of Valkey, which lives through the callback.
            let info = unsafe { data.cast::<valkey::SlotMigrationInfo>().as_ref() }?;
            let (direction, phase) = match sub {
                0 => (Direction::Import, MovePhase::Started),
                1 => (Direction::Export, MovePhase::Started),
                2 => (Direction::Import, MovePhase::Failed),
                3 => (Direction::Export, MovePhase::Failed),
                4 => (Direction::Import, MovePhase::Completed),
                5 => (Direction::Export, MovePhase::Completed),
                _ => return None,
            };
            // SAFETY: pointer and count belong together: both are of the struct that the server made.
            let ranges = unsafe { valkey_ranges(info) };
            Some(ServerEvent::SlotsMove { direction, phase, ranges })
        }
        REDIS_SLOTS if !server().is_valkey() => {
            // SAFETY: the caller promises null, or the struct of a slot migration of Redis, which lives through the callback.
            let info = unsafe { data.cast::<raw::RedisModuleClusterSlotMigrationInfo>().as_ref() }?;
            let (direction, phase) = match sub {
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_STARTED => {
                    (Direction::Import, MovePhase::Started)
                }
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_FAILED => {
                    (Direction::Import, MovePhase::Failed)
                }
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_COMPLETED => {
                    (Direction::Import, MovePhase::Completed)
                }
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_STARTED => {
                    (Direction::Export, MovePhase::Started)
                }
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_FAILED => {
                    (Direction::Export, MovePhase::Failed)
                }
                raw::REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_COMPLETED => {
                    (Direction::Export, MovePhase::Completed)
                }
                _ => return None,
            };
            // SAFETY: the array is of the struct that the server made, or null.
            let ranges = unsafe { redis_ranges(info.slots) };
            Some(ServerEvent::SlotsMove { direction, phase, ranges })
        }
        _ => None,
    }
}

/// # Safety
/// Null, or an array as Redis 8.4 makes it.
unsafe fn redis_ranges(array: *const raw::RedisModuleSlotRangeArray) -> Vec<SlotRange> {
    // SAFETY: the caller's promise: null, or an array that the server made.
    let Some(array) = (unsafe { array.as_ref() }) else { return Vec::new() };
    let count = usize::try_from(array.num_ranges).unwrap_or(0);
    // SAFETY: the count is that of the ranges that follow it. (The server made the pointer for the whole array.)
    let ranges = unsafe { std::slice::from_raw_parts(array.ranges.as_ptr(), count) };
    ranges.iter().map(|range| range.start..=range.end).collect()
}

/// # Safety
/// As Valkey 9 made it.
unsafe fn valkey_ranges(info: &valkey::SlotMigrationInfo) -> Vec<SlotRange> {
    let count = usize::try_from(info.num_slot_ranges).unwrap_or(0);
    if info.slot_ranges.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise: there are `count` ranges, and they live as long as the struct.
    let ranges = unsafe { std::slice::from_raw_parts(info.slot_ranges, count) };
    let slot = |slot: i32| u16::try_from(slot).unwrap_or(u16::MAX);
    ranges.iter().map(|range| slot(range.start)..=slot(range.end)).collect()
}

/// Class `g` of keyspace events: DEL, RENAME, RESTORE, COPY, MOVE, EXPIRE and others.
pub const NOTIFY_GENERIC: i32 = raw::REDISMODULE_NOTIFY_GENERIC;
/// The class of events for keys that are loaded from an RDB file. Only modules get it.
pub const NOTIFY_LOADED: i32 = raw::REDISMODULE_NOTIFY_LOADED;

/// Subscribes to keyspace events of these classes, independently of `notify-keyspace-events`. The handler gets the name of the
/// event and the key, with the key's database selected. It must not change data. Called once, while the module is loaded.
pub fn subscribe_to_keys(
    ctx: Context<'_>,
    classes: i32,
    handler: fn(Context<'_>, &CStr, Arg<'_>),
) -> Result<(), LoadError> {
    KEY_HANDLER.get_or_init(|| handler);
    // SAFETY: OnLoad's context knows the module, and `on_key_event` has the signature of such a callback.
    match unsafe { api!(RedisModule_SubscribeToKeyspaceEvents)(ctx.raw(), classes, Some(on_key_event)) } {
        raw::OK => Ok(()),
        _ => Err("the server refused the subscription to keyspace events".into()),
    }
}

unsafe extern "C" fn on_key_event(
    ctx: *mut RedisModuleCtx,
    _class: c_int,
    event: *const c_char,
    key: *mut RedisModuleString,
) -> c_int {
    guard("a keyspace event", (), || {
        // SAFETY: the server gives a context that lives through this call, on its main thread.
        let (Some(ctx), Some(handler)) = (unsafe { Context::new(ctx) }, KEY_HANDLER.get()) else { return };
        let (false, Some(key)) = (event.is_null(), NonNull::new(key)) else { return };
        // SAFETY: both live through this call.
        let (event, key) = unsafe { (CStr::from_ptr(event), Arg::new(key)) };
        // While a file is loaded, the name is on the server's stack, and opening a key by it would abort the server. `hold` makes a
        // copy in that case.
        let key = key.hold();
        handler(ctx, event, key.as_arg());
    });
    raw::OK
}
