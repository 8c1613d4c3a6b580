//! Handles of open keys, and access to their values.
//!
//! A handle borrows its value from the first access until the handle is closed. So a reference never outlives its
//! handle, and no two handles give access to a value while one of them can change it. While a handle is open, nothing
//! may delete or overwrite its key in another way: no nested command, and on servers up to 7.0 no blocked client may be
//! woken, because it replies at once. The server's own handle would point to freed memory.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicI32;

use super::context::Context;
use super::datatype::{DataType, Value};
use super::raw::{self, RedisModuleKey, api, optional};
use super::slot::{Slot, borrow_exclusive, borrow_shared, release};
use super::string::Arg;

const READ: i32 = raw::REDISMODULE_READ as i32;
const WRITE: i32 = raw::REDISMODULE_WRITE as i32;
/// Doesn't touch LRU and LFU. Every server supports it.
const NO_TOUCH: i32 = raw::REDISMODULE_OPEN_KEY_NOTOUCH as i32;
/// No key-miss event, no statistics, no expiry, and one bit for all of them.
const QUIET: i32 = (raw::REDISMODULE_OPEN_KEY_NONOTIFY
    | raw::REDISMODULE_OPEN_KEY_NOSTATS
    | raw::REDISMODULE_OPEN_KEY_NOEXPIRE
    | raw::REDISMODULE_OPEN_KEY_NOEFFECTS) as i32;

/// Why a key gives no access to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The key holds a value of another type.
    WrongType,
    /// A caller further up uses the value, or the server refused the change.
    Busy,
}

/// The common part of both kinds of handles.
struct Handle<'a> {
    raw: NonNull<RedisModuleKey>,
    /// The value's count of borrows, if this handle holds one.
    held: Option<NonNull<AtomicI32>>,
    life: PhantomData<Context<'a>>,
}

impl<'a> Handle<'a> {
    fn open(ctx: Context<'a>, name: Arg<'a>, mode: i32) -> Option<Handle<'a>> {
        // SAFETY: context and name live for `'a`, which the handle doesn't outlive; the mode is made of the server's
        // bits.
        let raw = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name.raw(), mode) };
        NonNull::new(raw).map(|raw| Handle { raw, held: None, life: PhantomData })
    }

    fn is_empty(&self) -> bool {
        // SAFETY: the handle is open until `self` is dropped.
        unsafe { api!(RedisModule_KeyType)(self.raw.as_ptr()) == raw::REDISMODULE_KEYTYPE_EMPTY as i32 }
    }

    /// The slot in the key, if it is of this type.
    fn slot<T: Value>(&self, of: &DataType<T>) -> Result<Option<&'a Slot<T>>, KeyError> {
        let key = self.raw.as_ptr();
        // SAFETY: the handle is open until `self` is dropped. The value is looked at only where the type is ours.
        unsafe {
            if api!(RedisModule_ModuleTypeGetType)(key) == of.raw() && !of.raw().is_null() {
                // Values of this type are made by `Slot::boxed`, and live while we hold their borrow: `free` leaves
                // a borrowed one alone.
                return Ok(api!(RedisModule_ModuleTypeGetValue)(key).cast::<Slot<T>>().as_ref());
            }
        }
        if self.is_empty() { Ok(None) } else { Err(KeyError::WrongType) }
    }

    fn release(&mut self) {
        if let Some(count) = self.held.take() {
            // SAFETY: we hold a borrow, and a slot lives as long as it is borrowed: `free` leaves it alone.
            release(unsafe { count.as_ref() });
        }
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: `open` opened it, and this is the one place that closes it. No reference into the value is left: each
        // borrows the handle.
        unsafe { api!(RedisModule_CloseKey)(self.raw.as_ptr()) }
    }
}

/// A key that is open for reading.
pub struct KeyRead<'a>(std::cell::RefCell<Handle<'a>>);

impl<'a> KeyRead<'a> {
    /// Opens a key. `None` if the key doesn't exist or has expired.
    pub fn open(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyRead<'a>> {
        Handle::open(ctx, name, READ).map(|handle| KeyRead(handle.into()))
    }

    /// Opens a key without side effects: on LRU, statistics, key-miss events and expiry. (Servers before 7.x can avoid
    /// only some of them.)
    pub fn peek(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyRead<'a>> {
        // SAFETY: the function takes nothing and returns a constant of the server.
        let known = optional!(RedisModule_GetOpenKeyModesAll).map_or(NO_TOUCH, |all| unsafe { all() });
        let quiet = NO_TOUCH | QUIET;
        Handle::open(ctx, name, READ | quiet & known).map(|handle| KeyRead(handle.into()))
    }

    /// The context in which the key was opened, with the key's database as the selected one. In a MULTI, Valkey 9.1 opens
    /// the key of a keyspace event in its database, but tells that of the transaction: after MOVE and COPY with DB these
    /// are two.
    pub fn context(&self, ctx: Context<'a>) -> Context<'a> {
        let Some(db_of) = optional!(RedisModule_GetDbIdFromModuleKey) else { return ctx };
        // SAFETY: the handle is open until `self` is dropped, and the server only reads it.
        ctx.in_db(unsafe { db_of(self.0.borrow().raw.as_ptr()) })
    }

    /// The value; `Ok(None)` if the key is empty.
    pub fn value<T: Value>(&self, of: &DataType<T>) -> Result<Option<&T>, KeyError> {
        let mut handle = self.0.try_borrow_mut().map_err(|_| KeyError::Busy)?;
        let Some(slot) = handle.slot(of)? else { return Ok(None) };
        match handle.held {
            Some(held) if held == slot.borrowed() => {}
            // The key holds another value now, while there may still be references to the first one.
            Some(_) => return Err(KeyError::Busy),
            None => {
                // SAFETY: the slot lives through this call: its key is open, and nothing else runs meanwhile.
                if !borrow_shared(unsafe { slot.borrowed().as_ref() }) {
                    return Err(KeyError::Busy);
                }
                handle.held = Some(slot.borrowed());
            }
        }
        // SAFETY: our shared borrow lasts until the handle is dropped, which outlives the reference.
        Ok(Some(unsafe { &*slot.value() }))
    }
}

/// A key that is open for writing, whether it exists or not. Closing it doesn't report a change: see
/// [`Context::signal_modified`].
pub struct KeyWrite<'a>(Handle<'a>);

impl<'a> KeyWrite<'a> {
    /// Opens a key. An expired key is deleted first. `None` if the server refuses.
    pub fn open(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyWrite<'a>> {
        Handle::open(ctx, name, READ | WRITE).map(KeyWrite)
    }

    /// The value, for changing it; `Ok(None)` if the key is empty.
    #[inline]
    pub fn value_mut<T: Value>(&mut self, of: &DataType<T>) -> Result<Option<&mut T>, KeyError> {
        let Some(slot) = self.0.slot(of)? else { return Ok(None) };
        if self.0.held != Some(slot.borrowed()) {
            self.0.release();
            // SAFETY: the slot lives through this call: its key is open, and nothing else runs meanwhile.
            if !borrow_exclusive(unsafe { slot.borrowed().as_ref() }) {
                return Err(KeyError::Busy);
            }
            self.0.held = Some(slot.borrowed());
        }
        // SAFETY: exclusively borrowed until the handle is dropped or releases it, and `self` is borrowed as long.
        Ok(Some(unsafe { &mut *slot.value() }))
    }

    /// Sets the value of the key, and replaces what it held.
    pub fn set_value<T: Value>(&mut self, of: &DataType<T>, value: T) -> Result<(), KeyError> {
        self.0.release();
        let slot = Slot::boxed(value);
        let status = if of.raw().is_null() {
            raw::ERR
        } else {
            // SAFETY: the handle is open to write, the type is registered, and `slot` was made as values of that type
            // are. This handle doesn't borrow the old value, and one that another handle borrows is not freed.
            unsafe { api!(RedisModule_ModuleTypeSetValue)(self.0.raw.as_ptr(), of.raw(), slot) }
        };
        if status != raw::OK {
            // SAFETY: made by `Slot::boxed` of this `T` above, and the server refused it, so this is the only pointer.
            unsafe { Slot::<T>::unbox(slot) };
            return Err(KeyError::Busy);
        }
        Ok(())
    }

    /// Deletes the key, which stays open, and is empty then.
    pub fn delete(&mut self) {
        self.0.release();
        // SAFETY: the handle is open to write, stays open, and has released its borrow; a value that another one
        // borrows is not freed.
        unsafe { api!(RedisModule_DeleteKey)(self.0.raw.as_ptr()) };
    }
}
