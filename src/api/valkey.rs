//! Declarations of what only Valkey has. The crate `redis-module` has the API of Redis only.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use super::raw::{self, RedisModuleString, RedisModuleUser, optional};

/// The option of a module that supports atomic slot migration, by its `aof_rewrite`.
pub(super) const HANDLE_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// The event of atomic slot migration. In Redis another event has this number.
pub(super) const EVENT_ATOMIC_SLOT_MIGRATION: u64 = 19;

/// `ValkeyModuleSlotRange`. Both ends are part of the range.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawSlotRange {
    pub(super) start: i32,
    pub(super) end: i32,
}

/// `ValkeyModuleAtomicSlotMigrationInfo`, version 1.
#[repr(C)]
pub(super) struct SlotMigrationInfo {
    version: u64,
    job_name: [c_char; 41],
    pub(super) slot_ranges: *const RawSlotRange,
    pub(super) num_slot_ranges: u32,
}

// As seen on Valkey 9.1, 64 bits.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(std::mem::offset_of!(SlotMigrationInfo, slot_ranges) == 56);

/// `ACLCheckPermissions`: like `ACLCheckCommandPermissions`, with a database.
pub(super) type CheckPermissions = unsafe extern "C" fn(
    user: *mut RedisModuleUser,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
    db: c_int,
    denial_reason: *mut c_int,
) -> c_int;

/// Whether this server is Valkey. Both have functions with the prefix `RedisModule_`; only Valkey has the prefix
/// `ValkeyModule_` too.
pub(super) fn is_here() -> bool {
    find(c"ValkeyModule_Alloc").is_some()
}

/// `ACLCheckPermissions`, which Valkey has from 9.1 on.
pub(super) fn check_permissions() -> Option<CheckPermissions> {
    static FOUND: OnceLock<Option<CheckPermissions>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let function = find(c"ValkeyModule_ACLCheckPermissions")?;
        // SAFETY: the pointer is that of the function of this name, and the type is that of valkeymodule.h.
        Some(unsafe { std::mem::transmute::<NonNull<c_void>, CheckPermissions>(function) })
    })
}

/// Finds a function by its name.
fn find(name: &CStr) -> Option<NonNull<c_void>> {
    let get = optional!(RedisModule_GetApi)?;
    let mut found: *mut c_void = ptr::null_mut();
    // SAFETY: RM_GetApi reads a C string, and writes one pointer where the other argument points.
    let status = unsafe { get(name.as_ptr(), (&raw mut found).cast()) };
    if status == raw::OK { NonNull::new(found) } else { None }
}
