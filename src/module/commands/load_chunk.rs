//! `TASK._LOAD key HEAD|MORE|END chunk`: makes a whole queue of its stored form, for AOFs without RDB preamble and Valkey's
//! slot migration. Ordinary clients are refused.

use taskslot_engine::{Mismatch, Queue};

use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::key::KeyWrite;
use crate::api::{Arg, Context, Level};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::peers::{is_from_peer, pass_on};
use crate::replication::{LOAD_END, LOAD_HEAD};
use crate::{clock, zones};

/// Why a queue of which parts are still to come is given up, for as long.
const UNFINISHED: &str = "its stored form has no end";
/// Why a queue is given up that came damaged, before what is wrong.
const DAMAGED: &str = "its stored form should have ";

/// `TASK._LOAD`
pub struct LoadChunk;

impl Command for LoadChunk {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._LOAD",
        summary: "Internal: makes a queue of its stored form, part by part",
        complexity: "O(n) for n tasks",
        since: "0.1.0",
        arity: 4,
        flags: "write",
        acl: "write admin dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "part",
                &[ArgDoc::word("head", "HEAD"), ArgDoc::word("more", "MORE"), ArgDoc::word("end", "END")],
            ),
            ArgDoc::text("chunk"),
        ],
        reply: "OK",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        pass_on(ctx, load_chunk(ctx, args));
    }
}

fn load_chunk(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let from_peer = is_from_peer(ctx)?;
    let [_, key, part, chunk] = args else { return Err(Error::Syntax) };
    let mut open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let now = clock::now(ctx);
    let chunk = chunk.as_bytes();
    if part.as_bytes() == LOAD_HEAD {
        let (queue, broken) = match Queue::load_head(chunk) {
            // Until its end comes, it isn't known to be whole.
            Ok(queue) if !from_peer && !queue.has_room() => {
                return Err(Error::Bad("invalid head of a queue"));
            }
            Ok(mut queue) => {
                queue.use_zones(zones::HERE);
                (queue, UNFINISHED.to_owned())
            }
            Err(_) if !from_peer => return Err(Error::Bad("invalid head of a queue")),
            Err(mismatch) => (Queue::new(), damaged(ctx, mismatch)),
        };
        let is_sound = broken == UNFINISHED;
        open.set_value(&QUEUES, TaskQueue::of(queue, broken))?;
        ctx.signal_modified(*key);
        return if is_sound { Ok(()) } else { Err(Error::Broken) };
    }
    let value = open.value_mut(&QUEUES)?;
    let value = value.filter(|value| value.broken == UNFINISHED || value.broken.starts_with(DAMAGED));
    let value = value.ok_or(Error::Bad("a queue's head comes first"))?;
    ctx.signal_modified(*key);
    let is_end = part.as_bytes() == LOAD_END;
    if is_end && !chunk.is_empty() {
        // A queue that was given up may be damaged: what can be read of it is kept to be read.
        value.broken = String::from_utf8_lossy(chunk).into_owned();
        value.update_gauges();
        return Ok(());
    }
    if value.broken != UNFINISHED {
        return Err(Error::Broken);
    }
    let added = if is_end { value.queue.validate() } else { value.queue.load_chunk(chunk) };
    if let Err(mismatch) = added {
        // An AOF goes on behind it: a queue that is there and given up is seen, one that is gone is not.
        value.broken = damaged(ctx, mismatch);
        value.update_gauges();
        if from_peer {
            return Err(Error::Broken);
        }
        open.delete();
        return Err(Error::Bad("invalid part of a queue"));
    }
    if is_end {
        value.broken.clear();
        // What the clocks showed came in a part, so it is known by now.
        match ctx.flags().is_loading() {
            true => value.carry_clock_on(),
            false => value.keep_clock(),
        }
    }
    value.update_gauges();
    value.put_on_agenda(ctx, *key, &now);
    Ok(())
}

/// Why a queue is given up whose stored form isn't valid.
fn damaged(ctx: Context<'_>, Mismatch(what): Mismatch) -> String {
    let broken = format!("{DAMAGED}{what}");
    ctx.log(Level::Warning, &format!("a queue is BROKEN: {broken}"));
    broken
}
