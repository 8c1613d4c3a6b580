//! The module's section of INFO. The server puts the module's name in front of all names.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::context::Context;
use super::guard::guard;
use super::load::LoadError;
use super::raw::{self, RedisModuleInfoCtx, api};
use super::string::line;

static HANDLER: OnceLock<fn(&mut InfoWriter<'_>)> = OnceLock::new();

/// Registers the function that writes the section. It isn't called for crash reports, where nothing may be allocated.
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
    // A server that crashes can be inside the allocator. An allocation here could hang, and so delay a failover.
    if for_crash_report != 0 {
        return;
    }
    guard("INFO", (), || {
        if let Some(handler) = HANDLER.get() {
            handler(&mut InfoWriter { ctx, life: PhantomData });
        }
    });
}

/// Writes the sections and fields of INFO.
pub struct InfoWriter<'a> {
    ctx: *mut RedisModuleInfoCtx,
    life: PhantomData<&'a mut RedisModuleInfoCtx>,
}

impl InfoWriter<'_> {
    /// Begins the section `<module>_<name>`. Returns false if the client didn't ask for it. Then its fields must be left out.
    pub fn section(&mut self, name: &CStr) -> bool {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies the C string.
        unsafe { api!(RedisModule_InfoAddSection)(self.ctx, name.as_ptr()) == raw::OK }
    }

    /// Writes a field that is a count.
    pub fn u64(&mut self, field: &CStr, value: u64) {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies name and number.
        unsafe { api!(RedisModule_InfoAddFieldULongLong)(self.ctx, field.as_ptr(), value) };
    }

    /// Writes a field that is a number, which can be negative.
    pub fn i64(&mut self, field: &CStr, value: i64) {
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies name and number.
        unsafe { api!(RedisModule_InfoAddFieldLongLong)(self.ctx, field.as_ptr(), value) };
    }

    /// Writes a field that is a text. Control characters become blanks.
    pub fn text(&mut self, field: &CStr, value: &str) {
        let value = line(value);
        // SAFETY: the context lives through the callback, which `self` doesn't outlive; the server copies both C strings.
        unsafe { api!(RedisModule_InfoAddFieldCString)(self.ctx, field.as_ptr(), value.as_ptr()) };
    }
}
