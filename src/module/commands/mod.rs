//! The commands, a file per verb.
//!
//! Each command reads and checks all its arguments first. A command that changes a queue then calls
//! [`crate::txn::write`], one that only reads calls [`crate::keyspace::read`]. At last it replies. Its
//! [`CommandDoc`](taskslot_api::command::CommandDoc) is its manual.
//!
//! CONTRIBUTING.md describes the steps of adding one ("Add a command").

mod ack;
mod apply_effect;
mod args;
mod batch;
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
mod named;
mod next;
mod pause;
mod progress;
mod purge;
mod push;
mod push_options;
mod requeue;
mod result;
mod retry;
mod set;
mod shards;
mod step;
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
    Entry::of::<next::Next>(),
    Entry::of::<requeue::Requeue>(),
    Entry::of::<extend::Extend>(),
    Entry::of::<fail::Fail>(),
    Entry::of::<result::ResultCommand>(),
    Entry::of::<get::Get>(),
    Entry::of::<list::List>(),
    Entry::of::<len::Len>(),
    Entry::of::<info::Info>(),
    Entry::of::<shards::Shards>(),
    Entry::of::<set::Set>(),
    Entry::of::<cancel::Cancel>(),
    Entry::of::<retry::Retry>(),
    Entry::of::<config::Config>(),
    Entry::of::<group::Group>(),
    Entry::of::<cron::Cron>(),
    Entry::of::<batch::Batch>(),
    Entry::of::<pause::Pause>(),
    Entry::of::<pause::Resume>(),
    Entry::of::<purge::Purge>(),
    Entry::of::<help::Help>(),
    Entry::of::<apply_effect::ApplyEffect>(),
    Entry::of::<load_chunk::LoadChunk>(),
    Entry::of::<clock::Clock>(),
];
