//! `TASK._LOAD key HEAD|MORE|END chunk`: restores a queue from its stored form, for AOFs without an RDB preamble and
//! for Valkey's slot migration. Ordinary clients are refused.

use taskslot_engine::{Invalid, Now, Queue};
use taskslot_node::Health;

use super::docs::{FIRST, errors};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::peers::{is_from_peer, pass_on};
use crate::replication::{LOAD_END, LOAD_HEAD};
use crate::{clock, zones};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::key::KeyWrite;
use taskslot_api::{Arg, Context};

/// The command `TASK._LOAD`.
pub struct LoadChunk;

impl Command for LoadChunk {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._LOAD",
        summary: "Internal: restores a queue from its stored form, part by part",
        details: "AOF files without an RDB preamble and Valkey's slot migration use it. Ordinary clients \
            can send it only if the module's setting `allow-effects` is on.",
        complexity: "O(n) for n tasks",
        since: FIRST,
        arity: 4,
        flags: "write",
        acl: "write admin dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "part",
                &[
                    ArgDoc::word("head", "HEAD").about("The first part. It replaces a queue that exists"),
                    ArgDoc::word("more", "MORE").about("A further part"),
                    ArgDoc::word("end", "END").about("The queue is complete"),
                ],
            ),
            ArgDoc::text("chunk").about(
                "The part. With END it is empty, or says why the queue was broken where it comes from",
            ),
        ],
        reply: "OK",
        replicates: "Itself, unchanged. Nothing if a part from an ordinary client is refused",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, HEAD, HEAD_FIRST, PART, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        pass_on(ctx, args, load_chunk(ctx, args))
    }
}

fn load_chunk(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let from_peer = is_from_peer(ctx)?;
    let [_, key, part, chunk] = args else { return Err(Error::Syntax) };
    let open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let mut loading = Loading { ctx, key: *key, open, now: clock::now(ctx), from_peer };
    match (part.as_bytes(), chunk.as_bytes()) {
        (LOAD_HEAD, chunk) => loading.begin(chunk),
        (LOAD_END, []) => loading.add(|value| value.queue.validate().map(|()| end(ctx, value))),
        (LOAD_END, reason) => loading.give_up(reason),
        (_, chunk) => loading.add(|value| value.queue.load_chunk(chunk)),
    }
}

/// The queue is complete and valid.
fn end(ctx: Context<'_>, value: &mut TaskQueue) {
    value.health = Health::Sound;
    // What the clocks showed is in one of the parts, so it is known by now.
    match ctx.flags().is_loading() {
        true => value.carry_clock_on(),
        false => value.keep_clock(),
    }
}

/// A key whose queue arrives in parts. Between two parts, the queue's [`Health`] says whether they are valid so far.
struct Loading<'a> {
    ctx: Context<'a>,
    key: Arg<'a>,
    open: KeyWrite<'a>,
    now: Now,
    from_peer: bool,
}

impl Loading<'_> {
    /// Creates the queue, and replaces an existing one. Until its last part arrives, it isn't known to be complete.
    fn begin(&mut self, head: &[u8]) -> Result<(), Error> {
        let value = match Queue::load_head(head) {
            Ok(mut queue) if self.from_peer || queue.has_room() => {
                queue.use_zones(zones::HERE);
                TaskQueue::of(queue, Health::Loading)
            }
            Err(Invalid(what)) if self.from_peer => {
                let mut value = TaskQueue::of(Queue::new(), Health::Loading);
                value.give_up(self.ctx, self.key, Health::damaged(what));
                value
            }
            _ => return Err(Error::Bad("invalid queue head")),
        };
        let is_sound = value.health == Health::Loading;
        self.open.set_value(&QUEUES, value)?;
        self.ctx.signal_modified(self.key);
        if is_sound { Ok(()) } else { Err(Error::Broken) }
    }

    /// Adds a part. If it is not valid, the queue is marked damaged.
    fn add(&mut self, add: impl FnOnce(&mut TaskQueue) -> Result<(), Invalid>) -> Result<(), Error> {
        let Loading { ctx, key, now, from_peer, .. } = *self;
        let value = self.value()?;
        ctx.signal_modified(key);
        if value.health != Health::Loading {
            return Err(Error::Broken);
        }
        let Err(Invalid(what)) = add(value) else {
            value.update_gauges();
            value.put_on_agenda(ctx, key, &now);
            return Ok(());
        };
        // The damaged queue is kept, because operators see a broken queue, but not a missing one.
        value.give_up(ctx, key, Health::damaged(what));
        if from_peer {
            return Err(Error::Broken);
        }
        self.open.delete();
        Err(Error::Bad("invalid queue part"))
    }

    /// Ends the load of a queue that was broken where it comes from, and can be damaged. It is kept as far as it can be
    /// read, for reading.
    fn give_up(&mut self, reason: &[u8]) -> Result<(), Error> {
        let value = self.value()?;
        value.health = Health::from_text(reason);
        value.update_gauges();
        self.ctx.signal_modified(self.key);
        Ok(())
    }

    /// The queue that is being loaded. Errors: the key holds none.
    fn value(&mut self) -> Result<&mut TaskQueue, Error> {
        let value = self.open.value_mut(&QUEUES)?;
        let value = value.filter(|value| matches!(value.health, Health::Loading | Health::Damaged(_)));
        value.ok_or(Error::Bad("the head of a queue must come first"))
    }
}
