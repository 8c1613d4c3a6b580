//! Loads the module: finds the server's functions, installs the allocator and the panic hook, and sets the module's
//! options.

use std::ffi::{CStr, c_int};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::alloc::{self, TooLate};
use super::context::Context;
use super::freeing;
use super::guard;
use super::log::Level;
use super::raw::{self, api, optional};
use super::string::Arg;
use super::valkey;

#[doc(hidden)]
pub use redis_module::raw::{RedisModuleCtx, RedisModuleString};

/// The kind of server. Redis and Valkey have separate version numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Redis, by Redis Ltd.
    Redis,
    /// Valkey, the fork of Redis 7.2.
    Valkey,
}

/// The server that has loaded the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether it is Redis or Valkey.
    pub flavour: Flavour,
    /// The version as `0x00MMmmpp`: 0x00080203 is 8.2.3.
    pub version: i32,
}

impl Server {
    /// Whether the server has at least this version. (For modules, Valkey 8 and 9 have everything that Redis 7.0 has.)
    pub fn at_least(self, major: i32, minor: i32) -> bool {
        self.version >= (major << 16 | minor << 8)
    }

    /// Whether the server is Valkey.
    pub fn is_valkey(self) -> bool {
        self.flavour == Flavour::Valkey
    }
}

/// Whether the module was loaded.
static LOADED: AtomicBool = AtomicBool::new(false);

static SERVER: OnceLock<Server> = OnceLock::new();

/// The server that has loaded the module. Before the load, a Redis of version 0.
pub fn server() -> Server {
    SERVER.get().copied().unwrap_or(Server { flavour: Flavour::Redis, version: 0 })
}

/// Why the module can't be loaded, for the log.
#[derive(Debug)]
pub struct LoadError(pub String);

impl<T: Into<String>> From<T> for LoadError {
    fn from(text: T) -> LoadError {
        LoadError(text.into())
    }
}

/// Defines `RedisModule_OnLoad`, the function that the server looks for in a library. To be used once, in the crate of
/// the library: `taskslot_api::module! { name: c"taskslot", version: 100, register: register }`.
///
/// The version is 10000 times the major plus 100 times the minor version. `register` is a
/// `fn(Context<'_>, &[Arg<'_>]) -> Result<(), LoadError>`, which gets the arguments of `loadmodule`.
#[macro_export]
macro_rules! module {
    (name: $name:expr, version: $version:expr, register: $register:expr $(,)?) => {
        /// The function that the server looks for in the library.
        ///
        /// # Safety
        /// Called by the server only.
        #[allow(
            unsafe_code,
            reason = "a name that the server looks for, and a function that only it may call"
        )]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut $crate::load::RedisModuleCtx,
            argv: *mut *mut $crate::load::RedisModuleString,
            argc: ::std::ffi::c_int,
        ) -> ::std::ffi::c_int {
            // SAFETY: these are OnLoad's own arguments, and this is the first code of the library to run.
            unsafe { $crate::load::load(ctx, argv, argc, $name, $version, $register) }
        }
    };
}

/// The body of `RedisModule_OnLoad`: makes the API usable, registers `name` and `version`, then runs `body` with the
/// arguments of `loadmodule`, which registers everything else. Returns the result of OnLoad.
///
/// # Safety
/// Only `RedisModule_OnLoad` may call it ([`module!`](crate::module) defines that function), with its own arguments,
/// and before anything else of the crate has run.
pub unsafe fn load(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
    name: &'static CStr,
    version: c_int,
    body: fn(Context<'_>, &[Arg<'_>]) -> Result<(), LoadError>,
) -> c_int {
    // SAFETY: the caller's promise.
    if let Err(why) = unsafe { make_usable(ctx, name, version) } {
        // SAFETY: OnLoad's context lives until we return.
        unsafe { refuse(ctx, why) };
        return raw::ERR;
    }
    guard::install_hook();
    freeing::note_main_thread();

    guard::guard("the load of the module", raw::ERR, || {
        // SAFETY: OnLoad's context lives until we return, and this is the main thread.
        let Some(ctx) = (unsafe { Context::new(ctx) }) else { return raw::ERR };
        // SAFETY: `argv` and `argc` are OnLoad's, and its strings live as long as its context.
        let args = unsafe { Arg::slice(argv, argc) };
        set_up(ctx);
        match body(ctx, args) {
            Ok(()) => {
                LOADED.store(true, Relaxed);
                raw::OK
            }
            Err(LoadError(why)) => {
                ctx.log(Level::Warning, &format!("not loaded: {why}"));
                raw::ERR
            }
        }
    })
}

/// Why the module API can't be used: a text and its end. Two parts, because nothing may be allocated yet.
type Unusable = (&'static CStr, &'static str);

/// Finds the server's functions, registers the module's name, and installs the server's allocator.
///
/// # Safety
/// As for [`load`].
unsafe fn make_usable(ctx: *mut RedisModuleCtx, name: &CStr, version: c_int) -> Result<(), Unusable> {
    // SAFETY: OnLoad's context. The library stays in memory if it is loaded a second time, so this asks whether it was.
    if LOADED.load(Relaxed) || unsafe { !raw::fill(ctx, name, version) } {
        return Err((c"a module of this name is already loaded", ""));
    }
    if let Some(name) = raw::missing() {
        return Err((c"this server is too old: it has no ", name));
    }
    alloc::install()
        .map_err(|TooLate| (c"memory was allocated before the server's allocator was installed", ""))
}

/// Logs why the module API can't be used.
///
/// # Safety
/// The context lives.
unsafe fn refuse(ctx: *mut RedisModuleCtx, (why, end): Unusable) {
    let Some(log) = optional!(RedisModule_Log) else { return };
    let (level, format) = (Level::Warning.name().as_ptr(), c"not loaded: %s%.*s".as_ptr());
    let len = c_int::try_from(end.len()).unwrap_or(0);
    // SAFETY: the context lives; `%s` takes a C string, `%.*s` takes an int and that many bytes. The
    // arguments are these.
    unsafe { log(ctx, level, format, why.as_ptr(), len, end.as_ptr()) };
}

/// Finds out which server this is, sets the module's options, and creates the module's own context.
fn set_up(ctx: Context<'_>) {
    let is_valkey = valkey::is_here();
    let flavour = if is_valkey { Flavour::Valkey } else { Flavour::Redis };
    // SAFETY: the function takes nothing and returns a constant of the server.
    let version = optional!(RedisModule_GetServerVersion).map_or(0, |version| unsafe { version() });
    SERVER.get_or_init(|| Server { flavour, version });

    // One call for all options, because a second call would overwrite the first. Servers accept unknown bits, but bit 5
    // is set on Valkey only, because it can get another meaning in Redis.
    let options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD;
    let mut options = options as c_int;
    if is_valkey {
        options |= valkey::HANDLE_ATOMIC_SLOT_MIGRATION;
    }
    if let Some(all) = optional!(RedisModule_GetModuleOptionsAll) {
        // SAFETY: the function takes nothing and returns a constant of the server.
        options &= unsafe { all() };
    }
    // SAFETY: OnLoad's context knows the module, whose options these become.
    unsafe { api!(RedisModule_SetModuleOptions)(ctx.raw(), options) };
    ctx.detach();
}
