//! `TASK._APPLY key effect [payload …]`: applies what a primary decided. Ordinary clients are refused.

use taskslot_engine::{Effect, Event, Millis, Mismatch};

use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::guard::guard;
use crate::api::key::KeyWrite;
use crate::api::{Arg, Context, Level};
use crate::change::apply;
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notifications::Notifications;
use crate::peers::{is_from_peer, pass_on};
use crate::{clock, waiters};

/// `TASK._APPLY`
pub struct ApplyEffect;

impl Command for ApplyEffect {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._APPLY",
        summary: "Internal: applies what a primary decided",
        complexity: "O(n) for n tasks",
        since: "0.1.0",
        arity: -3,
        flags: "write",
        acl: "write admin dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[ArgDoc::key("key", 0), ArgDoc::text("effect"), ArgDoc::text("payload").multiple().optional()],
        reply: "OK",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        pass_on(ctx, apply_effect(ctx, args));
    }
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
    let mut notifications = Notifications::default();
    let expected = effect.and_then(|effect| value.queue.expect_effect(&effect).map(|()| effect));
    let result = match &expected {
        Ok(effect) => effect.events.iter().try_for_each(|event| {
            apply(ctx, *key, value, &value.now(now), event)?;
            notifications.add(event);
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
    value.update_gauges();
    value.put_on_agenda(ctx, *key, &now);
    waiters::serve_if_awaited(ctx, *key);
    if is_new {
        open.set_value(&QUEUES, made)?;
    }
    ctx.signal_modified(*key);
    drop(open);
    if is_live {
        notifications.send(ctx, *key);
    }
    result
}
