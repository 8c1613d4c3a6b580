//! The module API of C: the declarations of the crate `redis-module`, and the list of functions that the module requires.
//!
//! # What is used of the crate, and what is not
//!
//! Used: `redis_module::raw`, which bindgen generates from the `redismodule.h` of the crate. All types, constants and function
//! signatures come from there; none is declared by hand. So a signature can't have a typo, and a new function of the API needs
//! one name in the list below. `RedisModule_Init` of the header finds all functions by name when the module is loaded.
//! Functions that a server doesn't have stay null, so one file loads into every server. [`OwnedString`](super::OwnedString)
//! wraps the crate's `RedisString`.
//!
//! Not used: everything above these declarations. It was tried, and does less or costs more than direct calls:
//! - `redis_module!` and `#[command]` require Redis 7.2 at run time, and `configurations:` aborts Redis 6.2 at load;
//! - the logger uses the text as a format, so a `%s` in a user's text crashes the server;
//! - the allocator can't grow a block in place, and relies on alignments that some servers don't guarantee;
//! - event wrappers drop the data of events, and don't catch panics of callbacks, which abort the server;
//! - a `Vec<RedisString>` per command takes a reference per argument, and `RedisValue` builds a reply before it is written.
//!
//! What only Valkey has is declared in [`super::valkey`].
//!
//! The price: the build needs libclang, a C compiler and about 40 more packages. The library itself doesn't grow.
//!
//! # How a function is called
//!
//! The header has a static variable for each function. [`fill`] sets them once, when the module is loaded, and [`missing`]
//! returns a function of the list that the server doesn't have. After that, [`api!`] gives a function of the list, and
//! [`optional!`] one that only newer servers have.

use std::ffi::{CStr, c_int};

pub(crate) use redis_module::raw::*;

/// `REDISMODULE_OK`, with the type that functions return.
pub(crate) const OK: c_int = REDISMODULE_OK as c_int;
/// `REDISMODULE_ERR`, with the type that functions return.
pub(crate) const ERR: c_int = REDISMODULE_ERR as c_int;

/// The server's function of this name. The cost is one load and one test, which always succeeds after [`fill`]. A name that
/// isn't in the list of required functions doesn't compile.
macro_rules! api {
    ($name:ident) => {{
        let () = $crate::raw::required::$name;
        // SAFETY: the static is written by `fill` only, before anything that reads it runs.
        #[allow(unused_unsafe, reason = "users call the function in an unsafe block of their own")]
        let function = unsafe { $crate::raw::$name };
        match function {
            Some(function) => function,
            None => $crate::raw::not_loaded(),
        }
    }};
}

/// The server's function of this name; `None` if the server is too old to have it.
macro_rules! optional {
    ($name:ident) => {{
        // SAFETY: the static is written by `fill` only, before anything that reads it runs.
        #[allow(unused_unsafe, reason = "users call the function in an unsafe block of their own")]
        let function = unsafe { $crate::raw::$name };
        function
    }};
}

pub(crate) use {api, optional};

/// Declares the functions that every supported server has, from Redis 6.2 on.
macro_rules! required {
    ($($name:ident)*) => {
        /// The names of the list, so that the compiler refuses other names in [`api!`].
        #[allow(non_upper_case_globals)]
        pub(crate) mod required {
            $(pub(crate) const $name: () = ();)*
        }

        /// A function of the list that this server doesn't have.
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

/// Aborts: a function of the list was called before [`fill`].
#[cold]
pub(crate) fn not_loaded() -> ! {
    std::process::abort()
}

/// Finds the server's functions, and registers the module's name and version. Returns false if a module of this name is
/// already loaded. Allocates nothing.
///
/// # Safety
/// `ctx` is what the server gave to OnLoad, on its main thread, and no load has succeeded before: from then on other
/// threads may read what this writes.
pub(crate) unsafe fn fill(ctx: *mut RedisModuleCtx, name: &CStr, version: c_int) -> bool {
    // SAFETY: the context is OnLoad's, as RedisModule_Init requires, and the name is a C string, which the server copies.
    // The caller promises that the statics are not read meanwhile.
    unsafe { Export_RedisModule_Init(ctx, name.as_ptr(), version, REDISMODULE_APIVER_1 as c_int) == OK }
}
