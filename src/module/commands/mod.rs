//! The commands, a file per verb. Each reads and checks all its arguments, then goes the one way of `txn` (or
//! `keyspace::read`), then replies. What COMMAND DOCS, TASK.HELP and the README say of it stands beside it.

mod ack;
mod apply_effect;
mod args;
mod cancel;
mod claim;
mod clock;
mod config;
mod cron;
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
mod pause;
mod purge;
mod push;
mod requeue;
mod result;
mod retry;
mod shards;
mod task;
mod unique;

use crate::api::Context;
use crate::api::command::Entry;
use crate::errors::Error;

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
    Entry::of::<result::Outcome>(),
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

/// The most bytes of tasks in one reply where BYTES says nothing, about: a thousand large ones would hold the server for
/// seconds and take as much memory again.
const REPLY_BYTES: u64 = 16 << 20;

/// The module's version that brought the commands of the first release.
const FIRST: &str = "0.1.0";

/// Replies the error of a command that did nothing; one that did replies for itself.
fn answer(ctx: Context<'_>, result: Result<(), Error>) {
    if let Err(error) = result {
        ctx.reply().error(&error.to_string());
    }
}
