//! The state of the server and of the running command.

use std::ptr;

use super::raw::{self, api};

/// The state of the server and of the running command, as `RM_GetContextFlags` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub(super) i32);

impl Flags {
    /// The command runs in a script.
    pub const LUA: i32 = raw::REDISMODULE_CTX_FLAGS_LUA as i32;
    /// The command runs in a transaction.
    pub const MULTI: i32 = raw::REDISMODULE_CTX_FLAGS_MULTI as i32;
    /// This node is a primary.
    pub const PRIMARY: i32 = raw::REDISMODULE_CTX_FLAGS_MASTER as i32;
    /// The server writes an AOF.
    pub const AOF: i32 = raw::REDISMODULE_CTX_FLAGS_AOF as i32;
    /// Cluster mode is on.
    pub const CLUSTER: i32 = raw::REDISMODULE_CTX_FLAGS_CLUSTER as i32;
    /// `maxmemory-policy` evicts keys.
    pub const EVICT: i32 = raw::REDISMODULE_CTX_FLAGS_EVICT as i32;
    /// The server uses more memory than `maxmemory`.
    pub const OOM: i32 = raw::REDISMODULE_CTX_FLAGS_OOM as i32;
    /// The command comes from the primary, or from a slot migration.
    pub const REPLICATED: i32 = raw::REDISMODULE_CTX_FLAGS_REPLICATED as i32;
    /// An RDB or AOF file is being loaded.
    pub const LOADING: i32 = raw::REDISMODULE_CTX_FLAGS_LOADING as i32;
    /// This process is a forked child.
    pub const CHILD: i32 = raw::REDISMODULE_CTX_FLAGS_IS_CHILD as i32;
    /// The client can't be blocked: transaction, script, AOF, a call of another module.
    pub const DENY_BLOCKING: i32 = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING as i32;
    /// A replica is loading a second dataset while it serves the first.
    pub const ASYNC_LOADING: i32 = raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING as i32;

    /// The state of the server only, without that of a command.
    pub fn of_server() -> Flags {
        // SAFETY: the server allows null, and then returns its own state only.
        Flags(unsafe { api!(RedisModule_GetContextFlags)(ptr::null_mut()) })
    }

    /// Whether any of these bits is set.
    pub fn any(self, bits: i32) -> bool {
        self.0 & bits != 0
    }

    /// Whether this node is a primary.
    pub fn is_primary(self) -> bool {
        self.any(Self::PRIMARY)
    }

    /// Whether a dataset is being loaded, in the foreground or beside the one that is served.
    pub fn is_loading(self) -> bool {
        self.any(Self::LOADING | Self::ASYNC_LOADING)
    }

    /// Whether a dataset is being loaded beside the one that is served.
    pub fn is_loading_beside(self) -> bool {
        self.any(Self::ASYNC_LOADING)
    }

    /// Whether the command comes from the primary, or from a slot migration.
    pub fn is_replicated(self) -> bool {
        self.any(Self::REPLICATED)
    }

    /// Whether the client can't be blocked, or must not be: Redis would block the link to the primary without end.
    pub fn denies_blocking(self) -> bool {
        self.any(Self::DENY_BLOCKING | Self::REPLICATED)
    }

    /// Whether the command runs in a transaction or a script, so that later commands of it see its effect.
    pub fn is_multi_or_lua(self) -> bool {
        self.any(Self::MULTI | Self::LUA)
    }

    /// Whether this process is a forked child.
    pub fn is_child(self) -> bool {
        self.any(Self::CHILD)
    }

    /// Whether the server writes an AOF.
    pub fn has_aof(self) -> bool {
        self.any(Self::AOF)
    }

    /// Whether cluster mode is on.
    pub fn is_cluster(self) -> bool {
        self.any(Self::CLUSTER)
    }
}
