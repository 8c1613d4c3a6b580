//! The arguments of a command, as the server hands them over.

pub use taskslot_node::OneOrMany;

use taskslot_api::Arg;

/// A cursor over them.
pub type Args<'a> = taskslot_node::Args<'a, Arg<'a>>;
