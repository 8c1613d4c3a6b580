//! `TASK.CLAIM`: ready tasks go to a worker, each under a lease.

use taskslot_engine::{Claim as Claiming, LEASE_MAX_MS, NUMBER_MAX, SPAN_MAX_MS};

use super::args::Args;
use super::{FIRST, answer};
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context};
use crate::claims::{Claims, Delivery};
use crate::errors::Error;
use crate::waiters;
use crate::write::{Missing, Write, write};

/// `TASK.CLAIM`
pub struct Claim;

impl Command for Claim {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CLAIM",
        summary: "Claims ready tasks, each under a lease; waits for them with BLOCK",
        complexity: "O(n) for n tasks",
        since: FIRST,
        arity: -2,
        flags: "write fast blocking",
        acl: "write fast blocking",
        keys: &[KeySpec::first(key_flags::RW | key_flags::ACCESS | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::integer("tasks").after("COUNT").optional(),
            ArgDoc::integer("bytes").after("BYTES").optional(),
            ArgDoc::integer("lease-ms").after("LEASE").optional(),
            ArgDoc::integer("ms").after("BLOCK").optional(),
            ArgDoc::text("name").after("WORKER").optional(),
            ArgDoc::word("tied", "TIED").optional(),
            ArgDoc::word("noack", "NOACK").optional(),
            ArgDoc::text("token").after("REQUEST").optional(),
            ArgDoc::word("withmeta", "WITHMETA").optional(),
        ],
        reply: "an array of [handle, payload, deliveries], with WITHMETA a map more; empty if there is none",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        answer(ctx, claim(ctx, args));
    }
}

const OPTIONS: &[&str] =
    &["COUNT", "BYTES", "LEASE", "BLOCK", "WORKER", "TIED", "NOACK", "REQUEST", "WITHMETA"];

fn claim(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), Error> {
    let mut args = Args::new(args);
    let key = args.next()?;
    let mut claim = Claiming::default();
    let (mut block_ms, mut request, mut with_meta) = (None, None, false);
    while let Some(option) = args.option(OPTIONS)? {
        match option {
            "COUNT" => claim.count = args.count("COUNT")?,
            "BYTES" => claim.bytes = Some(args.unsigned("BYTES", 1..=NUMBER_MAX)?),
            "LEASE" => claim.lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
            "BLOCK" => block_ms = Some(args.unsigned("BLOCK", 0..=SPAN_MAX_MS)?),
            "WORKER" => claim.worker = args.name("WORKER")?,
            "TIED" => claim.tied = true,
            "NOACK" => claim.noack = true,
            "REQUEST" => request = Some(args.name("REQUEST")?),
            _ => with_meta = true,
        }
    }
    if claim.noack && (claim.tied || claim.lease_ms.is_some() || request.is_some()) {
        return Err(Error::Bad("NOACK takes no lease: it goes with neither LEASE, TIED nor REQUEST"));
    }
    let claims = Claims { claim, request, with_meta };
    let served = write(ctx, key, Missing::Skip, |write| serve(write, &claims))?.unwrap_or(false);
    let waits = |ms| waiters::wait(ctx, key, &claims, ms);
    if !served && !block_ms.is_some_and(waits) {
        ctx.reply().array(0);
    }
    Ok(())
}

/// Replies with tasks, if there are any: those that the same request got before, or new ones.
fn serve(write: &mut Write<'_, '_>, claims: &Claims<'_>) -> Result<bool, Error> {
    let ctx = write.ctx;
    if let Some(held) = claims.request.and_then(|token| write.recall(token, ctx.client_id())) {
        write.value.duplicate += 1;
        ctx.reply().array(held.len());
        for handle in held {
            if let Some(task) = write.value.queue.task(&write.now, handle.id) {
                Delivery::leased(&task, handle).reply(ctx.reply(), claims.with_meta);
            }
        }
        return Ok(true);
    }
    let mut delivered = 0;
    write.claim(claims, ctx.client_id(), |tasks, task| {
        if delivered == 0 {
            ctx.reply().array(tasks);
        }
        task.reply(ctx.reply(), claims.with_meta);
        delivered += 1;
    })?;
    Ok(delivered > 0)
}
