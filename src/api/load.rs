//! How the module gets into the server: functions found, allocator and panic hook in place, name and options told.

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use super::alloc;
use super::context::{Context, Level};
use super::freeing;
use super::guard;
use super::raw::{self, GetApi};
use super::string::Arg;

/// Whose server it is. Their versions are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

/// The server this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// `0x00MMmmpp`: 0x00080203 is 8.2.3.
    pub version: i32,
}

impl Server {
    /// Whether it is at least this version (Valkey 8 and 9 are above Redis 7.0 in all that modules see).
    pub fn at_least(self, major: i32, minor: i32) -> bool {
        self.version >= (major << 16 | minor << 8)
    }

    /// It is Valkey.
    pub fn is_valkey(self) -> bool {
        self.flavour == Flavour::Valkey
    }
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// The server this is; before the load an old Redis.
pub fn server() -> Server {
    SERVER.get().copied().unwrap_or(Server { flavour: Flavour::Redis, version: 0 })
}

/// Why the module can't be loaded; goes to the log.
#[derive(Debug)]
pub struct LoadError(pub String);

impl<T: Into<String>> From<T> for LoadError {
    fn from(text: T) -> LoadError {
        LoadError(text.into())
    }
}

/// The whole of `RedisModule_OnLoad`: makes the API usable, tells the server `name` and `version`, then runs `body`
/// with the arguments of `loadmodule` to register what there is. Answers what OnLoad has to.
///
/// # Safety
/// To be called by `RedisModule_OnLoad` only, with what it got, before anything else of the crate has run.
pub unsafe fn load(
    ctx: *mut raw::Ctx,
    argv: *mut *mut raw::Str,
    argc: c_int,
    name: &'static CStr,
    version: i32,
    body: fn(Context<'_>, &[Arg<'_>]) -> Result<(), LoadError>,
) -> c_int {
    // SAFETY: the server gives a live context, whose first field is RM_GetApi: redismodule.h starts the same way.
    let get = unsafe { *ctx.cast::<Option<GetApi>>() };
    let Some(get) = get else { return raw::ERR };

    // SAFETY: this is RM_GetApi, and nothing was allocated yet.
    if let Err(refused) = unsafe { alloc::install(get) } {
        let why = match refused {
            alloc::Refused::Missing => c"not loaded: the server offers no allocator to modules",
            alloc::Refused::TooLate => {
                c"not loaded: memory was allocated before the server's allocator was there"
            }
        };
        // SAFETY: as above.
        unsafe { log_before_table(get, ctx, why, None) };
        return raw::ERR;
    }
    // SAFETY: as above.
    let table = match unsafe { raw::Api::fetch(get) } {
        Ok(table) => table,
        Err(missing) => {
            let why = c"not loaded: this server is too old, it has no";
            // SAFETY: as above.
            unsafe { log_before_table(get, ctx, why, Some(missing)) };
            return raw::ERR;
        }
    };
    raw::install(table);
    guard::install_hook();
    freeing::note_main_thread();

    guard::guard("the load of the module", raw::ERR, || {
        // SAFETY: the server's context lives through OnLoad.
        let Some(ctx) = (unsafe { Context::new(ctx) }) else { return raw::ERR };
        // SAFETY: so do its arguments.
        let args = unsafe { Arg::slice(argv, argc) };
        match introduce(ctx, get, name, version).and_then(|()| body(ctx, args)) {
            Ok(()) => raw::OK,
            Err(LoadError(why)) => {
                ctx.log(Level::Warning, &format!("not loaded: {why}"));
                raw::ERR
            }
        }
    })
}

/// Tells the server who we are and what we bear.
fn introduce(ctx: Context<'_>, get: GetApi, name: &CStr, version: i32) -> Result<(), LoadError> {
    let api = raw::api();
    // Both flavours answer the same names; only Valkey answers its own. Versions don't tell them apart.
    // SAFETY: looked up, not called.
    let valkey = unsafe { raw::find::<*const c_void>(get, c"ValkeyModule_Alloc") }.is_some();
    let flavour = if valkey { Flavour::Valkey } else { Flavour::Redis };
    // SAFETY: takes nothing.
    let server_version = api.get_server_version.map_or(0, |version| unsafe { version() });
    SERVER.get_or_init(|| Server { flavour, version: server_version });

    // SAFETY: a C string; the context lives.
    unsafe {
        if (api.is_module_name_busy)(name.as_ptr()) != 0 {
            return Err("a module of this name is loaded already".into());
        }
        (api.set_module_attribs)(ctx.raw(), name.as_ptr(), version, raw::API_VERSION);
    }

    // One call, since a second would overwrite the first. Servers keep bits they don't know, but bit 5 may come to
    // mean something else in Redis.
    let mut options = raw::OPTION_HANDLE_IO_ERRORS
        | raw::OPTION_NO_IMPLICIT_SIGNAL_MODIFIED
        | raw::OPTION_HANDLE_REPL_ASYNC_LOAD;
    if valkey {
        options |= raw::OPTION_VALKEY_HANDLE_ATOMIC_SLOT_MIGRATION;
    }
    if let Some(all) = api.get_module_options_all {
        // SAFETY: takes nothing.
        options &= unsafe { all() };
    }
    // SAFETY: the context lives.
    unsafe { (api.set_module_options)(ctx.raw(), options) };
    ctx.detach();
    Ok(())
}

/// Logs while there is no table and perhaps no allocator.
///
/// # Safety
/// `get` is RM_GetApi and the context lives.
unsafe fn log_before_table(get: GetApi, ctx: *mut raw::Ctx, text: &CStr, detail: Option<&CStr>) {
    type Log = unsafe extern "C" fn(*mut raw::Ctx, *const std::ffi::c_char, *const std::ffi::c_char, ...);
    // SAFETY: the type is that of redismodule.h.
    let Some(log) = (unsafe { raw::find::<Log>(get, c"RedisModule_Log") }) else { return };
    let detail = detail.unwrap_or(c"");
    // SAFETY: two C strings for two %s.
    unsafe {
        log(ctx, Level::Warning.name().as_ptr(), c"%s %s".as_ptr(), text.as_ptr(), detail.as_ptr());
    }
}
