//! The commands, a file per verb. Each reads and checks all its arguments, then goes the one way of `txn` (or of
//! `keyspace::read`, if it only looks), then replies. Its [`CommandDoc`](taskslot_api::command::CommandDoc) is its manual.
//!
//! To add a command:
//! 1. Copy the file that is most like it (`get.rs` looks, `retry.rs` changes) and add it to `mod` and [`TABLE`] below. The
//!    compiler asks for each part of the manual. An error of a new kind gets a text in `crate::errors` and a line in
//!    `docs.rs`.
//! 2. What it decides about tasks belongs into the engine, as a rule with an event of its own, if none fits.
//! 3. `BLESS=1 cargo test -p taskslot` writes its row in the README and its section in `docs/commands.md`. The tests of the
//!    next step read that file, so this comes first. What users see is said in CHANGELOG.
//! 4. Tests that try every command ask for it by name: its arity and options in `test_docs.py`, its errors in
//!    `test_manual.py`, a number of arguments in `test_errors.py`, a template in `hostile/test_arguments.py`, its rights in
//!    `test_acl.py`. What it does gets tests of its own.
//! 5. The Python library gets a method: `commands.py` for its words, `_async/base_queue.py`, then `make fmt`.

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

/// All commands, in the order in which HELP shows them.
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
