//! The module's part of INFO. Names get the module's name before them.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::context::Context;
use super::guard::guard;
use super::load::LoadError;
use super::raw::{self, RedisModuleInfoCtx, api};
use super::string::line;

static HANDLER: OnceLock<fn(&mut InfoWriter<'_>)> = OnceLock::new();

/// Registers what writes INFO. It isn't called for crash reports, where nothing may be allocated.
pub fn register(ctx: Context<'_>, handler: fn(&mut InfoWriter<'_>)) -> Result<(), LoadError> {
    HANDLER.get_or_init(|| handler);
    // SAFETY: OnLoad's context knows the module; `write` has the signature of such a callback, and stays in memory with
    // the module.
    match unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw(), Some(write)) } {
        raw::OK => Ok(()),
        _ => Err("the server refused the section of INFO".into()),
    }
}

unsafe extern "C" fn write(ctx: *mut RedisModuleInfoCtx, for_crash_report: c_int) {
    // A crashing server may be inside the allocator: it must fail over, not hang here.
    if for_crash_report != 0 {
        return;
    }
    guard("INFO", (), || {
        if let Some(handler) = HANDLER.get() {
            handler(&mut InfoWriter { ctx, life: PhantomData });
        }
    });
}

/// Writes sections and fields.
pub struct InfoWriter<'a> {
    ctx: *mut RedisModuleInfoCtx,
    life: PhantomData<&'a mut RedisModuleInfoCtx>,
}

impl InfoWriter<'_> {
    /// Begins a section, `<module>_<name>`. False if nobody asked for it: then leave its fields out.
    pub fn section(&mut self, name: &CStr) -> bool {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies the C string.
        unsafe { api!(RedisModule_InfoAddSection)(self.ctx, name.as_ptr()) == raw::OK }
    }

    /// A count.
    pub fn u64(&mut self, field: &CStr, value: u64) {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies name and number.
        unsafe { api!(RedisModule_InfoAddFieldULongLong)(self.ctx, field.as_ptr(), value) };
    }

    /// A number that may be negative.
    pub fn i64(&mut self, field: &CStr, value: i64) {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies name and number.
        unsafe { api!(RedisModule_InfoAddFieldLongLong)(self.ctx, field.as_ptr(), value) };
    }

    /// A text, of one line.
    pub fn text(&mut self, field: &CStr, value: &str) {
        let value = line(value);
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies both C strings.
        unsafe { api!(RedisModule_InfoAddFieldCString)(self.ctx, field.as_ptr(), value.as_ptr()) };
    }
}
