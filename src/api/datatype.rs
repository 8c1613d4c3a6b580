//! A native data type: what the server asks of its values. What a key points to is a [`Slot`].

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

/// What a value of a native type does for the server.
///
/// `Send`: the server frees values on a thread of its own, where `drop` may touch nothing but the value.
/// `save`, `rewrite` and `digest` may run in a forked child; a lock held by another thread would never open there.
pub trait Value: Sized + Send + 'static {
    /// Nine characters of `[A-Za-z0-9_-]`, for ever.
    const NAME: &'static CStr;
    /// Version of what `save` writes, 1 to 1023.
    const ENCODING: i32;

    /// Writes the value to an RDB file (or DUMP's payload).
    fn save(&self, out: &mut RdbWriter<'_>);
    /// Reads what `save` of version `encoding` wrote. The bytes may be hostile: `None` where anything is wrong,
    /// after [`RdbReader::log_error`] said what. Never called with a version of 0 or above [`Value::ENCODING`].
    fn load(input: &mut RdbReader<'_>, encoding: i32) -> Option<Self>;
    /// Writes commands that make the value anew: AOF without RDB preamble, and Valkey's slot migration.
    fn rewrite(&self, out: &mut AofWriter<'_>, key: Arg<'_>);
    /// Bytes held, for MEMORY USAGE.
    fn memory(&self) -> usize;
    /// What two equal values have in common, for DEBUG DIGEST.
    fn digest(&self, out: &mut Digest<'_>);
    /// How much there is to free; above 64 the server frees on a thread of its own.
    fn free_effort(&self) -> usize;
    /// The value of a copied key; `None` makes COPY fail.
    fn copy(&self) -> Option<Self>;
}

/// A registered type; a `static` of the crate's.
pub struct DataType<T> {
    raw: AtomicPtr<RedisModuleType>,
    values: PhantomData<fn() -> T>,
}

impl<T: Value> DataType<T> {
    /// A type that isn't registered yet: no key is of it.
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
            // The newer forms only add the key's name and database, and every server falls back to the older ones.
            mem_usage2: None,
            free_effort2: None,
            unlink2: None,
            copy2: None,
            aux_save2: None,
        };
        // SAFETY: OnLoad's context knows the module; the server copies name and methods, which are all of this `T`, as each
        // value will be that `Slot::boxed` makes.
        let raw = unsafe {
            api!(RedisModule_CreateDataType)(ctx.raw(), T::NAME.as_ptr(), T::ENCODING, &mut methods)
        };
        if raw.is_null() {
            return Err(format!("the data type {:?} was refused: another module has it?", T::NAME).into());
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
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
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
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, |value| value.rewrite(&mut out, key)) }.is_some()
    });
}

/// Runs a save. What is half written must not pass for a snapshot: a child that failed ends with an error, which
/// makes the server keep the file it had. In the main process (SAVE, DUMP) the log line is all we can do; such a
/// value doesn't load.
fn written(what: &str, save: impl FnOnce() -> bool) {
    if guard(what, false, save) {
        return;
    }
    log(Level::Warning, &format!("{what} failed: what was written is not complete"));
    if Flags::of_server().is_child() {
        // SAFETY: ends the child at once, without the exit handlers that belong to its parent; nothing runs after it.
        unsafe { libc::_exit(1) }
    }
}

unsafe extern "C" fn mem_usage<T: Value>(slot: *const c_void) -> usize {
    guard("the size of a value", 0, || {
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, Value::memory) }.unwrap_or(0)
    })
}

unsafe extern "C" fn digest<T: Value>(md: *mut RedisModuleDigest, slot: *mut c_void) {
    guard("the digest of a value", (), || {
        // SAFETY: the server gives a digest that lives through this call.
        let mut out = unsafe { Digest::new(md) };
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, |value| value.digest(&mut out)) };
    });
}

/// May run on another thread: touches the value and the allocator only (and the log, if something is wrong).
unsafe extern "C" fn free<T: Value>(slot: *mut c_void) {
    guard("the freeing of a value", (), || {
        // SAFETY: the server lets go of a value made by `Slot::boxed` of this `T`; no key points to it any more.
        let Some(value) = (unsafe { Slot::<T>::unbox_unused(slot) }) else {
            log(Level::Warning, "a value was removed while it was in use: its memory is not freed");
            return;
        };
        if freeing::holds_the_server(value.free_effort()) {
            freeing::free_elsewhere(Box::new(value));
        }
    });
}

unsafe extern "C" fn free_effort<T: Value>(_key: *mut RedisModuleString, slot: *const c_void) -> usize {
    guard("the effort of freeing a value", 1, || {
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        unsafe { look::<T, _>(slot, Value::free_effort) }.unwrap_or(1)
    })
}

unsafe extern "C" fn copy<T: Value>(
    _from: *mut RedisModuleString,
    _to: *mut RedisModuleString,
    slot: *const c_void,
) -> *mut c_void {
    guard("the copy of a value", ptr::null_mut(), || {
        // SAFETY: the server hands a key's value, made by `Slot::boxed` of this `T`, which lives through the call.
        let copied = unsafe { look::<T, _>(slot, Value::copy) };
        copied.flatten().map_or(ptr::null_mut(), Slot::boxed)
    })
}

/// Moves the block that the key points to, not what the value holds in other blocks.
unsafe extern "C" fn defrag<T: Value>(
    ctx: *mut RedisModuleDefragCtx,
    _key: *mut RedisModuleString,
    slot: *mut *mut c_void,
) -> c_int {
    guard("the defragmentation of a value", (), || {
        // SAFETY: the server hands the place where the key keeps its pointer, and looks away through the call.
        let place = unsafe { &mut *slot };
        // SAFETY: there it keeps a value made by `Slot::boxed` of this `T`.
        let is_used = unsafe { Slot::<T>::is_used(*place) };
        if !is_used && align_of::<Slot<T>>() <= 8 {
            // SAFETY: the block is of the server's allocator (its alignment is that of all such blocks), nobody
            // borrows what is in it, and the only pointer to it is the one that is changed here.
            let moved = unsafe { api!(RedisModule_DefragAlloc)(ctx, *place) };
            if !moved.is_null() {
                *place = moved;
            }
        }
    });
    // Nothing is left to do.
    0
}
