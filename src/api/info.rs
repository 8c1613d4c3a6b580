//! The module's part of INFO. Names get the module's name before them.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::context::Context;
use super::guard::guard;
use super::load::LoadError;
use super::raw::{self, api};
use super::string::line;

static HANDLER: OnceLock<fn(&mut InfoWriter<'_>)> = OnceLock::new();

/// Registers what writes INFO. It isn't called for crash reports, where nothing may be allocated.
pub fn register(ctx: Context<'_>, handler: fn(&mut InfoWriter<'_>)) -> Result<(), LoadError> {
    HANDLER.get_or_init(|| handler);
    // SAFETY: the context lives.
    match unsafe { (api().register_info_func)(ctx.raw(), write) } {
        raw::OK => Ok(()),
        _ => Err("the server refused the section of INFO".into()),
    }
}

unsafe extern "C" fn write(ctx: *mut raw::InfoCtx, for_crash_report: c_int) {
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
    ctx: *mut raw::InfoCtx,
    life: PhantomData<&'a mut raw::InfoCtx>,
}

impl InfoWriter<'_> {
    /// Begins a section, `<module>_<name>`. False if nobody asked for it: then leave its fields out.
    pub fn section(&mut self, name: &CStr) -> bool {
        // SAFETY: the context lives through the callback (so below); the server copies the texts.
        unsafe { (api().info_add_section)(self.ctx, name.as_ptr()) == raw::OK }
    }

    /// A count.
    pub fn u64(&mut self, field: &CStr, value: u64) {
        // SAFETY: the context lives.
        unsafe { (api().info_add_field_u_long_long)(self.ctx, field.as_ptr(), value) };
    }

    /// A number that may be negative.
    pub fn i64(&mut self, field: &CStr, value: i64) {
        // SAFETY: the context lives.
        unsafe { (api().info_add_field_long_long)(self.ctx, field.as_ptr(), value) };
    }

    /// A text, of one line.
    pub fn text(&mut self, field: &CStr, value: &str) {
        let value = line(value);
        // SAFETY: the context lives.
        unsafe { (api().info_add_field_c_string)(self.ctx, field.as_ptr(), value.as_ptr()) };
    }
}
