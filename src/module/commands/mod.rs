//! The commands, a file per verb.
//!
//! Each command reads and checks all its arguments first. A command that changes a queue then calls [`crate::txn::write`],
//! one that only reads calls [`crate::keyspace::read`]. At last it replies. Its
//! [`CommandDoc`](taskslot_api::command::CommandDoc) is its manual.
//!
//! To add a command:
//! 1. Copy the file of the most similar command (`get.rs` reads, `retry.rs` changes). Add it to the modules and to [`TABLE`]
//!    below. The compiler reports each part of the manual that is missing. A new kind of error needs a text in
//!    `crate::errors` and an entry in `docs.rs`.
//! 2. Decisions about tasks belong in the engine: add a rule, and an event if no existing one fits.
//! 3. Run `BLESS=1 cargo test -p taskslot`. It writes the command's row and section in `docs/commands.md`, which the tests of
//!    the next step read. Describe what changes for users in CHANGELOG.md.
//! 4. Some tests list all commands by name, and fail until the new one is added: its arity and options in `test_docs.py`,
//!    its errors in `test_manual.py`, its numbers of arguments in `test_errors.py`, a template in
//!    `hostile/test_arguments.py`, its permissions in `test_acl.py`. Then write tests of its effect.
//! 5. Add a method to the Python library: its arguments in `commands.py`, the method in `_async/base_queue.py`, then run
//!    `make fmt`.

mod ack;
mod apply_effect;
mod args;
mod cancel;
mod claim;
mod clock;
mod config;
mod cron;
mod docs;
mod extend;
mod fail;
mod get;
mod group;
mod handles;
mod help;
mod info;
mod len;
mod list;
mod load_chunk;
#[cfg(test)]
mod manual;
mod pause;
mod purge;
mod push;
mod push_options;
mod requeue;
mod result;
mod retry;
mod shards;
mod task;
mod unique;

use taskslot_api::command::Entry;

/// All commands, in the order in which HELP and `docs/commands.md` list them.
pub const TABLE: &[Entry] = &[
    Entry::of::<push::Push>(),
    Entry::of::<push::MPush>(),
    Entry::of::<claim::Claim>(),
    Entry::of::<claim::MClaim>(),
    Entry::of::<ack::Ack>(),
    Entry::of::<requeue::Requeue>(),
    Entry::of::<extend::Extend>(),
    Entry::of::<fail::Fail>(),
    Entry::of::<result::ResultCommand>(),
    Entry::of::<get::Get>(),
    Entry::of::<list::List>(),
    Entry::of::<len::Len>(),
    Entry::of::<info::Info>(),
    Entry::of::<shards::Shards>(),
    Entry::of::<cancel::Cancel>(),
    Entry::of::<retry::Retry>(),
    Entry::of::<config::Config>(),
    Entry::of::<group::Group>(),
    Entry::of::<cron::Cron>(),
    Entry::of::<pause::Pause>(),
    Entry::of::<pause::Resume>(),
    Entry::of::<purge::Purge>(),
    Entry::of::<help::Help>(),
    Entry::of::<apply_effect::ApplyEffect>(),
    Entry::of::<load_chunk::LoadChunk>(),
    Entry::of::<clock::Clock>(),
];
