//! `TASK._LOAD key HEAD|MORE|END chunk`: restores a queue from its stored form, for AOFs without an RDB preamble and
//! for Valkey's slot migration. Ordinary clients are refused.

use taskslot_engine::{Invalid, Now, Part, Queue};
use taskslot_node::{Health, QueueKey};

use super::docs::{FIRST, errors};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::peers::{is_from_peer, pass_on};
use crate::replication::{LOAD_END, LOAD_HEAD};
use crate::{clock, zones};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::key::KeyWrite;
use taskslot_api::{Arg, Context, Level};

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
    let [_, key, kind, word] = args else { return Err(Error::Syntax) };
    let part = Part::open(key.as_bytes(), kind.as_bytes(), word.as_bytes());
    let open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let mut loading = Loading { ctx, key: *key, open, now: clock::now(ctx), from_peer };
    match (kind.as_bytes(), part) {
        (kind, Err(Invalid(what))) => loading.refuse(kind, what),
        (LOAD_HEAD, Ok(part)) => loading.begin(part),
        (LOAD_END, Ok(part @ Part { chunk: [], .. })) => {
            loading.add(part, |value| value.queue.validate().map(|()| end(ctx, value)))
        }
        (LOAD_END, Ok(part)) => loading.give_up(part),
        (_, Ok(part)) => loading.add(part, |value| value.queue.load_chunk(part.chunk)),
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
    fn begin(&mut self, head: Part<'_>) -> Result<(), Error> {
        let value = match Queue::load_head(head.chunk) {
            Ok(mut queue) if self.from_peer || queue.has_room() => {
                queue.use_zones(zones::HERE);
                TaskQueue::of(queue, Health::Loading(head.number.map(after)))
            }
            Err(Invalid(what)) if self.from_peer => self.damaged(what),
            _ => return Err(Error::Bad("invalid queue head")),
        };
        let is_sound = matches!(value.health, Health::Loading(_));
        self.open.set_value(&QUEUES, value)?;
        self.ctx.signal_modified(self.key);
        if is_sound { Ok(()) } else { Err(Error::Broken) }
    }

    /// An empty queue in place of one of which nothing can be read.
    fn damaged(&self, what: &str) -> TaskQueue {
        let mut value = TaskQueue::of(Queue::new(), Health::Loading(None));
        value.give_up(self.ctx, self.key, Health::damaged(what));
        value
    }

    /// Adds a part. If it is not valid, or others are missing before it, the queue is marked damaged.
    fn add(
        &mut self,
        part: Part<'_>,
        add: impl FnOnce(&mut TaskQueue) -> Result<(), Invalid>,
    ) -> Result<(), Error> {
        let Loading { ctx, key, now, .. } = *self;
        let value = self.value(part)?;
        ctx.signal_modified(key);
        let Health::Loading(next) = value.health else { return Err(Error::Broken) };
        if next.is_some_and(|next| part.number != Some(next)) {
            return self.fail("all parts before this one");
        }
        value.health = Health::Loading(part.number.map(after));
        match add(value) {
            Ok(()) => {
                value.update_gauges();
                value.put_on_agenda(ctx, key, &now);
                Ok(())
            }
            Err(Invalid(what)) => self.fail(what),
        }
    }

    /// Marks the queue that is being loaded as damaged. It is kept, because operators see a broken queue, but not a
    /// missing one. A tool is told that it failed instead.
    fn fail(&mut self, what: &str) -> Result<(), Error> {
        if !self.from_peer {
            self.open.delete();
            return Err(Error::Bad("invalid queue part"));
        }
        if let Some(value) = self.open.value_mut(&QUEUES)? {
            value.give_up(self.ctx, self.key, Health::damaged(what));
        }
        Err(Error::Broken)
    }

    /// Refuses a part that has changed since it was written. Perhaps its name has, so it says nothing about a queue that
    /// isn't being loaded. The right queue notices by itself that a part is missing.
    fn refuse(&mut self, kind: &[u8], what: &str) -> Result<(), Error> {
        let value = self.open.value_mut(&QUEUES)?;
        let is_loading = value.is_some_and(|value| matches!(value.health, Health::Loading(_)));
        if is_loading && kind != LOAD_HEAD {
            self.ctx.signal_modified(self.key);
            return self.fail(what);
        }
        if !self.from_peer {
            return Err(Error::Bad("invalid queue part"));
        }
        let queue = QueueKey::new(self.ctx.selected_db(), self.key.as_bytes());
        self.ctx.log(Level::Warning, &format!("a part of {queue} is skipped: it should have {what}"));
        Err(Error::Broken)
    }

    /// Ends the load of a queue that was broken where it comes from, and can be damaged. It is kept as far as it can be
    /// read, for reading.
    fn give_up(&mut self, end: Part<'_>) -> Result<(), Error> {
        let value = self.value(end)?;
        value.health = Health::from_text(end.chunk);
        value.update_gauges();
        self.ctx.signal_modified(self.key);
        Ok(())
    }

    /// The queue that is being loaded. Errors: there is none. A part with a checksum is of this queue for certain, so
    /// the head was lost, and the queue is marked damaged.
    fn value(&mut self, part: Part<'_>) -> Result<&mut TaskQueue, Error> {
        let found = self.open.value_mut(&QUEUES)?;
        let is_loading = found
            .as_ref()
            .is_some_and(|value| matches!(value.health, Health::Loading(_) | Health::Damaged(_)));
        if !is_loading && self.from_peer && part.number.is_some() {
            match found {
                Some(value) => value.give_up(self.ctx, self.key, Health::damaged(HEAD)),
                None => self.open.set_value(&QUEUES, self.damaged(HEAD))?,
            }
            self.ctx.signal_modified(self.key);
        }
        let value = self.open.value_mut(&QUEUES)?;
        let value = value.filter(|value| matches!(value.health, Health::Loading(_) | Health::Damaged(_)));
        value.ok_or(Error::Bad("the head of a queue must come first"))
    }
}

/// What a queue lacks whose first part has not arrived.
const HEAD: &str = "a head: its first part is missing";

/// The number after this one. It wraps, because a forger may have sent the last one.
fn after(number: u64) -> u64 {
    number.wrapping_add(1)
}
