//! The module API as C sees it: opaque types, struct layouts, constants, and the table of the server's functions.
//!
//! The table is filled once, by name, when the module is loaded; nothing else in the crate knows that functions are
//! found at run time. What every supported server has (Redis 6.2 on) is a plain function pointer, what came later an
//! `Option`. Layouts and numbers are those of `redismodule.h`; the names are shortened, not changed in meaning.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// Declares types that only the server looks into.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
            _not_send: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// `RedisModuleCtx`
    Ctx
    /// `RedisModuleString`
    Str
    /// `RedisModuleKey`
    Key
    /// `RedisModuleType`
    Type
    /// `RedisModuleIO`
    Io
    /// `RedisModuleDigest`
    Digest
    /// `RedisModuleDefragCtx`
    DefragCtx
    /// `RedisModuleBlockedClient`
    BlockedClient
    /// `RedisModuleCommand`
    Command
    /// `RedisModuleInfoCtx`
    InfoCtx
    /// `RedisModuleServerInfoData`
    ServerInfo
    /// `RedisModuleCallReply`
    CallReply
    /// `RedisModuleUser`
    User
}

/// `REDISMODULE_OK`
pub const OK: c_int = 0;
/// `REDISMODULE_ERR`
pub const ERR: c_int = 1;
/// The version of the module API itself; there is only this one.
pub const API_VERSION: c_int = 1;
/// An array or map whose length is told later.
pub const POSTPONED_LEN: c_long = -1;

/// Open to read.
pub const READ: c_int = 1 << 0;
/// Open to write.
pub const WRITE: c_int = 1 << 1;
/// `OPEN_KEY_NOTOUCH`: leave LRU and LFU alone.
pub const NOTOUCH: c_int = 1 << 16;
/// `OPEN_KEY_NONOTIFY`: no key-miss event.
pub const NONOTIFY: c_int = 1 << 17;
/// `OPEN_KEY_NOSTATS`: not counted among hits and misses.
pub const NOSTATS: c_int = 1 << 18;
/// `OPEN_KEY_NOEXPIRE`: an expired key is not deleted by this look.
pub const NOEXPIRE: c_int = 1 << 19;
/// `OPEN_KEY_NOEFFECTS`: all of these at once.
pub const NOEFFECTS: c_int = 1 << 20;

/// `KEYTYPE_EMPTY`
pub const KEYTYPE_EMPTY: c_int = 0;

/// `RM_Load*` answer an error instead of ending the server.
pub const OPTION_HANDLE_IO_ERRORS: c_int = 1 << 0;
/// Closing a key that was open to write doesn't signal a change by itself.
pub const OPTION_NO_IMPLICIT_SIGNAL_MODIFIED: c_int = 1 << 1;
/// The module bears a replica loading into a second dataset while it serves the first.
pub const OPTION_HANDLE_REPL_ASYNC_LOAD: c_int = 1 << 2;
/// Valkey only: the module bears atomic slot migration (by its `aof_rewrite`).
pub const OPTION_VALKEY_HANDLE_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// The version of [`TypeMethods`].
pub const TYPE_METHODS_VERSION: u64 = 5;

/// `RedisModuleTimerID`
pub type TimerId = u64;

/// A command, and the reply and timeout callbacks of a blocked client.
pub type CmdFn = unsafe extern "C" fn(*mut Ctx, *mut *mut Str, c_int) -> c_int;
/// Frees what a blocked client carried.
pub type FreePrivdataFn = unsafe extern "C" fn(*mut Ctx, *mut c_void);
/// Called when a blocked client's connection closes.
pub type DisconnectFn = unsafe extern "C" fn(*mut Ctx, *mut BlockedClient);
/// A timer's callback.
pub type TimerFn = unsafe extern "C" fn(*mut Ctx, *mut c_void);
/// A server event's callback.
pub type EventFn = unsafe extern "C" fn(*mut Ctx, Event, u64, *mut c_void);
/// A keyspace event's callback.
pub type NotifyFn = unsafe extern "C" fn(*mut Ctx, c_int, *const c_char, *mut Str) -> c_int;
/// INFO's callback.
pub type InfoFn = unsafe extern "C" fn(*mut InfoCtx, c_int);
/// Reads a numeric setting.
pub type GetNumericFn = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_longlong;
/// Reads a yes/no setting.
pub type GetIntFn = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;
/// Writes a numeric setting.
pub type SetNumericFn = unsafe extern "C" fn(*const c_char, c_longlong, *mut c_void, *mut *mut Str) -> c_int;
/// Writes a yes/no setting.
pub type SetIntFn = unsafe extern "C" fn(*const c_char, c_int, *mut c_void, *mut *mut Str) -> c_int;
/// Called once after several settings changed together.
pub type ApplyFn = unsafe extern "C" fn(*mut Ctx, *mut c_void, *mut *mut Str) -> c_int;
/// `RM_GetApi`, the one function the others are found by.
pub type GetApi = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;

/// `RedisModuleEvent`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Event {
    /// Which event.
    pub id: u64,
    /// The version of the struct its data points to.
    pub data_version: u64,
}

/// `RedisModuleClientInfo`, version 1.
#[repr(C)]
pub struct ClientInfo {
    /// Version of this struct.
    pub version: u64,
    /// SSL, pub/sub, blocked, …
    pub flags: u64,
    /// The client.
    pub id: u64,
    /// Its address, NUL-terminated.
    pub addr: [c_char; 46],
    /// Its port.
    pub port: u16,
    /// Its database.
    pub db: u16,
}

/// `RedisModuleCronLoopInfo`, version 1.
#[repr(C)]
pub struct CronLoopInfo {
    /// Version of this struct.
    pub version: u64,
    /// About how often a second it comes.
    pub hz: i32,
}

/// `RedisModuleSwapDbInfo`, version 1.
#[repr(C)]
pub struct SwapDbInfo {
    /// Version of this struct.
    pub version: u64,
    /// One database.
    pub first: i32,
    /// The other.
    pub second: i32,
}

/// `RedisModuleSlotRange` of Redis 8.4: both ends belong to it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SlotRange16 {
    /// First slot.
    pub start: u16,
    /// Last slot.
    pub end: u16,
}

/// `RedisModuleSlotRangeArray`: the ranges follow the count.
#[repr(C)]
pub struct SlotRangeArray {
    /// How many.
    pub count: i32,
    /// The first of them.
    pub ranges: [SlotRange16; 0],
}

/// `RedisModuleClusterSlotMigrationInfo`, version 1 (Redis 8.4).
#[repr(C)]
pub struct SlotMigrationInfo {
    /// Version of this struct.
    pub version: u64,
    /// The node that had the slots.
    pub source: [c_char; 41],
    /// The node that gets them.
    pub destination: [c_char; 41],
    /// The migration's id.
    pub task: *const c_char,
    /// The slots.
    pub slots: *const SlotRangeArray,
}

/// Valkey's slot range: both ends belong to it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SlotRange32 {
    /// First slot.
    pub start: i32,
    /// Last slot.
    pub end: i32,
}

/// Valkey 9's `ValkeyModuleAtomicSlotMigrationInfo`, version 1.
#[repr(C)]
pub struct ValkeySlotMigrationInfo {
    /// Version of this struct.
    pub version: u64,
    /// The migration's name, NUL-terminated.
    pub job: [c_char; 41],
    /// The ranges.
    pub ranges: *const SlotRange32,
    /// How many.
    pub count: u32,
}

/// `RedisModuleTypeMethods`, version 5. Older servers read its head.
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct TypeMethods {
    pub version: u64,
    pub rdb_load: Option<unsafe extern "C" fn(*mut Io, c_int) -> *mut c_void>,
    pub rdb_save: Option<unsafe extern "C" fn(*mut Io, *mut c_void)>,
    pub aof_rewrite: Option<unsafe extern "C" fn(*mut Io, *mut Str, *mut c_void)>,
    pub mem_usage: Option<unsafe extern "C" fn(*const c_void) -> usize>,
    pub digest: Option<unsafe extern "C" fn(*mut Digest, *mut c_void)>,
    pub free: Option<unsafe extern "C" fn(*mut c_void)>,
    pub aux_load: Option<unsafe extern "C" fn(*mut Io, c_int, c_int) -> c_int>,
    pub aux_save: Option<unsafe extern "C" fn(*mut Io, c_int)>,
    pub aux_save_triggers: c_int,
    pub free_effort: Option<unsafe extern "C" fn(*mut Str, *const c_void) -> usize>,
    pub unlink: Option<unsafe extern "C" fn(*mut Str, *const c_void)>,
    pub copy: Option<unsafe extern "C" fn(*mut Str, *mut Str, *const c_void) -> *mut c_void>,
    pub defrag: Option<unsafe extern "C" fn(*mut DefragCtx, *mut Str, *mut *mut c_void) -> c_int>,
    pub mem_usage2: Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> usize>,
    pub free_effort2: Option<unsafe extern "C" fn(*mut c_void, *const c_void) -> usize>,
    pub unlink2: Option<unsafe extern "C" fn(*mut c_void, *const c_void)>,
    pub copy2: Option<unsafe extern "C" fn(*mut c_void, *const c_void) -> *mut c_void>,
    pub aux_save2: Option<unsafe extern "C" fn(*mut Io, c_int)>,
}

/// `RedisModuleCommandArg`
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct CommandArg {
    pub name: *const c_char,
    pub kind: c_int,
    pub key_spec_index: c_int,
    pub token: *const c_char,
    pub summary: *const c_char,
    pub since: *const c_char,
    pub flags: c_int,
    pub deprecated_since: *const c_char,
    pub subargs: *mut CommandArg,
    pub display_text: *const c_char,
}

/// `RedisModuleCommandKeySpec`: both unions are three ints (or a pointer and an int) wide at most.
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct CommandKeySpec {
    pub notes: *const c_char,
    pub flags: u64,
    pub begin_search: c_int,
    pub begin: KeySpecBegin,
    pub find_keys: c_int,
    pub find: [c_int; 3],
}

/// Where the search for keys begins.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub union KeySpecBegin {
    pub index: c_int,
    pub keyword: KeySpecKeyword,
}

/// A search that begins at a word.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct KeySpecKeyword {
    pub keyword: *const c_char,
    pub startfrom: c_int,
}

/// `RedisModuleCommandInfoVersion`
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct CommandInfoVersion {
    pub version: c_int,
    pub sizeof_historyentry: usize,
    pub sizeof_keyspec: usize,
    pub sizeof_arg: usize,
}

/// `RedisModuleCommandInfo`
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of redismodule.h")]
pub struct CommandInfo {
    pub version: *const CommandInfoVersion,
    pub summary: *const c_char,
    pub complexity: *const c_char,
    pub since: *const c_char,
    pub history: *mut c_void,
    pub tips: *const c_char,
    pub arity: c_int,
    pub key_specs: *mut CommandKeySpec,
    pub args: *mut CommandArg,
}

/// The layouts of [`CommandInfo`]'s parts, which the server reads by these sizes.
pub static COMMAND_INFO_VERSION: CommandInfoVersion = CommandInfoVersion {
    version: 1,
    sizeof_historyentry: 2 * size_of::<*const c_char>(),
    sizeof_keyspec: size_of::<CommandKeySpec>(),
    sizeof_arg: size_of::<CommandArg>(),
};

// What the C compiler makes of redismodule.h on a 64-bit machine.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<CommandKeySpec>() == 56);
    assert!(size_of::<CommandArg>() == 72);
    assert!(size_of::<CommandInfo>() == 72);
    assert!(size_of::<TypeMethods>() == 152);
    assert!(size_of::<ClientInfo>() == 80);
    assert!(std::mem::offset_of!(SlotMigrationInfo, task) == 96);
    assert!(std::mem::offset_of!(ValkeySlotMigrationInfo, ranges) == 56);
};

/// Makes the struct of function pointers and what fills it.
macro_rules! table {
    (required { $($required:ident $required_name:literal $required_type:ty;)* }
     optional { $($optional:ident $optional_name:literal $optional_type:ty;)* }) => {
        /// The server's functions, by the names of `redismodule.h` in snake case.
        #[allow(missing_docs, reason = "the names are those of redismodule.h")]
        pub struct Api {
            $(pub $required: $required_type,)*
            $(pub $optional: Option<$optional_type>,)*
        }

        impl Api {
            /// Looks all functions up; the error is the name of a required one that this server hasn't got.
            ///
            /// # Safety
            /// `get` is the server's `RM_GetApi`.
            pub unsafe fn fetch(get: GetApi) -> Result<Api, &'static CStr> {
                Ok(Api {
                    $(
                        // SAFETY: `get` is RM_GetApi, and the type is that of this name in redismodule.h.
                        $required: unsafe { find::<$required_type>(get, $required_name) }.ok_or($required_name)?,
                    )*
                    $(
                        // SAFETY: as above.
                        $optional: unsafe { find::<$optional_type>(get, $optional_name) },
                    )*
                })
            }
        }
    };
}

/// Looks one function up.
///
/// # Safety
/// `get` is the server's `RM_GetApi`, and `F` the type of the function pointer of this name.
pub unsafe fn find<F: Copy>(get: GetApi, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let mut found: *mut c_void = std::ptr::null_mut();
    // SAFETY: RM_GetApi reads a C string and writes one pointer.
    let status = unsafe { get(name.as_ptr(), &mut found) };
    if status != OK || found.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the type, and the pointer isn't null.
    Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
}

table! {
    required {
        free c"RedisModule_Free" unsafe extern "C" fn(*mut c_void);

        is_module_name_busy c"RedisModule_IsModuleNameBusy" unsafe extern "C" fn(*const c_char) -> c_int;
        set_module_attribs c"RedisModule_SetModuleAttribs" unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, c_int);
        set_module_options c"RedisModule_SetModuleOptions" unsafe extern "C" fn(*mut Ctx, c_int);
        create_command c"RedisModule_CreateCommand"
            unsafe extern "C" fn(*mut Ctx, *const c_char, CmdFn, *const c_char, c_int, c_int, c_int) -> c_int;
        wrong_arity c"RedisModule_WrongArity" unsafe extern "C" fn(*mut Ctx) -> c_int;
        is_keys_position_request c"RedisModule_IsKeysPositionRequest" unsafe extern "C" fn(*mut Ctx) -> c_int;
        key_at_pos c"RedisModule_KeyAtPos" unsafe extern "C" fn(*mut Ctx, c_int);

        log c"RedisModule_Log" unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...);
        get_context_flags c"RedisModule_GetContextFlags" unsafe extern "C" fn(*mut Ctx) -> c_int;
        avoid_replica_traffic c"RedisModule_AvoidReplicaTraffic" unsafe extern "C" fn() -> c_int;
        get_client_id c"RedisModule_GetClientId" unsafe extern "C" fn(*mut Ctx) -> c_ulonglong;
        get_client_info_by_id c"RedisModule_GetClientInfoById" unsafe extern "C" fn(*mut c_void, u64) -> c_int;
        deauthenticate_and_close_client c"RedisModule_DeauthenticateAndCloseClient"
            unsafe extern "C" fn(*mut Ctx, u64) -> c_int;
        get_selected_db c"RedisModule_GetSelectedDb" unsafe extern "C" fn(*mut Ctx) -> c_int;
        select_db c"RedisModule_SelectDb" unsafe extern "C" fn(*mut Ctx, c_int) -> c_int;
        get_random_bytes c"RedisModule_GetRandomBytes" unsafe extern "C" fn(*mut u8, usize);
        get_detached_thread_safe_context c"RedisModule_GetDetachedThreadSafeContext"
            unsafe extern "C" fn(*mut Ctx) -> *mut Ctx;

        create_string c"RedisModule_CreateString" unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> *mut Str;
        hold_string c"RedisModule_HoldString" unsafe extern "C" fn(*mut Ctx, *mut Str) -> *mut Str;
        free_string c"RedisModule_FreeString" unsafe extern "C" fn(*mut Ctx, *mut Str);
        string_ptr_len c"RedisModule_StringPtrLen" unsafe extern "C" fn(*const Str, *mut usize) -> *const c_char;

        reply_with_long_long c"RedisModule_ReplyWithLongLong" unsafe extern "C" fn(*mut Ctx, c_longlong) -> c_int;
        reply_with_string_buffer c"RedisModule_ReplyWithStringBuffer"
            unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> c_int;
        reply_with_simple_string c"RedisModule_ReplyWithSimpleString"
            unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
        reply_with_error c"RedisModule_ReplyWithError" unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
        reply_with_null c"RedisModule_ReplyWithNull" unsafe extern "C" fn(*mut Ctx) -> c_int;
        reply_with_array c"RedisModule_ReplyWithArray" unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
        reply_set_array_length c"RedisModule_ReplySetArrayLength" unsafe extern "C" fn(*mut Ctx, c_long);

        open_key c"RedisModule_OpenKey" unsafe extern "C" fn(*mut Ctx, *mut Str, c_int) -> *mut Key;
        close_key c"RedisModule_CloseKey" unsafe extern "C" fn(*mut Key);
        key_type c"RedisModule_KeyType" unsafe extern "C" fn(*mut Key) -> c_int;
        delete_key c"RedisModule_DeleteKey" unsafe extern "C" fn(*mut Key) -> c_int;
        module_type_get_type c"RedisModule_ModuleTypeGetType" unsafe extern "C" fn(*mut Key) -> *mut Type;
        module_type_get_value c"RedisModule_ModuleTypeGetValue" unsafe extern "C" fn(*mut Key) -> *mut c_void;
        module_type_set_value c"RedisModule_ModuleTypeSetValue"
            unsafe extern "C" fn(*mut Key, *mut Type, *mut c_void) -> c_int;
        signal_modified_key c"RedisModule_SignalModifiedKey" unsafe extern "C" fn(*mut Ctx, *mut Str) -> c_int;
        replicate c"RedisModule_Replicate" unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...) -> c_int;
        replicate_verbatim c"RedisModule_ReplicateVerbatim" unsafe extern "C" fn(*mut Ctx) -> c_int;

        create_data_type c"RedisModule_CreateDataType"
            unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, *mut TypeMethods) -> *mut Type;
        is_io_error c"RedisModule_IsIOError" unsafe extern "C" fn(*mut Io) -> c_int;
        log_io_error c"RedisModule_LogIOError" unsafe extern "C" fn(*mut Io, *const c_char, *const c_char, ...);
        save_string_buffer c"RedisModule_SaveStringBuffer" unsafe extern "C" fn(*mut Io, *const c_char, usize);
        load_string_buffer c"RedisModule_LoadStringBuffer" unsafe extern "C" fn(*mut Io, *mut usize) -> *mut c_char;
        emit_aof c"RedisModule_EmitAOF" unsafe extern "C" fn(*mut Io, *const c_char, *const c_char, ...);
        get_key_name_from_io c"RedisModule_GetKeyNameFromIO" unsafe extern "C" fn(*mut Io) -> *const Str;
        digest_add_string_buffer c"RedisModule_DigestAddStringBuffer"
            unsafe extern "C" fn(*mut Digest, *const c_char, usize);
        digest_end_sequence c"RedisModule_DigestEndSequence" unsafe extern "C" fn(*mut Digest);
        defrag_alloc c"RedisModule_DefragAlloc" unsafe extern "C" fn(*mut DefragCtx, *mut c_void) -> *mut c_void;

        create_timer c"RedisModule_CreateTimer"
            unsafe extern "C" fn(*mut Ctx, c_longlong, TimerFn, *mut c_void) -> TimerId;
        stop_timer c"RedisModule_StopTimer" unsafe extern "C" fn(*mut Ctx, TimerId, *mut *mut c_void) -> c_int;

        subscribe_to_server_event c"RedisModule_SubscribeToServerEvent"
            unsafe extern "C" fn(*mut Ctx, Event, EventFn) -> c_int;
        subscribe_to_keyspace_events c"RedisModule_SubscribeToKeyspaceEvents"
            unsafe extern "C" fn(*mut Ctx, c_int, NotifyFn) -> c_int;

        block_client_on_keys c"RedisModule_BlockClientOnKeys"
            unsafe extern "C" fn(*mut Ctx, CmdFn, CmdFn, FreePrivdataFn, c_longlong, *mut *mut Str, c_int, *mut c_void)
                -> *mut BlockedClient;
        unblock_client c"RedisModule_UnblockClient" unsafe extern "C" fn(*mut BlockedClient, *mut c_void) -> c_int;
        set_disconnect_callback c"RedisModule_SetDisconnectCallback" unsafe extern "C" fn(*mut BlockedClient, DisconnectFn);
        get_blocked_client_private_data c"RedisModule_GetBlockedClientPrivateData"
            unsafe extern "C" fn(*mut Ctx) -> *mut c_void;

        register_info_func c"RedisModule_RegisterInfoFunc" unsafe extern "C" fn(*mut Ctx, InfoFn) -> c_int;
        info_add_section c"RedisModule_InfoAddSection" unsafe extern "C" fn(*mut InfoCtx, *const c_char) -> c_int;
        info_add_field_c_string c"RedisModule_InfoAddFieldCString"
            unsafe extern "C" fn(*mut InfoCtx, *const c_char, *const c_char) -> c_int;
        info_add_field_u_long_long c"RedisModule_InfoAddFieldULongLong"
            unsafe extern "C" fn(*mut InfoCtx, *const c_char, c_ulonglong) -> c_int;
        info_add_field_long_long c"RedisModule_InfoAddFieldLongLong"
            unsafe extern "C" fn(*mut InfoCtx, *const c_char, c_longlong) -> c_int;

        get_server_info c"RedisModule_GetServerInfo" unsafe extern "C" fn(*mut Ctx, *const c_char) -> *mut ServerInfo;
        free_server_info c"RedisModule_FreeServerInfo" unsafe extern "C" fn(*mut Ctx, *mut ServerInfo);
        server_info_get_field_c c"RedisModule_ServerInfoGetFieldC"
            unsafe extern "C" fn(*mut ServerInfo, *const c_char) -> *const c_char;
        call c"RedisModule_Call"
            unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...) -> *mut CallReply;
        call_reply_array_element c"RedisModule_CallReplyArrayElement"
            unsafe extern "C" fn(*mut CallReply, usize) -> *mut CallReply;
        call_reply_string_ptr c"RedisModule_CallReplyStringPtr"
            unsafe extern "C" fn(*mut CallReply, *mut usize) -> *const c_char;
        free_call_reply c"RedisModule_FreeCallReply" unsafe extern "C" fn(*mut CallReply);
        free_module_user c"RedisModule_FreeModuleUser" unsafe extern "C" fn(*mut User) -> c_int;
        latency_add_sample c"RedisModule_LatencyAddSample" unsafe extern "C" fn(*const c_char, c_longlong);
        notify_keyspace_event c"RedisModule_NotifyKeyspaceEvent"
            unsafe extern "C" fn(*mut Ctx, c_int, *const c_char, *mut Str) -> c_int;
        get_notify_keyspace_events c"RedisModule_GetNotifyKeyspaceEvents" unsafe extern "C" fn() -> c_int;
    }
    optional {
        get_used_memory_ratio c"RedisModule_GetUsedMemoryRatio" unsafe extern "C" fn() -> f32;
        get_server_version c"RedisModule_GetServerVersion" unsafe extern "C" fn() -> c_int;
        get_module_options_all c"RedisModule_GetModuleOptionsAll" unsafe extern "C" fn() -> c_int;
        get_open_key_modes_all c"RedisModule_GetOpenKeyModesAll" unsafe extern "C" fn() -> c_int;
        get_command c"RedisModule_GetCommand" unsafe extern "C" fn(*mut Ctx, *const c_char) -> *mut Command;
        set_command_info c"RedisModule_SetCommandInfo" unsafe extern "C" fn(*mut Command, *const CommandInfo) -> c_int;
        set_command_acl_categories c"RedisModule_SetCommandACLCategories"
            unsafe extern "C" fn(*mut Command, *const c_char) -> c_int;
        add_acl_category c"RedisModule_AddACLCategory" unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
        reply_with_map c"RedisModule_ReplyWithMap" unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
        reply_set_map_length c"RedisModule_ReplySetMapLength" unsafe extern "C" fn(*mut Ctx, c_long);
        get_db_id_from_io c"RedisModule_GetDbIdFromIO" unsafe extern "C" fn(*mut Io) -> c_int;
        get_current_user_name c"RedisModule_GetCurrentUserName" unsafe extern "C" fn(*mut Ctx) -> *mut Str;
        get_module_user_from_user_name c"RedisModule_GetModuleUserFromUserName"
            unsafe extern "C" fn(*mut Str) -> *mut User;
        acl_check_command_permissions c"RedisModule_ACLCheckCommandPermissions"
            unsafe extern "C" fn(*mut User, *mut *mut Str, c_int) -> c_int;
        acl_check_permissions c"RedisModule_ACLCheckPermissions"
            unsafe extern "C" fn(*mut User, *mut *mut Str, c_int, c_int, *mut c_int) -> c_int;
        cluster_can_access_keys_in_slot c"RedisModule_ClusterCanAccessKeysInSlot" unsafe extern "C" fn(c_int) -> c_int;
        register_bool_config c"RedisModule_RegisterBoolConfig"
            unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, c_uint, GetIntFn, SetIntFn, Option<ApplyFn>, *mut c_void)
                -> c_int;
        register_numeric_config c"RedisModule_RegisterNumericConfig"
            unsafe extern "C" fn(*mut Ctx, *const c_char, c_longlong, c_uint, c_longlong, c_longlong, GetNumericFn,
                SetNumericFn, Option<ApplyFn>, *mut c_void) -> c_int;
        load_configs c"RedisModule_LoadConfigs" unsafe extern "C" fn(*mut Ctx) -> c_int;
    }
}

static API: OnceLock<Api> = OnceLock::new();

/// Puts the table into place. A second load of the same library keeps the first table, which is the same.
pub(super) fn install(table: Api) -> &'static Api {
    API.get_or_init(|| table)
}

/// The server's functions: one load and one branch.
///
/// Ends the process if no table is there, which can't be: the table is the first thing [`super::load::load`] makes,
/// and nothing of this crate runs before it.
#[inline]
pub fn api() -> &'static Api {
    match API.get() {
        Some(table) => table,
        None => std::process::abort(),
    }
}

/// The server's functions, where code may run before the table is there (the panic hook).
pub(super) fn api_if_loaded() -> Option<&'static Api> {
    API.get()
}
