//! The module API of Redis and Valkey behind safe types: all of taskslot's unsafe code.
//!
//! Types, constants and signatures are those of the crate `redis-module` (`raw` says what is taken from it and why). The
//! module is written against the files of this crate, one noun each, and denies unsafe code: the one function that the server
//! looks for is made by [`module!`]. What holds throughout:
//! - all of it runs on the server's main thread, but for [`datatype::Value`]'s destructor;
//! - every function that the server calls runs inside [`guard`], so that a panic ends the command, not the server;
//! - no text of a user's is taken for a format, a line of its own, or a C string with its end inside.

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
