//! The module API of Redis and Valkey behind safe types: all of taskslot's unsafe code.
//!
//! Types, constants and signatures come from the crate `redis-module`; `raw` says what is used of it, and why. The module
//! itself denies unsafe code and uses the types of this crate. [`module!`] defines the one function that the server looks
//! for. These rules hold everywhere:
//! - Everything runs on the server's main thread, except the destructor of a [`datatype::Value`].
//! - Every function that the server calls runs inside [`guard`], so that a panic ends the command, not the server.
//! - A text from a user is never used as a format, and its control characters never reach a log line or an error reply.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod alloc;
pub mod blocked;
pub mod command;
pub mod context;
pub mod datatype;
pub mod events;
mod flags;
mod freeing;
pub mod guard;
pub mod info;
pub mod key;
pub mod load;
pub mod log;
mod raw;
pub mod registration;
mod replied;
pub mod reply;
pub mod server;
pub mod setting;
mod slot;
pub mod streams;
pub mod string;
pub mod timer;
pub mod user;
mod valkey;

pub use context::Context;
pub use flags::Flags;
pub use log::{Level, log};
pub use reply::Reply;
pub use string::{Arg, OwnedString};
