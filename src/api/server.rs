//! Information about the server: its clock, INFO and settings; and its latency monitor.

use std::ffi::{CStr, OsStr, OsString, c_longlong};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

use super::context::Context;
use super::flags::Flags;
use super::load::server;
use super::raw::{RedisModuleCallReply, RedisModuleServerInfoData, api};

/// Microseconds since the machine's boot. The clock continues while the machine sleeps, and is never set.
pub fn micros_since_boot() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes one timespec, which is ours. It knows this clock since Linux 2.6.39, and fails at
    // nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

/// A section of INFO, as it was when it was requested.
pub struct ServerInfo<'a> {
    ctx: Context<'a>,
    raw: NonNull<RedisModuleServerInfoData>,
}

impl<'a> ServerInfo<'a> {
    /// Requests a section. This takes as long as INFO: some microseconds.
    pub fn section(ctx: Context<'a>, name: &CStr) -> Option<ServerInfo<'a>> {
        // SAFETY: the context lives as long as `ctx`; the server reads the C string and makes data that is ours.
        let raw = unsafe { api!(RedisModule_GetServerInfo)(ctx.raw(), name.as_ptr()) };
        NonNull::new(raw).map(|raw| ServerInfo { ctx, raw })
    }

    /// The value of a field; `None` if the section has no such field.
    pub fn field(&self, name: &CStr) -> Option<&str> {
        // SAFETY: the data is ours until it is dropped; the server returns a C string inside it, or null.
        let value = unsafe { api!(RedisModule_ServerInfoGetFieldC)(self.raw.as_ptr(), name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: not null, so a C string inside the data, which nothing changes until `self` is dropped.
        unsafe { CStr::from_ptr(value) }.to_str().ok().map(str::trim_end)
    }
}

impl Drop for ServerInfo<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `section`, freed once, with a context that lives.
        unsafe { api!(RedisModule_FreeServerInfo)(self.ctx.raw(), self.raw.as_ptr()) };
    }
}

/// A setting of the server that is a number. `None` if it isn't a number, or if CONFIG was renamed.
pub fn setting(ctx: Context<'_>, name: &CStr) -> Option<i64> {
    look_up(ctx, name, |value| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()))
}

/// A setting of the server that names a file or a folder. `None` if it is empty, unknown, or if CONFIG was renamed.
pub fn file_setting(ctx: Context<'_>, name: &CStr) -> Option<OsString> {
    look_up(ctx, name, |value| (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned()))
}

/// Whether the command runs in a script that the server replicates as a script, to run it again on replicas. The
/// effects of the command would be replicated in addition, so it must not change data.
///
/// Redis 6.2 does this with `lua-replicate-commands no`. A script can switch it off by `redis.replicate_commands()`,
/// but modules can't see that. If CONFIG was renamed, the default is assumed, which is yes.
pub fn replicates_scripts(ctx: Context<'_>) -> bool {
    !server().at_least(7, 0)
        && ctx.flags().any(Flags::LUA)
        && look_up(ctx, c"lua-replicate-commands", |value| Some(value == b"no")) == Some(true)
}

/// A setting of the server, by CONFIG GET. This takes some microseconds, because the server goes through all settings.
fn look_up<R>(ctx: Context<'_>, name: &CStr, read: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
    let (get, words) = (c"GET", c"cc");
    // SAFETY: the context lives; "cc" takes two C strings and gets them.
    let reply = unsafe {
        api!(RedisModule_Call)(ctx.raw(), c"CONFIG".as_ptr(), words.as_ptr(), get.as_ptr(), name.as_ptr())
    };
    let reply = NonNull::new(reply)?;
    // SAFETY: a reply of ours; a missing element is null, which `text` accepts.
    let value = unsafe { text(api!(RedisModule_CallReplyArrayElement)(reply.as_ptr(), 1)) };
    let found = read(value);
    // SAFETY: freed once, after its last use.
    unsafe { api!(RedisModule_FreeCallReply)(reply.as_ptr()) };
    found
}

/// # Safety
/// Null, or a reply that lives for `'a`.
unsafe fn text<'a>(reply: *mut RedisModuleCallReply) -> &'a [u8] {
    if reply.is_null() {
        return &[];
    }
    let mut len = 0;
    // SAFETY: the caller's promise; for anything but a string the server returns null.
    let bytes = unsafe { api!(RedisModule_CallReplyStringPtr)(reply, &mut len) };
    if bytes.is_null() {
        return &[];
    }
    // SAFETY: the server returned the length, and the bytes live as long as the reply.
    unsafe { std::slice::from_raw_parts(bytes.cast(), len) }
}

/// Adds a sample to LATENCY. The server ignores samples below `latency-monitor-threshold`. But it accepts all samples
/// if the threshold is 0, which means off: the caller has to check that by [`setting`].
pub fn latency(event: &CStr, ms: u64) {
    let ms = c_longlong::try_from(ms).unwrap_or(c_longlong::MAX);
    // SAFETY: the server copies the C string, and needs no context.
    unsafe { api!(RedisModule_LatencyAddSample)(event.as_ptr(), ms) };
}
