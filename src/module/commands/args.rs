//! The arguments of a command, as the server passes them.

pub use taskslot_node::{Named, OneOrMany};

use taskslot_api::Arg;

/// The parser of [`taskslot_node`], for the server's arguments.
pub type Args<'a> = taskslot_node::Args<'a, Arg<'a>>;
