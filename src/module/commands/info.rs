//! `TASK.INFO`: what to know about a queue.

use taskslot_engine::{Backoff, Gate, Now, SETTINGS, Setting, State};

use super::args::Args;
use super::groups_info::{GROUPS, reply_groups};
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context, Reply};
use crate::datatype::TaskQueue;
use crate::errors::Error;
use crate::keyspace::read;
use crate::waiters;

/// `TASK.INFO`
pub struct Info;

impl Command for Info {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.INFO",
        summary: "Tells counts by state, totals, ages and sizes of a queue, or its settings, or what holds for its groups",
        complexity: "O(1); with GROUPS O(g) for g groups, at most 1000",
        since: FIRST,
        arity: -2,
        flags: "readonly",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO | key_flags::ACCESS)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of("section", &[ArgDoc::word("config", "CONFIG"), GROUPS]).optional(),
        ],
        reply: "a map, with GROUPS an array of them, at most 1000, by name; nil where there is no queue",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, info(ctx, args));
    }
}

fn info(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let config = args.word("CONFIG");
    let groups = !config && args.word("GROUPS");
    let after: &[u8] = if groups && args.word("AFTER") { args.name("AFTER")? } else { &[] };
    args.finish()?;
    let waiting = waiters::waiting(ctx.selected_db(), key.as_bytes());
    let told = read(ctx, key, |value, now| match () {
        () if config => reply_settings(ctx.reply(), value),
        () if groups => reply_groups(ctx.reply(), value, now, after),
        () => reply_counts(ctx.reply(), value, now, waiting),
    })?;
    if told.is_none() {
        ctx.reply().null();
    }
    Ok(())
}

fn reply_settings(reply: Reply<'_>, value: &TaskQueue) {
    reply.map(SETTINGS.len());
    for rule in &SETTINGS {
        reply.bulk(rule.name.as_bytes());
        let number = value.queue.settings().get(rule.setting);
        match usize::try_from(number).ok().and_then(|at| Backoff::NAMES.get(at)) {
            Some(word) if rule.setting == Setting::Backoff => reply.bulk(word.as_bytes()),
            _ => reply.integer(number),
        }
    }
}

/// Instants are told as spans from now, −1 where there is none, so that nobody has to know the server's clock.
fn reply_counts(reply: Reply<'_>, value: &TaskQueue, now: Now, waiting: usize) {
    let queue = &value.queue;
    let totals = queue.totals();
    let map = reply.pending_map();
    let mut fields = 0;
    let mut number = |name: &str, number: u64| {
        reply.bulk(name.as_bytes());
        reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        fields += 1;
    };
    State::ALL.iter().for_each(|&state| number(state.name(), queue.count(state)));
    for (name, total) in [
        ("pushed", totals.pushed),
        ("claimed", totals.claimed),
        ("acked", totals.acked),
        ("late", totals.late),
        ("failed", totals.failed),
        ("stalled", totals.stalled),
        ("requeued", totals.requeued),
        ("retried", totals.retried),
        ("died", totals.dead),
        ("cancelled", totals.cancelled),
        ("purged", totals.purged),
        ("dropped", totals.dropped),
        ("duplicate", value.duplicate),
        ("refused", value.refused),
        ("bytes", queue.record_bytes()),
        ("memory", queue.memory() as u64),
        ("groups", queue.groups() as u64),
        ("blocked-workers", waiting as u64),
    ] {
        number(name, total);
    }
    let span = |ms: Option<u64>| ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let paused = [("paused-in", Gate::In), ("paused-out", Gate::Out)].map(|(name, gate)| {
        // 0 is "not paused", −1 "until RESUME".
        (name, queue.paused(now.at, gate).map_or(0, |until| span(until.map(|until| until.since(now.at)))))
    });
    for (name, ms) in [
        ("oldest-ready-ms", span(queue.oldest_ready().map(|since| now.at.since(since)))),
        ("next-delayed-ms", span(queue.next_delayed(&now).map(|due| due.since(now.at)))),
    ]
    .into_iter()
    .chain(paused)
    {
        reply.bulk(name.as_bytes());
        reply.integer(ms);
        fields += 1;
    }
    reply.bulk(b"broken");
    reply.bulk(value.broken.as_bytes());
    map.finish(fields + 1);
}
