//! The user of a client that waits, to ask for its rights when it is served: they may have been taken away meanwhile.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use super::context::Context;
use super::load::server;
use super::raw::{self, api};
use super::string::OwnedString;

/// A user of the server's access control, by name.
pub struct User {
    name: OwnedString,
}

/// What the server knows of a user by a name now. It may go at any time, so this is held for a question only.
struct Known {
    raw: NonNull<raw::User>,
}

impl User {
    /// The user of the client that we serve. `None` where its rights can't be asked for later: on Redis 6.2, for clients
    /// without a connection, and for users of other modules' own.
    pub fn of_client(ctx: Context<'_>) -> Option<User> {
        let current = api().get_current_user_name?;
        // Clients of the server's own may have no user, which this function would look into all the same.
        ctx.connection()?;
        // SAFETY: the context lives, and its client has a connection and so a user. Contexts of ours manage no memory,
        // so the string is ours alone.
        let name = unsafe { current(ctx.raw()) };
        let user = User { name: OwnedString::from_raw(name) };
        user.known().is_some().then_some(user)
    }

    /// Whether the user, if there still is one of this name, may run this command with its keys in this database.
    pub fn may(&self, db: i32, command: &[&[u8]]) -> bool {
        let (Some(user), Some(check)) = (self.known(), api().acl_check_command_permissions) else {
            return false;
        };
        let words: Vec<OwnedString> = command.iter().map(|word| OwnedString::new(word)).collect();
        let mut argv: Vec<*mut raw::Str> = words.iter().map(|word| word.as_arg().raw()).collect();
        let Ok(argc) = c_int::try_from(argv.len()) else { return false };
        let (user, argv) = (user.raw.as_ptr(), argv.as_mut_ptr());
        // SAFETY: user and strings live through the call, and there are so many.
        let status = unsafe {
            match api().acl_check_permissions.filter(|_| server().is_valkey()) {
                Some(check) => check(user, argv, argc, db, ptr::null_mut()),
                None => check(user, argv, argc),
            }
        };
        status == raw::OK
    }

    fn known(&self) -> Option<Known> {
        let find = api().get_module_user_from_user_name?;
        // SAFETY: the name lives.
        NonNull::new(unsafe { find(self.name.as_arg().raw()) }).map(|raw| Known { raw })
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // SAFETY: made by `known`, freed once. The user itself stays.
        unsafe { (api().free_module_user)(self.raw.as_ptr()) };
    }
}
