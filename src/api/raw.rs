//! The module API as C sees it: the declarations of the crate `redis-module`, and the list of functions that must be there.
//!
//! # What is taken from the crate, and what is not
//!
//! Taken: `redis_module::raw`, which bindgen makes of the `redismodule.h` that comes with the crate. Every type, constant and
//! function signature that it declares is used from there; none is declared by hand. So a signature can't have a typo,
//! and a new function of the API costs one name in the list below. `RedisModule_Init` of the header finds all functions by
//! name when the module is loaded, and leaves null what a server hasn't got: one file loads into every server.
//! [`OwnedString`](super::OwnedString) is the crate's `RedisString`.
//!
//! Ours: what only Valkey has ([`super::valkey`]), and everything above the declarations. The crate's own layer was tried
//! and left alone, since it does less or costs more than the calls below it:
//! - `redis_module!` and `#[command]` need Redis 7.2 at run time; `configurations:` ends Redis 6.2 at load;
//! - the logger takes the text for a format, so a `%s` in a user's text ends the server;
//! - the allocator can't grow a block in place, and trusts alignments that not every server gives;
//! - event wrappers drop the data of events, and panics of callbacks end the server: nothing guards them;
//! - `Vec<RedisString>` per command counts a reference per argument, and `RedisValue` builds a reply before it is written.
//!
//! What it costs: the build needs libclang and a C compiler, and about 40 more packages; the library itself doesn't grow.
//!
//! # How a function is called
//!
//! The header keeps each function in a static of its name. At load [`fill`] sets them once, and [`missing`] says which of the
//! list isn't there. After that [`api!`] gives a function of the list, and
//! [`optional!`] one that only newer servers have.

use std::ffi::{CStr, c_int};

pub(crate) use redis_module::raw::*;

/// `REDISMODULE_OK`, as functions answer it.
pub(crate) const OK: c_int = REDISMODULE_OK as c_int;
/// `REDISMODULE_ERR`, as functions answer it.
pub(crate) const ERR: c_int = REDISMODULE_ERR as c_int;

/// The server's function of this name, which [`fill`] found: a load, a test that always holds, and a call. A name that
/// isn't on the list of required ones doesn't compile.
macro_rules! api {
    ($name:ident) => {{
        let () = $crate::raw::required::$name;
        // SAFETY: the static is written by `fill` only, before anything that reads it runs.
        #[allow(unused_unsafe, reason = "its users call what it gives, in an unsafe block of their own")]
        let function = unsafe { $crate::raw::$name };
        match function {
            Some(function) => function,
            None => $crate::raw::not_loaded(),
        }
    }};
}

/// The server's function of this name; `None` where the server is too old for it.
macro_rules! optional {
    ($name:ident) => {{
        // SAFETY: the static is written by `fill` only, before anything that reads it runs.
        #[allow(unused_unsafe, reason = "its users call what it gives, in an unsafe block of their own")]
        let function = unsafe { $crate::raw::$name };
        function
    }};
}

pub(crate) use {api, optional};

/// Makes the list of functions that every supported server has (Redis 6.2 on).
macro_rules! required {
    ($($name:ident)*) => {
        /// The list, for the compiler: [`api!`] takes no other name.
        #[allow(non_upper_case_globals)]
        pub(crate) mod required {
            $(pub(crate) const $name: () = ();)*
        }

        /// A function of the list that this server hasn't got.
        pub(crate) fn missing() -> Option<&'static str> {
            $(if optional!($name).is_none() {
                return Some(stringify!($name));
            })*
            None
        }
    };
}

required! {
    RedisModule_Alloc RedisModule_Calloc RedisModule_Realloc RedisModule_Free

    RedisModule_SetModuleOptions RedisModule_CreateCommand RedisModule_WrongArity
    RedisModule_IsKeysPositionRequest RedisModule_KeyAtPos

    RedisModule_Log RedisModule_GetContextFlags RedisModule_AvoidReplicaTraffic RedisModule_GetClientId
    RedisModule_GetClientInfoById RedisModule_DeauthenticateAndCloseClient RedisModule_GetSelectedDb
    RedisModule_SelectDb RedisModule_GetRandomBytes RedisModule_GetDetachedThreadSafeContext

    RedisModule_CreateString RedisModule_HoldString RedisModule_FreeString RedisModule_StringPtrLen

    RedisModule_ReplyWithLongLong RedisModule_ReplyWithStringBuffer RedisModule_ReplyWithSimpleString
    RedisModule_ReplyWithError RedisModule_ReplyWithNull RedisModule_ReplyWithArray RedisModule_ReplySetArrayLength

    RedisModule_OpenKey RedisModule_CloseKey RedisModule_KeyType RedisModule_DeleteKey
    RedisModule_ModuleTypeGetType RedisModule_ModuleTypeGetValue RedisModule_ModuleTypeSetValue
    RedisModule_SignalModifiedKey RedisModule_Replicate RedisModule_ReplicateVerbatim

    RedisModule_CreateDataType RedisModule_IsIOError RedisModule_LogIOError RedisModule_SaveStringBuffer
    RedisModule_LoadStringBuffer RedisModule_EmitAOF RedisModule_GetKeyNameFromIO
    RedisModule_DigestAddStringBuffer RedisModule_DigestEndSequence RedisModule_DefragAlloc

    RedisModule_CreateTimer RedisModule_StopTimer

    RedisModule_SubscribeToServerEvent RedisModule_SubscribeToKeyspaceEvents RedisModule_NotifyKeyspaceEvent
    RedisModule_GetNotifyKeyspaceEvents

    RedisModule_BlockClientOnKeys RedisModule_UnblockClient RedisModule_SetDisconnectCallback
    RedisModule_GetBlockedClientPrivateData

    RedisModule_RegisterInfoFunc RedisModule_InfoAddSection RedisModule_InfoAddFieldCString
    RedisModule_InfoAddFieldULongLong RedisModule_InfoAddFieldLongLong

    RedisModule_GetServerInfo RedisModule_FreeServerInfo RedisModule_ServerInfoGetFieldC RedisModule_Call
    RedisModule_CallReplyArrayElement RedisModule_CallReplyStringPtr RedisModule_FreeCallReply
    RedisModule_FreeModuleUser RedisModule_LatencyAddSample
}

/// The crate's `RedisString` calls these.
const _: ((), ()) = (required::RedisModule_CreateString, required::RedisModule_FreeString);

/// What a function of the list would be before [`fill`]: nothing can go on.
#[cold]
pub(crate) fn not_loaded() -> ! {
    std::process::abort()
}

/// Finds the server's functions, and tells the server the module's name and version. False if a module of this name is
/// there. Allocates nothing.
///
/// # Safety
/// `ctx` is what the server gave to OnLoad, on its main thread, and no load has succeeded before: from then on other
/// threads may read what this writes.
pub(crate) unsafe fn fill(ctx: *mut RedisModuleCtx, name: &CStr, version: c_int) -> bool {
    // SAFETY: the context is OnLoad's, as RedisModule_Init wants it, and the name is a C string, which the server copies.
    // Nobody reads the statics meanwhile: that is the caller's promise.
    unsafe { Export_RedisModule_Init(ctx, name.as_ptr(), version, REDISMODULE_APIVER_1 as c_int) == OK }
}
