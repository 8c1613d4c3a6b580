//! A native data type: what the server asks of its values, and the writers and readers they answer with.
//!
//! The server keeps one pointer per key, to a [`Slot`]: the value and the count of who is looking at it. The count
//! makes two exclusive borrows of one value impossible, whatever keys a client names twice, and a value that the
//! server frees while it is borrowed is left alone (and lost, with a log line) instead of freed under our hands.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::Relaxed};

use super::context::{Context, Flags, Level, log};
use super::freeing;
use super::guard::guard;
use super::load::LoadError;
use super::raw::{self, api};
use super::string::{Arg, line};

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
    raw: AtomicPtr<raw::Type>,
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
        let mut methods = raw::TypeMethods {
            version: raw::TYPE_METHODS_VERSION,
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
        // SAFETY: the context lives; the server copies the methods.
        let raw = unsafe { (api().create_data_type)(ctx.raw(), T::NAME.as_ptr(), T::ENCODING, &mut methods) };
        if raw.is_null() {
            return Err(format!("the data type {:?} was refused: another module has it?", T::NAME).into());
        }
        self.raw.store(raw, Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn raw(&self) -> *mut raw::Type {
        self.raw.load(Relaxed)
    }
}

/// What a key of our type points to.
#[repr(C)]
pub(super) struct Slot<T> {
    /// 0 free, > 0 that many readers, -1 one writer. Only the main thread borrows; the thread that frees looks.
    borrowed: AtomicI32,
    value: UnsafeCell<T>,
}

impl<T> Slot<T> {
    pub(super) fn boxed(value: T) -> *mut c_void {
        Box::into_raw(Box::new(Slot { borrowed: AtomicI32::new(0), value: UnsafeCell::new(value) })).cast()
    }

    /// Takes back what `boxed` made and the server didn't want.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and nobody else has it.
    pub(super) unsafe fn unbox(slot: *mut c_void) {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(slot.cast::<Slot<T>>()) });
    }

    pub(super) fn value(&self) -> *mut T {
        self.value.get()
    }

    pub(super) fn borrowed(&self) -> NonNull<AtomicI32> {
        NonNull::from(&self.borrowed)
    }
}

/// One more reader, unless there is a writer.
pub(super) fn borrow_shared(count: &AtomicI32) -> bool {
    let now = count.load(Relaxed);
    let free = now >= 0;
    if free {
        count.store(now + 1, Relaxed);
    }
    free
}

/// The one writer, unless there is anybody.
pub(super) fn borrow_exclusive(count: &AtomicI32) -> bool {
    let free = count.load(Relaxed) == 0;
    if free {
        count.store(-1, Relaxed);
    }
    free
}

/// Ends either borrow.
pub(super) fn release(count: &AtomicI32) {
    let now = count.load(Relaxed);
    count.store(if now > 0 { now - 1 } else { 0 }, Relaxed);
}

/// Runs `look` on a value that the server hands to a callback; `None` if somebody is changing it.
///
/// # Safety
/// The pointer is from [`Slot::boxed`] of this `T`, and the value lives through the call.
unsafe fn look<T, R>(slot: *const c_void, look: impl FnOnce(&T) -> R) -> Option<R> {
    // SAFETY: the caller's promise.
    let slot = unsafe { &*slot.cast::<Slot<T>>() };
    if !borrow_shared(&slot.borrowed) {
        return None;
    }
    let borrow = Borrowed(&slot.borrowed);
    // SAFETY: no writer has it, and none gets it before `borrow` is dropped.
    let result = look(unsafe { &*slot.value.get() });
    drop(borrow);
    Some(result)
}

/// Ends a borrow also when a panic passes.
struct Borrowed<'a>(&'a AtomicI32);

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        release(self.0);
    }
}

unsafe extern "C" fn rdb_load<T: Value>(io: *mut raw::Io, encoding: c_int) -> *mut c_void {
    guard("the load of a value", ptr::null_mut(), || {
        let mut reader = RdbReader { io, failed: false, life: PhantomData };
        if !(1..=T::ENCODING).contains(&encoding) {
            reader.log_error("the value was written by a newer version of the module");
            return ptr::null_mut();
        }
        match T::load(&mut reader, encoding) {
            Some(value) if !reader.failed => Slot::boxed(value),
            _ => ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn rdb_save<T: Value>(io: *mut raw::Io, slot: *mut c_void) {
    written("the save of a value", || {
        let mut out = RdbWriter { io, life: PhantomData };
        // SAFETY: the server hands out what `Slot::boxed` made.
        unsafe { look::<T, _>(slot, |value| value.save(&mut out)) }.is_some()
    });
}

unsafe extern "C" fn aof_rewrite<T: Value>(io: *mut raw::Io, key: *mut raw::Str, slot: *mut c_void) {
    written("the rewrite of a value", || {
        let mut out = AofWriter { io, life: PhantomData };
        let Some(key) = NonNull::new(key) else { return false };
        // SAFETY: the key lives through the call.
        let key = unsafe { Arg::new(key) };
        // SAFETY: the server hands out what `Slot::boxed` made.
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
    // SAFETY: the server allows null and then tells of itself only.
    let flags = unsafe { (api().get_context_flags)(ptr::null_mut()) };
    if flags & Flags::CHILD != 0 {
        // SAFETY: ends the child at once, without the exit handlers that belong to its parent.
        unsafe { _exit(1) }
    }
}

unsafe extern "C" {
    fn _exit(status: c_int) -> !;
}

unsafe extern "C" fn mem_usage<T: Value>(slot: *const c_void) -> usize {
    guard("the size of a value", 0, || {
        // SAFETY: the server hands out what `Slot::boxed` made.
        unsafe { look::<T, _>(slot, Value::memory) }.unwrap_or(0)
    })
}

unsafe extern "C" fn digest<T: Value>(md: *mut raw::Digest, slot: *mut c_void) {
    guard("the digest of a value", (), || {
        let mut out = Digest { md, life: PhantomData };
        // SAFETY: the server hands out what `Slot::boxed` made.
        unsafe { look::<T, _>(slot, |value| value.digest(&mut out)) };
    });
}

/// May run on another thread: touches the value and the allocator only (and the log, if something is wrong).
unsafe extern "C" fn free<T: Value>(slot: *mut c_void) {
    guard("the freeing of a value", (), || {
        // SAFETY: the server hands out what `Slot::boxed` made.
        let borrowed = unsafe { &(*slot.cast::<Slot<T>>()).borrowed }.load(Relaxed);
        if borrowed != 0 {
            log(Level::Warning, "a value was removed while it was in use: its memory is not freed");
            return;
        }
        // SAFETY: as above, and the server has let go of it; nobody borrows it, and nobody can any more.
        let slot = unsafe { Box::from_raw(slot.cast::<Slot<T>>()) };
        // SAFETY: it is ours alone by now.
        let blocks = unsafe { &*slot.value.get() }.free_effort();
        if freeing::holds_the_server(blocks) {
            freeing::free_elsewhere(Box::new(slot.value.into_inner()));
        }
    });
}

unsafe extern "C" fn free_effort<T: Value>(_key: *mut raw::Str, slot: *const c_void) -> usize {
    guard("the effort of freeing a value", 1, || {
        // SAFETY: the server hands out what `Slot::boxed` made.
        unsafe { look::<T, _>(slot, Value::free_effort) }.unwrap_or(1)
    })
}

unsafe extern "C" fn copy<T: Value>(
    _from: *mut raw::Str,
    _to: *mut raw::Str,
    slot: *const c_void,
) -> *mut c_void {
    guard("the copy of a value", ptr::null_mut(), || {
        // SAFETY: the server hands out what `Slot::boxed` made.
        let copied = unsafe { look::<T, _>(slot, Value::copy) };
        copied.flatten().map_or(ptr::null_mut(), Slot::boxed)
    })
}

/// Moves the block that the key points to, not what the value holds in other blocks.
unsafe extern "C" fn defrag<T: Value>(
    ctx: *mut raw::DefragCtx,
    _key: *mut raw::Str,
    slot: *mut *mut c_void,
) -> c_int {
    guard("the defragmentation of a value", (), || {
        // SAFETY: the server hands out the place that holds what `Slot::boxed` made.
        let place = unsafe { &mut *slot };
        // SAFETY: as above.
        let borrowed = unsafe { &(*place.cast::<Slot<T>>()).borrowed }.load(Relaxed);
        if borrowed == 0 && align_of::<Slot<T>>() <= 8 {
            // SAFETY: the block is of the server's allocator (its alignment is that of all such blocks), nobody
            // borrows what is in it, and the only pointer to it is the one that is changed here.
            let moved = unsafe { (api().defrag_alloc)(ctx, *place) };
            if !moved.is_null() {
                *place = moved;
            }
        }
    });
    // Nothing is left to do.
    0
}

/// The longest string that a server tries to read as a number when it saves it.
const INTEGER_BYTES: usize = 11;

/// Writes a value to an RDB file.
pub struct RdbWriter<'a> {
    io: *mut raw::Io,
    life: PhantomData<&'a mut raw::Io>,
}

impl RdbWriter<'_> {
    /// Bytes, with their length.
    pub fn save_bytes(&mut self, bytes: &[u8]) {
        // Redis 6.2 takes a string of up to 11 bytes for a number if it can, and reads on to a NUL to find out.
        let mut short = [0; INTEGER_BYTES + 1];
        let text = match short.get_mut(..bytes.len()) {
            Some(start) if bytes.len() <= INTEGER_BYTES => {
                start.copy_from_slice(bytes);
                short.as_ptr()
            }
            _ => bytes.as_ptr(),
        };
        // SAFETY: the stream lives, and the bytes are read during the call; a NUL follows where it is looked for.
        unsafe { (api().save_string_buffer)(self.io, text.cast(), bytes.len()) }
    }
}

/// Reads a value from an RDB file. After the first failure every read fails.
pub struct RdbReader<'a> {
    io: *mut raw::Io,
    failed: bool,
    life: PhantomData<&'a mut raw::Io>,
}

impl RdbReader<'_> {
    /// Bytes; `None` if there are none. Their length was told by the file, the bytes are there.
    pub fn load_bytes(&mut self) -> Option<Buffer> {
        if self.failed {
            return None;
        }
        let mut len = 0;
        // SAFETY: the stream lives; what it answers is ours to free.
        let bytes = unsafe { (api().load_string_buffer)(self.io, &mut len) };
        let buffer = NonNull::new(bytes.cast::<u8>()).map(|bytes| Buffer { bytes, len });
        let buffer = self.checked(buffer)?;
        self.failed |= buffer.is_none();
        buffer
    }

    /// The key that is being loaded, if the server knows it.
    pub fn key(&self) -> Option<Arg<'_>> {
        // SAFETY: the stream lives, and so does its key's name.
        unsafe { NonNull::new((api().get_key_name_from_io)(self.io).cast_mut()).map(|raw| Arg::new(raw)) }
    }

    /// The database that is being loaded; the server tells from 7.0 on.
    pub fn db(&self) -> Option<i32> {
        // SAFETY: the stream lives.
        api().get_db_id_from_io.map(|db| unsafe { db(self.io) }).filter(|db| *db >= 0)
    }

    /// Logs what is wrong with the file, together with where it stands.
    pub fn log_error(&mut self, text: &str) {
        let text = line(text);
        // SAFETY: the stream lives; the format takes one C string, and gets one.
        unsafe { (api().log_io_error)(self.io, c"warning".as_ptr(), c"%s".as_ptr(), text.as_ptr()) }
    }

    fn checked<R>(&mut self, value: R) -> Option<R> {
        // SAFETY: the stream lives.
        self.failed = unsafe { (api().is_io_error)(self.io) != 0 };
        (!self.failed).then_some(value)
    }
}

/// Bytes that the server gave; its allocator gets them back.
pub struct Buffer {
    bytes: NonNull<u8>,
    len: usize,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are there, ours until dropped.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: given to us by the server's allocator, freed once.
        unsafe { (api().free)(self.bytes.as_ptr().cast()) }
    }
}

/// Writes commands to an AOF file or to a slot migration.
pub struct AofWriter<'a> {
    io: *mut raw::Io,
    life: PhantomData<&'a mut raw::Io>,
}

impl AofWriter<'_> {
    /// Writes `cmd key part part` (each below 512 MB, the bound of a command's argument). False if it couldn't: the
    /// rest is wasted.
    pub fn emit(&mut self, cmd: &CStr, key: Arg<'_>, [a, b]: [&[u8]; 2]) -> bool {
        let (io, format) = (self.io, c"sbb".as_ptr());
        // SAFETY: the stream lives; "s" is a string, each "b" a pointer and a size, and all live through the call.
        unsafe {
            (api().emit_aof)(io, cmd.as_ptr(), format, key.raw(), a.as_ptr(), a.len(), b.as_ptr(), b.len());
            (api().is_io_error)(io) == 0
        }
    }
}

/// Takes in what two equal values have in common. Elements of a sequence count in order; sequences don't.
pub struct Digest<'a> {
    md: *mut raw::Digest,
    life: PhantomData<&'a mut raw::Digest>,
}

impl Digest<'_> {
    /// Bytes of the sequence.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the digest lives through the callback (so below), and the bytes are read during the call.
        unsafe { (api().digest_add_string_buffer)(self.md, bytes.as_ptr().cast::<c_char>(), bytes.len()) }
    }

    /// Ends the sequence.
    pub fn end_sequence(&mut self) {
        // SAFETY: the digest lives.
        unsafe { (api().digest_end_sequence)(self.md) }
    }
}
