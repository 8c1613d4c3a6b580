//! What goes to replicas and AOF: effects, and the commands that carry them.
//!
//! `TASK._APPLY key effect [payload …]` applies events that a primary decided; `TASK._LOAD key HEAD|MORE|END chunk`
//! makes a whole queue, for AOFs without RDB preamble and Valkey's slot migration. Ordinary clients are refused.

use std::ffi::CStr;

use taskslot_engine::{Effect, Event, Millis, Mismatch, Now, Queue};

use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::guard::guard;
use crate::api::key::KeyWrite;
use crate::api::{Arg, Context, Level};
use crate::clock;
use crate::commands::errors;
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notices::Notices;
use crate::peers::is_from_peer;
use crate::{results, wakeups, zones};

/// The command that carries an effect.
pub const APPLY: &CStr = c"TASK._APPLY";
/// The command that carries a part of a stored queue.
pub const LOAD: &CStr = c"TASK._LOAD";
/// The part is the head: it makes the queue, in place of any other.
pub const LOAD_HEAD: &[u8] = b"HEAD";
/// The part is one of the chunks after the head.
pub const LOAD_MORE: &[u8] = b"MORE";
/// There is no more: the queue is checked. The part says why the queue was given up, or is empty.
pub const LOAD_END: &[u8] = b"END";
/// Why a queue of which parts are still to come is given up, for as long.
const UNFINISHED: &str = "its stored form has no end";
/// Why a queue is given up that came damaged, before what is wrong.
const DAMAGED: &str = "its stored form should have ";

const KEYS: &[KeySpec] = &[KeySpec::first(key_flags::RW | key_flags::UPDATE)];

/// Applies an event to a queue. A refusal or a panic in mid-change gives the queue up: it can be read from then on,
/// not changed. Who waits for a task that it ended is told.
pub fn apply(
    ctx: Context<'_>,
    key: Arg<'_>,
    value: &mut TaskQueue,
    now: &Now,
    event: &Event,
) -> Result<(), Error> {
    let applied = guard("a change of a queue", Err(Mismatch("no panic")), || value.queue.apply(event));
    applied.map_err(|Mismatch(what)| {
        value.broken = format!("a change should have {what}");
        crate::api::log(Level::Warning, &format!("a queue is BROKEN: {}", value.broken));
        Error::Broken
    })?;
    results::ended(ctx, key, &value.queue, now, event);
    Ok(())
}

/// `TASK._APPLY`
pub struct Apply;

impl Command for Apply {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._APPLY",
        summary: "Internal: applies what a primary decided",
        complexity: "O(n) for n tasks",
        since: "0.1.0",
        arity: -3,
        flags: "write",
        acl: "write admin dangerous",
        keys: KEYS,
        args: &[ArgDoc::key("key", 0), ArgDoc::text("effect"), ArgDoc::text("payload").multiple().optional()],
        reply: "OK",
        replicates: "itself, as it came; nothing where a tool's effect is refused",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, EFFECT, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        answer(ctx, apply_effect(ctx, args))
    }
}

/// `TASK._LOAD`
pub struct Load;

impl Command for Load {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._LOAD",
        summary: "Internal: makes a queue of its stored form, part by part",
        complexity: "O(n) for n tasks",
        since: "0.1.0",
        arity: 4,
        flags: "write",
        acl: "write admin dangerous",
        keys: KEYS,
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "part",
                &[ArgDoc::word("head", "HEAD"), ArgDoc::word("more", "MORE"), ArgDoc::word("end", "END")],
            ),
            ArgDoc::text("chunk"),
        ],
        reply: "OK",
        replicates: "itself, as it came; nothing where a tool's part is refused",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, HEAD, HEAD_FIRST, PART, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        answer(ctx, load_part(ctx, args))
    }
}

fn answer(ctx: Context<'_>, result: Result<(), Error>) -> Result<(), Error> {
    // What a peer sent goes on as it came, also what doesn't fit: this node's AOF and replicas give up the same queue.
    if result.is_ok() || is_from_peer(ctx) == Ok(true) {
        ctx.replicate_verbatim();
    }
    result.inspect(|()| ctx.reply().status(c"OK"))
}

fn apply_effect(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let from_peer = is_from_peer(ctx)?;
    let [_, key, effect, payloads @ ..] = args else { return Err(Error::Syntax) };
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_bytes()).collect();
    let effect = Effect::decode(effect.as_bytes(), &payloads);
    let mut open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let now = clock::now(ctx);
    let mut made = TaskQueue::new();
    let (value, is_new) = match open.value_mut(&QUEUES)? {
        Some(value) => (value, false),
        None => (&mut made, true),
    };
    if !value.broken.is_empty() {
        return Err(Error::Broken);
    }
    if !from_peer {
        // A tool's effect is tried on a copy, so that a bad one costs time, not the queue.
        let mut copy = value.queue.clone();
        let effect = effect.as_ref().map_err(|_| Error::Bad("invalid effect"))?;
        let fits = guard("an effect on trial", false, || {
            copy.expect_effect(effect).is_ok() && effect.events.iter().all(|event| copy.apply(event).is_ok())
        });
        if !fits {
            return Err(Error::Bad("invalid effect"));
        }
    }
    // A file that is replayed tells of the past: neither rates nor subscribers are to take it for the present.
    let is_live = !ctx.flags().is_loading();
    if is_live {
        value.queue.observe(value.now(now).at);
    }
    let offset_ms = value.queue.clock_offset_ms();
    let mut notices = Notices::default();
    let expected = effect.and_then(|effect| value.queue.expect_effect(&effect).map(|()| effect));
    let result = match &expected {
        Ok(effect) => effect.events.iter().try_for_each(|event| {
            apply(ctx, *key, value, &value.now(now), event)?;
            notices.add(event);
            Ok(())
        }),
        Err(Mismatch(what)) => {
            value.broken = format!("an effect should have {what}");
            ctx.log(Level::Warning, &format!("a queue is BROKEN: {}", value.broken));
            Err(Error::Broken)
        }
    };
    // Only of an effect that was applied: what was refused hasn't been checked.
    if let (false, Ok(()), Ok(effect)) = (is_live, &result, &expected) {
        let clocks = effect.events.iter().filter_map(|event| match event {
            Event::Term { clocks, .. } => clocks.as_ref(),
            _ => None,
        });
        clocks.for_each(clock::resume);
    }
    if let Some((_, at)) = expected.ok().and_then(|effect| effect.stamp).filter(|_| from_peer) {
        if is_live && ctx.flags().is_primary() {
            // The slot's former owner goes on changing the queue, by its own clock; word of it takes its time.
            let ahead_ms = at.0 as i64 - now.at.0 as i64;
            value.queue.set_clock_offset(offset_ms);
            value.clock_is_ahead(offset_ms.max(ahead_ms));
        } else if at > Millis(0) {
            // A queue's clock that stands at its beginning tells nothing of the node's.
            clock::served(value.on_node_clock(at));
        }
    }
    // A primary has said what the queue's clock is.
    value.queue.take_saved();
    value.clock_untold &= ctx.flags().is_primary() && is_live;
    value.take_stock();
    wakeups::note(ctx, *key, value, &now);
    wakeups::serve_who_waits(ctx, *key);
    if is_new {
        open.set_value(&QUEUES, made)?;
    }
    ctx.signal_modified(*key);
    drop(open);
    if is_live {
        notices.send(ctx, *key);
    }
    result
}

fn load_part(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
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
        value.take_stock();
        return Ok(());
    }
    if value.broken != UNFINISHED {
        return Err(Error::Broken);
    }
    let added = if is_end { value.queue.validate() } else { value.queue.load_chunk(chunk) };
    if let Err(mismatch) = added {
        // An AOF goes on behind it: a queue that is there and given up is seen, one that is gone is not.
        value.broken = damaged(ctx, mismatch);
        value.take_stock();
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
    value.take_stock();
    wakeups::note(ctx, *key, value, &now);
    Ok(())
}

/// Why a queue is given up whose stored form isn't valid.
fn damaged(ctx: Context<'_>, Mismatch(what): Mismatch) -> String {
    let broken = format!("{DAMAGED}{what}");
    ctx.log(Level::Warning, &format!("a queue is BROKEN: {broken}"));
    broken
}
