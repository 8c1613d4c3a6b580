//! A native data type, and the functions by which the server handles its values. A key points to a `Slot` with the
//! value.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::context::Context;
use super::flags::Flags;
use super::freeing;
use super::guard::guard;
use super::load::LoadError;
use super::log::{Level, log};
use super::raw::{
    self, RedisModuleDefragCtx, RedisModuleDigest, RedisModuleIO, RedisModuleString, RedisModuleType,
    RedisModuleTypeMethods, api,
};
use super::slot::{Slot, look};
use super::streams::{AofWriter, Digest, RdbReader, RdbWriter};
use super::string::Arg;

/// A value of a native data type.
///
/// It is `Send` because the server can free values on another thread. There, `drop` must not touch anything but the
/// value. `save`, `rewrite` and `digest` can run in a forked child, where a lock that another thread held is never
/// released.
pub trait Value: Sized + Send + 'static {
    /// The name of the type: nine characters of `[A-Za-z0-9_-]`. Files contain it, so it must never change.
    const NAME: &'static CStr;
    /// The version of the format that `save` writes, 1 to 1023.
    const ENCODING: i32;

    /// Writes the value to an RDB file, or to the payload of DUMP.
    fn save(&self, out: &mut RdbWriter<'_>);
    /// Reads what `save` of version `encoding` has written. The bytes can be hostile. If anything is wrong, logs it by
    /// [`RdbReader::log_error`] and returns `None`. The version is always 1 to [`Value::ENCODING`].
    fn load(input: &mut RdbReader<'_>, encoding: i32) -> Option<Self>;
    /// Writes commands that create the value again, for an AOF without an RDB preamble and for Valkey's slot migration.
    fn rewrite(&self, out: &mut AofWriter<'_>, key: Arg<'_>);
    /// The memory that the value takes, in bytes, for MEMORY USAGE.
    fn memory(&self) -> usize;
    /// Computes the digest for DEBUG DIGEST, which must be the same for equal values.
    fn digest(&self, out: &mut Digest<'_>);
    /// The number of blocks to free. Above 64 the server frees the value on another thread.
    fn free_effort(&self) -> usize;
    /// The value for a copy of the key; `None` makes COPY fail.
    fn copy(&self) -> Option<Self>;
}

/// A data type, to be used as a `static`.
pub struct DataType<T> {
    raw: AtomicPtr<RedisModuleType>,
    values: PhantomData<fn() -> T>,
}

impl<T: Value> DataType<T> {
    /// A type that isn't registered yet.
    #[allow(clippy::new_without_default, reason = "made once, as a static")]
    pub const fn new() -> DataType<T> {
        DataType { raw: AtomicPtr::new(ptr::null_mut()), values: PhantomData }
    }

    /// Registers the type; only while the module is loaded.
    pub fn register(&self, ctx: Context<'_>) -> Result<(), LoadError> {
        let mut methods = RedisModuleTypeMethods {
            version: u64::from(raw::REDISMODULE_TYPE_METHOD_VERSION),
            rdb_load: Some(rdb_load::<T>),
            rdb_save: Some(rdb_save::<T>),
            aof_rewrite: Some(aof_rewrite::<T>),
            mem_usage: Some(mem_usage::<T>),
            digest: Some(digest::<T>),
            free: Some(free::<T>),
            aux_load: None,
            aux_save: None,
            aux_save_triggers: 0,
            free_effort: Some(free_effort::<T>),
            unlink: None,
            copy: Some(copy::<T>),
            defrag: Some(defrag::<T>),
            // The newer forms only add the key's name and its database. Every server accepts the older ones.
            mem_usage2: None,
            free_effort2: None,
            unlink2: None,
            copy2: None,
            aux_save2: None,
        };
        // SAFETY: OnLoad's context knows the module; the server copies name and methods, which are all of this `T`, as
        // each value will be that `Slot::boxed` makes.
        let raw = unsafe {
            api!(RedisModule_CreateDataType)(ctx.raw(), T::NAME.as_ptr(), T::ENCODING, &mut methods)
        };
        if raw.is_null() {
            return Err(
                format!("the data type {:?} was refused: perhaps another module has it", T::NAME).into()
            );
        }
        self.raw.store(raw, Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn raw(&self) -> *mut RedisModuleType {
        self.raw.load(Relaxed)
    }
}

unsafe extern "C" fn rdb_load<T: Value>(io: *mut RedisModuleIO, encoding: c_int) -> *mut c_void {
    guard("the load of a value", ptr::null_mut(), || {
        // SAFETY: the server gives a stream that lives through this call.
        let mut reader = unsafe { RdbReader::new(io) };
        if !(1..=T::ENCODING).contains(&encoding) {
            reader.log_error("the value was written by a newer version of the module");
            return ptr::null_mut();
        }
        match T::load(&mut reader, encoding) {
            Some(value) if !reader.has_failed() => Slot::boxed(value),
            _ => ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn rdb_save<T: Value>(io: *mut RedisModuleIO, slot: *mut c_void) {
    written("the save of a value", || {
        // SAFETY: the server gives a stream that lives through this call.
        let mut out = unsafe { RdbWriter::new(io) };
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, |value| value.save(&mut out)) }.is_some()
    });
}

unsafe extern "C" fn aof_rewrite<T: Value>(
    io: *mut RedisModuleIO,
    key: *mut RedisModuleString,
    slot: *mut c_void,
) {
    written("the rewrite of a value", || {
        // SAFETY: the server gives a stream that lives through this call.
        let mut out = unsafe { AofWriter::new(io) };
        let Some(key) = NonNull::new(key) else { return false };
        // SAFETY: the server gives the key's name, which lives, unchanged, through this call.
        let key = unsafe { Arg::new(key) };
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, |value| value.rewrite(&mut out, key)) }.is_some()
    });
}

/// Runs a save. A file that is only half written must not become a snapshot. So if the save fails in a forked child,
/// the child exits with an error, and the server keeps the old file. In the main process (SAVE, DUMP) all that can be
/// done is a line in the log; the value can't be loaded then.
fn written(what: &str, save: impl FnOnce() -> bool) {
    if guard(what, false, save) {
        return;
    }
    log(Level::Warning, &format!("{what} failed: the data that was written is not complete"));
    if Flags::of_server().is_child() {
        // SAFETY: ends the child at once, without the exit handlers that belong to its parent; nothing runs after it.
        unsafe { libc::_exit(1) }
    }
}

unsafe extern "C" fn mem_usage<T: Value>(slot: *const c_void) -> usize {
    guard("the size of a value", 0, || {
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, Value::memory) }.unwrap_or(0)
    })
}

unsafe extern "C" fn digest<T: Value>(md: *mut RedisModuleDigest, slot: *mut c_void) {
    guard("the digest of a value", (), || {
        // SAFETY: the server gives a digest that lives through this call.
        let mut out = unsafe { Digest::new(md) };
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, |value| value.digest(&mut out)) };
    });
}

/// Can run on another thread. It touches only the value and the allocator, and the log if something is wrong.
unsafe extern "C" fn free<T: Value>(slot: *mut c_void) {
    guard("the freeing of a value", (), || {
        // SAFETY: the server frees a value made by `Slot::boxed` of this `T`; no key points to it any more.
        let Some(value) = (unsafe { Slot::<T>::unbox_unused(slot) }) else {
            log(Level::Warning, "a value was removed while it was in use: its memory is not freed");
            return;
        };
        if freeing::blocks_the_server(value.free_effort()) {
            freeing::free_elsewhere(Box::new(value));
        }
    });
}

unsafe extern "C" fn free_effort<T: Value>(_key: *mut RedisModuleString, slot: *const c_void) -> usize {
    guard("the effort of freeing a value", 1, || {
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, Value::free_effort) }.unwrap_or(1)
    })
}

unsafe extern "C" fn copy<T: Value>(
    _from: *mut RedisModuleString,
    _to: *mut RedisModuleString,
    slot: *const c_void,
) -> *mut c_void {
    guard("the copy of a value", ptr::null_mut(), || {
        // SAFETY: the server passes a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        let copied = unsafe { look::<T, _>(slot, Value::copy) };
        copied.flatten().map_or(ptr::null_mut(), Slot::boxed)
    })
}

/// Moves the block that the key points to, but not the other blocks of the value.
unsafe extern "C" fn defrag<T: Value>(
    ctx: *mut RedisModuleDefragCtx,
    _key: *mut RedisModuleString,
    slot: *mut *mut c_void,
) -> c_int {
    guard("the defragmentation of a value", (), || {
        // SAFETY: the server passes the address of the key's pointer, and doesn't use it during the call.
        let pointer = unsafe { &mut *slot };
        // SAFETY: the pointer is to a value made by `Slot::boxed` of this `T`.
        let is_used = unsafe { Slot::<T>::is_used(*pointer) };
        if !is_used && align_of::<Slot<T>>() <= 8 {
            // SAFETY: the block is of the server's allocator (its alignment is that of all such blocks), the value in
            // it isn't borrowed, and the only pointer to it is the one that is changed here.
            let moved = unsafe { api!(RedisModule_DefragAlloc)(ctx, *pointer) };
            if !moved.is_null() {
                *pointer = moved;
            }
        }
    });
    // 0 means that the value needs no further step.
    0
}
