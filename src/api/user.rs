//! The user of a client. The permissions of a blocked one are checked again when it is served, because they can have
//! changed meanwhile. And a command that does what another one does needs the permissions for that one too.

use std::ffi::c_int;
use std::io;
use std::ptr::{self, NonNull};

use super::context::Context;
use super::flags::Flags;
use super::raw::{self, RedisModuleString, RedisModuleUser, api, optional};
use super::string::OwnedString;
use super::valkey;

/// A user of the server's access control, identified by its name.
pub struct User {
    name: OwnedString,
}

/// The server's data of a user. The user can be deleted at any time, so this is kept only for the time of a check.
struct Known {
    raw: NonNull<RedisModuleUser>,
}

impl User {
    /// The user of the present client. `None` if its permissions can't be checked later: on Redis 6.2, for clients
    /// without a connection, and for users that other modules have created.
    pub fn of_client(ctx: Context<'_>) -> Option<User> {
        // An internal client of the server can have no user, and `current` would crash.
        ctx.connection()?;
        // SAFETY: the client has a connection, and so a user.
        unsafe { User::current(ctx) }
    }

    /// The user with whose permissions the present command runs: in a script or function, that of the client that
    /// called it. `None` where [`User::of_client`] returns it otherwise.
    pub fn of_caller(ctx: Context<'_>) -> Option<User> {
        if ctx.flags().any(Flags::LUA) && has_user(ctx) {
            // SAFETY: the script's client has a user.
            return unsafe { User::current(ctx) };
        }
        User::of_client(ctx)
    }

    /// # Safety
    /// The context's client has a user.
    unsafe fn current(ctx: Context<'_>) -> Option<User> {
        let current = optional!(RedisModule_GetCurrentUserName)?;
        // SAFETY: the context lives, and the caller guarantees that there is a user. Contexts of ours manage no memory,
        // so the string is ours alone.
        let name = unsafe { current(ctx.raw()) };
        let user = User { name: OwnedString::from_raw(name) };
        user.known().is_some().then_some(user)
    }

    /// Whether the user still exists, and has the permission to run this command with its keys in this database.
    pub fn may(&self, db: i32, command: &[&[u8]]) -> bool {
        let (Some(user), Some(check)) = (self.known(), optional!(RedisModule_ACLCheckCommandPermissions))
        else {
            return false;
        };
        let words: Vec<OwnedString> = command.iter().map(|word| OwnedString::new(word)).collect();
        let mut argv: Vec<*mut RedisModuleString> = words.iter().map(|word| word.as_arg().raw()).collect();
        let Ok(argc) = c_int::try_from(argv.len()) else { return false };
        let (user, argv) = (user.raw.as_ptr(), argv.as_mut_ptr());
        // SAFETY: user and strings live through the call, and their number is right. Null: the reason isn't needed.
        let status = unsafe {
            match valkey::check_permissions() {
                Some(check) => check(user, argv, argc, db, ptr::null_mut()),
                None => check(user, argv, argc),
            }
        };
        status == raw::OK
    }

    fn known(&self) -> Option<Known> {
        let find = optional!(RedisModule_GetModuleUserFromUserName)?;
        // SAFETY: the name lives through the call, and the result is ours, to be freed by `Known`.
        NonNull::new(unsafe { find(self.name.as_arg().raw()) }).map(|raw| Known { raw })
    }
}

/// Whether the client of a script has a user. One that another module or a file calls can have none.
///
/// The server looks for the user of a call with `C` before it looks for the command, which does not exist. On Redis
/// before 7.0.6 it does not, and this returns true.
fn has_user(ctx: Context<'_>) -> bool {
    let (nothing, as_user) = (c"TASK._NOBODY", c"C");
    // SAFETY: the context lives; "C" takes no arguments. There is no such command, so null is returned.
    let reply = unsafe { api!(RedisModule_Call)(ctx.raw(), nothing.as_ptr(), as_user.as_ptr()) };
    reply.is_null() && io::Error::last_os_error().raw_os_error() != Some(libc::ENOTSUP)
}

impl Drop for Known {
    fn drop(&mut self) {
        // SAFETY: made by `known`, freed once. The user itself stays.
        unsafe { api!(RedisModule_FreeModuleUser)(self.raw.as_ptr()) };
    }
}
