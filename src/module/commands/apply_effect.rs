//! `TASK._APPLY key effect [payload ...]`: applies the effect of a primary's write. Ordinary clients are refused.

use taskslot_engine::{Effect, Event, Invalid, Millis, Now, Queue, Received, Stamp};
use taskslot_node::Health;

use super::docs::{FIRST, errors};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notifications::Notifications;
use crate::peers::{Outcome, is_from_peer, pass_on};
use crate::replication::{self, APPLY};
use crate::{change, clock, waiters};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::guard::guard;
use taskslot_api::key::KeyWrite;
use taskslot_api::{Arg, Context};

/// The command `TASK._APPLY`.
pub struct ApplyEffect;

impl Command for ApplyEffect {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK._APPLY",
        summary: "Internal: applies a change that a primary has made",
        details: "Ordinary clients can send it only if the module's setting `allow-effects` is on.",
        complexity: "O(n) for n tasks",
        since: FIRST,
        arity: -3,
        flags: "write",
        acl: "write admin dangerous",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::text("effect").about("The events of the change, in the form of this module"),
            ArgDoc::text("payload")
                .multiple()
                .optional()
                .about("The payloads of pushes and replacements in the change"),
        ],
        reply: "OK",
        replicates: "Itself, unchanged. An effect from an ordinary client without the clocks of another node, and with an \
            instant that is not in the future. Nothing if an effect from an ordinary client is refused",
        errors: errors![NOT_A_PEER, OUT_OF_MEMORY, EFFECT, WRONG_TYPE, BROKEN, BUSY, SCRIPT],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        pass_on(ctx, args, apply_effect(ctx, args), |key, bytes| {
            replication::send(ctx, APPLY, key, bytes, args.get(3..).unwrap_or_default());
        })
    }
}

/// Applies an effect.
fn apply_effect(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<Outcome, Error> {
    let from_peer = is_from_peer(ctx)?;
    let [_, key, effect, payloads @ ..] = args else { return Err(Error::Syntax) };
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_bytes()).collect();
    let mut effect = Effect::decode(key.as_bytes(), effect.as_bytes(), &payloads);
    let mut open = KeyWrite::open(ctx, *key).ok_or(Error::Busy)?;
    let now = clock::now(ctx);
    let mut created = TaskQueue::new();
    let (value, is_new) = match open.value_mut(&QUEUES)? {
        Some(value) => (value, false),
        None => (&mut created, true),
    };
    if !value.health.is_sound() {
        return Err(Error::Broken);
    }
    let mut instead = None;
    if !from_peer {
        let effect = effect.as_mut().map_err(|_| INVALID)?;
        forget_clocks(&mut effect.events);
        try_on_copy(&value.queue, effect)?;
        instead = sealed(effect, value.now(now).at, *key, &payloads);
    }
    // Effects in a file are from the past, so they don't count for rates, and subscribers get no events for them.
    let is_live = !ctx.flags().is_loading();
    let notifications = Notifications::default();
    let mut applying = Applying { ctx, key: *key, value, now, from_peer, is_live, notifications };
    let result = applying.apply(effect);
    applying.settle();
    let notifications = applying.notifications;
    if is_new {
        open.set_value(&QUEUES, created)?;
    }
    ctx.signal_modified(*key);
    drop(open);
    if is_live {
        notifications.send(ctx, *key);
    }
    result.map(|()| instead.map_or(Outcome::Done, Outcome::DoneAs))
}

/// Removes the clocks of another node from the effect of a tool. After a restart, this node must not take them for its
/// own.
fn forget_clocks(events: &mut [Event<'_>]) {
    for event in events {
        if let Event::Term { clocks, .. } = event {
            *clocks = None;
        }
    }
}

/// The effect of a tool, as this node sends it on: with an instant that is not after `now`. `None` if it came without
/// instant, from an old version, whose effects say nothing about clocks.
fn sealed(effect: &Received<'_>, now: Millis, key: Arg<'_>, payloads: &[&[u8]]) -> Option<Vec<u8>> {
    let (number, at) = effect.stamp?;
    let mut sealed = Effect::default();
    effect.events.iter().for_each(|event| sealed.add(event));
    Some(sealed.seal(number, at.min(now), key.as_bytes(), payloads.iter().copied()).to_vec())
}

/// Tries the effect of a tool on a copy of the queue, so that an invalid one doesn't break the queue. One with an instant
/// but without events is invalid: it changes nothing, and its instant would be that of a change.
fn try_on_copy(queue: &Queue, effect: &Received<'_>) -> Result<(), Error> {
    let mut copy = queue.clone();
    let fits = guard("the trial of an effect", false, || {
        copy.expect_effect(effect).is_ok() && effect.events.iter().all(|event| copy.apply(event).is_ok())
    });
    let changes_nothing = effect.stamp.is_some() && effect.events.is_empty();
    if fits && !changes_nothing { Ok(()) } else { Err(INVALID) }
}

/// The effect of a tool can't be read, or doesn't fit the queue.
const INVALID: Error = Error::Bad("invalid effect");

/// A queue to which an effect is applied.
struct Applying<'a, 'q> {
    ctx: Context<'a>,
    key: Arg<'a>,
    value: &'q mut TaskQueue,
    /// The time on the node's clock.
    now: Now,
    /// The effect comes from a primary, the former owner of a slot, or a file. Otherwise it comes from a tool.
    from_peer: bool,
    /// The effect doesn't come from a file.
    is_live: bool,
    notifications: Notifications,
}

impl Applying<'_, '_> {
    /// Applies the effect. If it doesn't fit the queue, the queue is marked broken.
    fn apply(&mut self, effect: Result<Received<'_>, Invalid>) -> Result<(), Error> {
        if self.is_live {
            self.value.queue.observe(self.value.now(self.now).at);
        }
        let offset_ms = self.value.queue.clock_offset_ms();
        let has_arrived = self.value.queue.has_arrived();
        let expected = effect.and_then(|effect| self.value.queue.expect_effect(&effect).map(|()| effect));
        let effect = expected.map_err(|Invalid(what)| {
            self.value.give_up(self.ctx, self.key, Health::Broken(format!("an effect should have {what}")));
            Error::Broken
        })?;
        let applied = self.apply_events(&effect.events);
        // Only for an effect that was applied, because a refused one was not checked.
        let has_clocks = applied.is_ok() && effect.stamp.is_some();
        if has_clocks && !self.is_live {
            // While its slot moved here, a queue got the effects of its former owner, with that node's clocks.
            let take = if has_arrived { clock::exceed } else { clock::resume };
            clocks(&effect.events).for_each(take);
        } else if has_clocks && self.from_peer && !self.ctx.flags().is_primary() {
            // The first effect of a primary can come before its first stamp.
            clocks(&effect.events).for_each(clock::follow_at_first);
        }
        if let Some((_, at)) = effect.stamp.filter(|_| self.from_peer) {
            self.take_time(at, offset_ms);
        }
        applied
    }

    fn apply_events(&mut self, events: &[Event<'_>]) -> Result<(), Error> {
        events.iter().try_for_each(|event| {
            let now = self.value.now(self.now);
            let changes = change::apply(self.ctx, self.key, self.value, &now, event)?;
            self.notifications.add(changes.kinds);
            Ok(())
        })
    }

    /// Takes the time of the change, `at` on the queue's clock. Before the change, that clock was `offset_ms` ahead of
    /// this node's.
    fn take_time(&mut self, at: Millis, offset_ms: i64) {
        if self.is_live && self.ctx.flags().is_primary() {
            // The former owner of the slot still changes the queue, by its own clock. Its effects arrive with a delay,
            // so its clock is at least as far ahead as the largest difference seen.
            let ahead_ms = at.0 as i64 - self.now.at.0 as i64;
            self.value.queue.set_clock_offset(offset_ms);
            self.value.clock_is_ahead(offset_ms.max(ahead_ms));
        } else if at > Millis(0) {
            // A time of 0 means that the queue's clock has not started, so it says nothing about the node's.
            clock::served(self.value.on_node_clock(at));
        }
    }

    /// Updates what this node knows besides the queue itself.
    fn settle(&mut self) {
        // The primary has set the queue's clock, so the stored one isn't needed.
        self.value.queue.take_saved();
        self.value.must_replicate_clock &= self.ctx.flags().is_primary() && self.is_live;
        self.value.update_gauges();
        self.value.put_on_agenda(self.ctx, self.key, &self.now);
        waiters::serve_if_awaited(self.ctx, self.key);
    }
}

/// What the clocks of the primary showed, as the events of terms say it.
fn clocks<'e>(events: &'e [Event<'_>]) -> impl Iterator<Item = &'e Stamp> {
    events.iter().filter_map(|event| match event {
        Event::Term { clocks, .. } => clocks.as_ref(),
        _ => None,
    })
}
