//! `TASK._LOAD key HEAD|MORE|END chunk`: restores a queue from its stored form, for AOFs without an RDB preamble and
//! for Valkey's slot migration. Ordinary clients are refused.

use taskslot_engine::{Arrival, Invalid, Now, Part, Queue};
use taskslot_node::{Health, QueueKey};

use super::docs::{FIRST, errors};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::peers::{Outcome, is_from_peer, pass_on};
use crate::replication::{self, LOAD, LOAD_END, LOAD_HEAD, LOAD_MORE};
use crate::{agenda, clock, zones};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::key::KeyWrite;
use taskslot_api::{Arg, Context, Level, OwnedString};

/// The command `TASK._LOAD`.
pub struct LoadChunk;

impl Command for LoadChunk {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._LOAD",
        summary: "Internal: restores a queue from its stored form, part by part",
        details: "AOF files without an RDB preamble and Valkey's slot migration use it. Until its END has come, the \
            queue is `BROKEN`. Ordinary clients can send it only if the module's setting `allow-effects` is on.",
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
        replicates: "Itself, unchanged, but for the part with the clocks of another node: a primary puts its own beside \
            them. Nothing if a part from an ordinary client is refused and changes nothing",
        errors: errors![
            NOT_A_PEER,
            OUT_OF_MEMORY,
            HEAD,
            HEAD_FIRST,
            PART,
            NO_NUMBERS,
            WRONG_TYPE,
            BROKEN,
            BUSY,
            SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        pass_on(ctx, args, load_chunk(ctx, args), |key, word| {
            replication::send(ctx, LOAD, key, LOAD_MORE, &[OwnedString::new(word).as_arg()]);
        })
    }
}

/// Loads a part.
fn load_chunk(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<Outcome, Error> {
    let from_peer = is_from_peer(ctx)?;
    let [_, key, kind, word] = args else { return Err(Error::Syntax) };
    let part = Part::open(key.as_bytes(), kind.as_bytes(), word.as_bytes());
    let open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let mut loading = Loading { ctx, key: *key, open, now: clock::now(ctx), from_peer };
    match (kind.as_bytes(), part) {
        (kind, Err(Invalid(what))) => loading.refuse(kind, what)?,
        (LOAD_HEAD, Ok(part)) => loading.begin(part)?,
        (LOAD_END, Ok(part)) => loading.end(part)?,
        (_, Ok(part)) => return loading.add(part),
    }
    Ok(Outcome::Done)
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
    /// Creates the queue, and replaces an existing one, but no value of another type. Until its last part arrives, it
    /// isn't known to be complete.
    fn begin(&mut self, head: Part<'_>) -> Result<(), Error> {
        self.open.value_mut(&QUEUES)?;
        let value = match Queue::load_head(head.chunk) {
            Ok(mut queue) => {
                check_room(&queue, self.from_peer)?;
                queue.use_zones(zones::HERE);
                TaskQueue::of(queue, Health::Loading(head.number.map(after)))
            }
            Err(Invalid(what)) if self.from_peer => self.damaged(what),
            Err(_) => return Err(Error::Bad("invalid queue head")),
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

    /// Adds a part. If it is not valid, the queue is marked damaged, because some of it may be in the queue by then.
    ///
    /// The clocks of the node that a queue comes from are not this node's. A primary adds what they say about the queue
    /// here, and sends on the part that says so.
    fn add(&mut self, part: Part<'_>) -> Result<Outcome, Error> {
        let Loading { ctx, key, from_peer, .. } = *self;
        let (is_loading, is_primary) = (ctx.flags().is_loading(), ctx.flags().is_primary());
        let value = self.next(part)?;
        let arrival = value.arrival(part.chunk).filter(|_| !is_loading && (is_primary || !from_peer));
        let instead = arrival.map(|arrival| arrival.chunk());
        match value.queue.load_chunk(instead.as_deref().unwrap_or(part.chunk)) {
            Ok(()) => {
                if let Some(arrival) = Arrival::open(part.chunk).filter(|_| is_loading) {
                    clock::resume(&arrival.here);
                }
                value.health = Health::Loading(part.number.map(after));
                value.update_gauges();
                ctx.signal_modified(key);
                let seal = |chunk: Vec<u8>| match part.number {
                    Some(number) => Part::seal(key.as_bytes(), LOAD_MORE, number, &chunk),
                    None => chunk,
                };
                Ok(instead.map_or(Outcome::Done, |chunk| Outcome::DoneAs(seal(chunk))))
            }
            Err(Invalid(what)) => {
                self.damage(what)?;
                Ok(Outcome::Broke)
            }
        }
    }

    /// The last part. Without a reason, the queue must be complete and valid. With one, it was broken where it comes
    /// from, and can be damaged: it is kept as far as it can be read, for reading.
    fn end(&mut self, part: Part<'_>) -> Result<(), Error> {
        let Loading { ctx, key, now, from_peer, .. } = *self;
        let value = self.next(part)?;
        let health = Health::from_text(part.chunk);
        if health.is_sound() {
            if let Err(Invalid(what)) = value.queue.validate() {
                return self.fail(what);
            }
            check_room(&value.queue, from_peer)?;
            // What the clocks showed is in one of the parts, so it is known by now.
            match ctx.flags().is_loading() {
                true => value.carry_clock_on(),
                false => value.keep_clock(),
            }
            if from_peer && !ctx.flags().is_loading() && ctx.flags().is_primary() {
                // Valkey passes the parts of a queue that comes with its slot on to replicas as they came, so each replica
                // finds the clock itself. The first write, even an empty one, sends them this node's.
                value.must_replicate_clock = true;
                agenda::visit_soon(ctx, key, &value.noted);
            }
        } else if matches!(health, Health::Loading(_)) && ctx.flags().is_loading() {
            // The AOF was rewritten between two parts. Those that follow can show the clocks of the other node.
            value.carry_clock_on();
        }
        value.health = health;
        value.update_gauges();
        value.put_on_agenda(ctx, key, &now);
        ctx.signal_modified(key);
        Ok(())
    }

    /// Refuses a part that has changed since it was written. Perhaps its name has, so it says nothing about a queue that
    /// isn't being loaded. The right queue notices by itself that a part is missing.
    fn refuse(&mut self, kind: &[u8], what: &str) -> Result<(), Error> {
        let value = self.open.value_mut(&QUEUES)?;
        let is_loading = value.is_some_and(|value| matches!(value.health, Health::Loading(_)));
        if !self.from_peer || is_loading && kind != LOAD_HEAD {
            return self.fail(what);
        }
        let queue = QueueKey::new(self.ctx.selected_db(), self.key.as_bytes());
        self.ctx.log(Level::Warning, &format!("a part of {queue} is skipped: it should have {what}"));
        Err(Error::Broken)
    }

    /// Refuses a part that doesn't fit, of which nothing is in the queue. A tool can send the right one instead. A peer
    /// can't, so the queue is marked damaged.
    fn fail(&mut self, what: &str) -> Result<(), Error> {
        if !self.from_peer {
            return Err(Error::Bad("invalid queue part"));
        }
        self.damage(what)?;
        Err(Error::Broken)
    }

    /// Marks the queue as damaged. It is kept, because operators see a broken queue, but not a missing one.
    fn damage(&mut self, what: &str) -> Result<(), Error> {
        match self.open.value_mut(&QUEUES)? {
            Some(value) => value.give_up(self.ctx, self.key, Health::damaged(what)),
            None => self.open.set_value(&QUEUES, self.damaged(what))?,
        }
        self.ctx.signal_modified(self.key);
        Ok(())
    }

    /// The queue that is being loaded, if this is its next part. Errors: others are missing before it; no queue is being
    /// loaded; or it is broken, and keeps its first reason. A peer's part with a checksum is of this queue for certain,
    /// so then the head was lost, and the queue is marked damaged.
    fn next(&mut self, part: Part<'_>) -> Result<&mut TaskQueue, Error> {
        let health = self.open.value_mut(&QUEUES)?.map_or(&Health::Sound, |value| &value.health);
        match *health {
            Health::Loading(None) => {}
            Health::Loading(next) if next == part.number => {}
            Health::Loading(_) => self.fail("all parts before this one")?,
            Health::Damaged(_) | Health::Broken(_) => return Err(Error::Broken),
            Health::Sound if self.from_peer && part.number.is_some() => self.fail(HEAD)?,
            Health::Sound => {}
        }
        let value = self.open.value_mut(&QUEUES)?;
        let value = value.filter(|value| matches!(value.health, Health::Loading(_)));
        value.ok_or(Error::Bad("the head of a queue must come first"))
    }
}

/// What a queue lacks whose first part has not arrived.
const HEAD: &str = "a head: its first part is missing";

/// Refuses a queue of a tool if the next batch would break it, or if it takes no more pushes or claims. One of a peer is
/// kept, so that no task is lost.
fn check_room(queue: &Queue, from_peer: bool) -> Result<(), Error> {
    let has_room = from_peer || queue.has_room(&clock::stamp());
    if has_room { Ok(()) } else { Err(Error::Bad("the queue has no numbers left")) }
}

/// The number after this one. It wraps, because a forger may have sent the last one.
fn after(number: u64) -> u64 {
    number.wrapping_add(1)
}
