//! A key while it is open, and the value of our type in it.
//!
//! A handle holds its value's borrow from the first look until it is closed, so a reference never outlives the
//! handle, and no two handles give access to one value while one of them may change it. While a handle is open, do
//! nothing that may delete or overwrite its key by another way (a nested command, waking a blocked client on servers
//! up to 7.0, which replies at once): the server's own handle would point into freed memory.

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
/// Leaves LRU and LFU alone; known to every server.
const NO_TOUCH: i32 = raw::REDISMODULE_OPEN_KEY_NOTOUCH as i32;
/// No key-miss event, no statistics, no expiry; and one bit for all of them.
const QUIET: i32 = (raw::REDISMODULE_OPEN_KEY_NONOTIFY
    | raw::REDISMODULE_OPEN_KEY_NOSTATS
    | raw::REDISMODULE_OPEN_KEY_NOEXPIRE
    | raw::REDISMODULE_OPEN_KEY_NOEFFECTS) as i32;

/// Why there is no value to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The key holds something else.
    WrongType,
    /// The value is in use by an outer call, or the server took no change.
    Busy,
}

/// What opening and closing both kinds of handle share.
struct Handle<'a> {
    raw: NonNull<RedisModuleKey>,
    /// The count of borrows of the value, if we hold one.
    held: Option<NonNull<AtomicI32>>,
    life: PhantomData<Context<'a>>,
}

impl<'a> Handle<'a> {
    fn open(ctx: Context<'a>, name: Arg<'a>, mode: i32) -> Option<Handle<'a>> {
        // SAFETY: context and name live for `'a`, which the handle doesn't outlive; the mode is made of the server's bits.
        let raw = unsafe { api!(RedisModule_OpenKey)(ctx.raw(), name.raw(), mode) };
        NonNull::new(raw).map(|raw| Handle { raw, held: None, life: PhantomData })
    }

    fn is_empty(&self) -> bool {
        // SAFETY: the handle is open until `self` is dropped.
        unsafe { api!(RedisModule_KeyType)(self.raw.as_ptr()) == raw::REDISMODULE_KEYTYPE_EMPTY as i32 }
    }

    /// The slot of a value of this type.
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

/// A key that is open to read.
pub struct KeyRead<'a>(std::cell::RefCell<Handle<'a>>);

impl<'a> KeyRead<'a> {
    /// Opens a key; `None` if there is none (or it has expired).
    pub fn open(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyRead<'a>> {
        Handle::open(ctx, name, READ).map(|handle| KeyRead(handle.into()))
    }

    /// Opens a key without leaving a trace: no LRU, no statistics, no key-miss event, no expiry (servers before 7.x
    /// leave the traces that they know no word for).
    pub fn peek(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyRead<'a>> {
        // SAFETY: the function takes nothing and returns a constant of the server.
        let known = optional!(RedisModule_GetOpenKeyModesAll).map_or(NO_TOUCH, |all| unsafe { all() });
        let quiet = NO_TOUCH | QUIET;
        Handle::open(ctx, name, READ | quiet & known).map(|handle| KeyRead(handle.into()))
    }

    /// The value; `Ok(None)` if the key is empty.
    pub fn value<T: Value>(&self, of: &DataType<T>) -> Result<Option<&T>, KeyError> {
        let mut handle = self.0.try_borrow_mut().map_err(|_| KeyError::Busy)?;
        let Some(slot) = handle.slot(of)? else { return Ok(None) };
        match handle.held {
            Some(held) if held == slot.borrowed() => {}
            // Somebody put another value into the key while references into the first one may be about.
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

/// A key that is open to write, whether it is there or not. Closing it signals no change: see
/// [`Context::signal_modified`].
pub struct KeyWrite<'a>(Handle<'a>);

impl<'a> KeyWrite<'a> {
    /// Opens a key; an expired one is deleted first. `None` if the server refuses.
    pub fn open(ctx: Context<'a>, name: Arg<'a>) -> Option<KeyWrite<'a>> {
        Handle::open(ctx, name, READ | WRITE).map(KeyWrite)
    }

    /// The value, to change it; `Ok(None)` if the key is empty.
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
        // SAFETY: ours alone until the handle is dropped or lets go of it, and `self` is borrowed as long.
        Ok(Some(unsafe { &mut *slot.value() }))
    }

    /// Puts a value into the key, in place of whatever it held.
    pub fn set_value<T: Value>(&mut self, of: &DataType<T>, value: T) -> Result<(), KeyError> {
        self.0.release();
        let slot = Slot::boxed(value);
        let status = if of.raw().is_null() {
            raw::ERR
        } else {
            // SAFETY: the handle is open to write, the type is registered, and `slot` was made as values of that type are. Nobody
            // borrows the old value by this handle, and one that another handle borrows is not freed.
            unsafe { api!(RedisModule_ModuleTypeSetValue)(self.0.raw.as_ptr(), of.raw(), slot) }
        };
        if status != raw::OK {
            // SAFETY: made by `Slot::boxed` of this `T` above, and the server didn't take it, so it is ours alone.
            unsafe { Slot::<T>::unbox(slot) };
            return Err(KeyError::Busy);
        }
        Ok(())
    }

    /// Deletes the key; it is then open and empty.
    pub fn delete(&mut self) {
        self.0.release();
        // SAFETY: the handle is open to write, stays open, and let go of its borrow; a value that another one borrows is not
        // freed.
        unsafe { api!(RedisModule_DeleteKey)(self.0.raw.as_ptr()) };
    }
}
