//! `TASK.CLAIM`, `TASK.MCLAIM`: give ready tasks to a worker, each under a lease.

use std::collections::BTreeSet;
use std::slice;

use taskslot_engine::{self as engine, LEASE_MAX_MS, NUMBER_MAX, SPAN_MAX_MS};

use super::args::{Args, OneOrMany};
use super::docs::{FIRST, errors};
use super::task::REPLY_BYTES;
use crate::agenda;
use crate::claims::{ClaimRequest, Delivery, Head};
use crate::errors::Error;
use crate::keyspace;
use crate::txn::{Missing, Txn, write};
use crate::waiters::{self, LAST_CHANCE_MS};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// What a command that claims does with a key. A key spec has one of UPDATE and DELETE.
pub const TAKES: u64 = key_flags::RW | key_flags::ACCESS | key_flags::UPDATE;

pub const COUNT: ArgDoc = ArgDoc::integer("tasks").after("COUNT").optional().about(
    "The most tasks to claim, 1 to 1000. 1 by default. Stops before the tasks that they were pushed to wait for are more \
        than 10,000 together",
);
pub const BYTES: ArgDoc = ArgDoc::integer("bytes").after("BYTES").optional().about(
    "Stops before the payloads exceed this many bytes, 1 to 9,007,199,254,740,991. 16 MiB by default. At least one task is \
        claimed, whatever its size",
);
pub const LEASE: ArgDoc = ArgDoc::integer("lease-ms").after("LEASE").optional().about(
    "The length of the leases, 1 ms to 24 hours. By default what the push of each task gave, otherwise the queue's \
        setting `lease`",
);
pub const BLOCK: ArgDoc = ArgDoc::integer("ms").after("BLOCK").optional().about(
    "Waits up to this many milliseconds for a task, at most 100 years. 0 waits without a time limit. Has no effect in \
        MULTI and in scripts",
);
pub const GATHER: ArgDoc = ArgDoc::integer("ms").after("GATHER").optional().about(
    "Waits for more tasks: it takes fewer than COUNT only if the first of them has been ready for this many \
        milliseconds, 1 ms to 24 hours, or if BLOCK ends. Requires COUNT. Has no effect in MULTI and in scripts",
);
pub const WORKER: ArgDoc = ArgDoc::text("name").after("WORKER").optional().about(
    "The name of the worker, 1 to 256 bytes. Give each process its own: a task that stalled twice is delivered only to a \
        worker that holds no other task",
);
pub const GROUP: ArgDoc =
    ArgDoc::text("name").after("GROUP").optional().about("Claims only tasks of this group, 1 to 256 bytes");
pub const TIED: ArgDoc =
    ArgDoc::word("tied", "TIED").optional().about("The leases also end when this connection closes");
pub const NOACK: ArgDoc = ArgDoc::word("noack", "NOACK").optional().about(
    "Finishes the tasks as they are claimed (at-most-once). The reply has ids instead of handles. Cannot be combined with \
        LEASE, TIED or REQUEST",
);
pub const REQUEST: ArgDoc = ArgDoc::text("token").after("REQUEST").optional().about(
    "A token of 1 to 256 bytes that makes the claim safe to send again: a claim with the same token gets the same tasks \
        while any of them is leased, or takes over the place of an earlier one that still waits",
);
pub const WITHMETA: ArgDoc = ArgDoc::word("withmeta", "WITHMETA").optional().about(
    "Adds a map to each task: `lease` (its number, a fencing token), `priority`, `group`, `headers`, `enqueued`, \
        `deadline`, `failures`, `stalls` and `retain`; and where they apply `progress`, `batch`, `after`, and for the \
        callback of a batch `callback-of` and the counts of the batch: `batch-tasks`, `batch-done`, `batch-dead`, \
        `batch-cancelled`, `batch-expired` and `batch-purged`",
);

/// Further keys. They come second and are required, because servers check no permissions for keys that they can't find.
const KEYS: ArgDoc = ArgDoc::block("more", &[ArgDoc::integer("n"), ArgDoc::key("key", 1).multiple()])
    .after("KEYS")
    .about("The other keys, 1 to 100. KEYS must come directly after the first key");

/// The arguments of a command that claims: its keys, and the options of both commands.
macro_rules! claim_args {
    ($($keys:expr),+) => {
        &[$($keys,)+ COUNT, BYTES, LEASE, BLOCK, GATHER, WORKER, GROUP, TIED, NOACK, REQUEST, WITHMETA]
    };
}

/// The command `TASK.CLAIM`.
pub struct Claim;

impl Command for Claim {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CLAIM",
        summary: "Claims ready tasks, each under a lease. With BLOCK, waits for a task if none is ready",
        details: "Tasks come in the order of the queue and within its limits. A key that does not exist is \
            treated as an empty queue, and is not created.",
        complexity: "O(n) for n tasks",
        since: FIRST,
        arity: -2,
        flags: "write fast blocking",
        acl: "write fast blocking",
        keys: &[KeySpec::first(TAKES)],
        args: claim_args!(ArgDoc::key("key", 0)),
        reply: "An array of tasks, each [handle, payload, deliveries], with a map as a fourth element if \
            WITHMETA is given. The array is empty if there is nothing to claim",
        replicates: "One TASK._APPLY with the leases, or with the ids of the tasks that NOACK finished, and \
            the reply to remember for REQUEST. A claim that gets nothing can still send an \
            effect: if it removed expired tasks, or if it passed over a task that stalled twice. Only TASK._CLOCK for a REQUEST that is sent again. If the worker waited, the leases are part of \
            the effect of the write that served it",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            RANGE,
            NAME,
            NOACK,
            REQUIRES,
            NO_CONNECTION,
            EXHAUSTED,
            NO_PERMISSION,
            UNBLOCKED,
            WRONG_TYPE,
            BROKEN,
            BUSY,
            SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let (request, block_ms) = options(ctx, &mut args, Head::Nothing)?;
        claim_from(ctx, slice::from_ref(&key), &request, block_ms)
    }
}

/// The command `TASK.MCLAIM`. A worker that blocks is in the wait queues of all its keys.
pub struct MClaim;

impl Command for MClaim {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.MCLAIM",
        summary: "Claims tasks from the first of several queues that has any. With BLOCK, waits on all of \
            them",
        details: "The queues are tried in the order of the keys, and all tasks of a reply come from one \
            queue. All keys are checked before anything is claimed. A key that is given twice counts \
            once. In a cluster, all keys must be in one slot.",
        complexity: "O(k + n) for k queues and n tasks",
        since: FIRST,
        arity: -5,
        flags: "write blocking",
        acl: "write blocking",
        keys: &[KeySpec::first(TAKES), KeySpec::counted(TAKES, 3)],
        args: claim_args!(ArgDoc::key("key", 0), KEYS),
        reply: "[key, tasks], where tasks is an array as TASK.CLAIM returns it. An empty array if there \
            is nothing to claim",
        replicates: "As for TASK.CLAIM, a TASK._APPLY for each queue that changed: the one that had tasks, and those \
            where the claim got nothing but removed expired tasks or passed one over",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            NAME,
            NOACK,
            REQUIRES,
            NO_CONNECTION,
            EXHAUSTED,
            NO_PERMISSION,
            UNBLOCKED,
            WRONG_TYPE,
            BROKEN,
            BUSY,
            SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let mut keys = vec![args.next()?];
        args.one_of(&["KEYS"])?;
        let more = args.number_of("keys", "KEYS", 1..=KEYS_MAX)?;
        keys.extend(args.take(more)?);
        let (request, block_ms) = options(ctx, &mut args, Head::Key)?;
        // Of a key that is given twice, only the first counts.
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.as_bytes()));
        for key in &keys {
            keyspace::check(ctx, *key)?;
        }
        if request.token.is_some() {
            // An earlier claim with this token can have got tasks from any of the queues. So all of them are searched
            // before a task is claimed.
            for key in &keys {
                let again = write(ctx, *key, Missing::Skip, |txn| Ok(give_again(txn, &request)))?;
                if again.unwrap_or(false) {
                    return Ok(());
                }
            }
        }
        claim_from(ctx, &keys, &request, block_ms)
    }
}

/// The most keys after KEYS. Ten thousand workers that wait for that many keys have a million places in wait queues.
const KEYS_MAX: i64 = 100;

const OPTIONS: &[&str] = &[
    "COUNT", "BYTES", "LEASE", "BLOCK", "GATHER", "WORKER", "GROUP", "TIED", "NOACK", "REQUEST", "WITHMETA",
];

/// The longest GATHER: 24 hours.
const GATHER_MAX_MS: i64 = 86_400_000;

/// The options of a claim, as far as they were read.
pub struct Options<'a> {
    claim: engine::Claim<'a>,
    block_ms: Option<u64>,
    token: Option<&'a [u8]>,
    gather_ms: Option<u64>,
    has_count: bool,
    with_meta: bool,
}

impl<'a> Options<'a> {
    /// Those of a claim without options.
    pub fn new() -> Options<'a> {
        let claim = engine::Claim { bytes: Some(REPLY_BYTES), ..engine::Claim::default() };
        Options { claim, block_ms: None, token: None, gather_ms: None, has_count: false, with_meta: false }
    }

    /// Reads the value of this option.
    pub fn read(&mut self, option: &str, args: &mut Args<'a>) -> Result<(), Error> {
        let claim = &mut self.claim;
        match option {
            "COUNT" => (claim.count, self.has_count) = (args.count("COUNT")?, true),
            "BYTES" => claim.bytes = Some(args.unsigned("BYTES", 1..=NUMBER_MAX)?),
            "LEASE" => claim.lease_ms = Some(args.unsigned("LEASE", 1..=LEASE_MAX_MS as i64)? as u32),
            "BLOCK" => self.block_ms = Some(args.unsigned("BLOCK", 0..=SPAN_MAX_MS)?),
            "GATHER" => self.gather_ms = Some(args.unsigned("GATHER", 1..=GATHER_MAX_MS)?),
            "WORKER" => claim.worker = args.name("WORKER")?,
            "GROUP" => claim.group = Some(args.name("GROUP")?),
            "TIED" => claim.tied = true,
            "NOACK" => claim.noack = true,
            "REQUEST" => self.token = Some(args.name("REQUEST")?),
            "WITHMETA" => self.with_meta = true,
            _ => return Err(Error::Syntax),
        }
        Ok(())
    }

    /// Checks that the options fit each other. Returns the claim, and the value of BLOCK.
    pub fn request(
        self,
        ctx: Context<'_>,
        head: Head<&'a OneOrMany<i64>>,
    ) -> Result<(ClaimRequest<'a>, Option<u64>), Error> {
        let Options { claim, block_ms, token, gather_ms, has_count, with_meta } = self;
        if gather_ms.is_some() && !has_count {
            return Err(Error::Requires("GATHER", "COUNT"));
        }
        if claim.noack && (claim.tied || claim.lease_ms.is_some() || token.is_some()) {
            return Err(Error::Bad("NOACK cannot be combined with LEASE, TIED or REQUEST"));
        }
        let connection = match claim.tied {
            true => Some(ctx.connection().ok_or(Error::NoConnection)?),
            false => None,
        };
        Ok((ClaimRequest { claim, connection, token, gather_ms, with_meta, head }, block_ms))
    }
}

/// Reads options up to the end. Returns the claim, and the value of BLOCK.
fn options<'a>(
    ctx: Context<'_>,
    args: &mut Args<'a>,
    head: Head<&'a OneOrMany<i64>>,
) -> Result<(ClaimRequest<'a>, Option<u64>), Error> {
    let mut options = Options::new();
    while let Some(option) = args.option(OPTIONS)? {
        options.read(option, args)?;
    }
    options.request(ctx, head)
}

/// Replies with tasks of the first queue that has any. If none has, waits for them or replies an empty array.
fn claim_from(
    ctx: Context<'_>,
    keys: &[Arg<'_>],
    request: &ClaimRequest<'_>,
    block_ms: Option<u64>,
) -> Result<(), Error> {
    let mut gathers_ms = None;
    for key in keys {
        match write(ctx, *key, Missing::Skip, |txn| give(txn, request, block_ms.is_some()))? {
            Some(Given::Tasks) => return Ok(()),
            Some(Given::Gathers(ms)) => gathers_ms = gathers_ms.max(Some(ms)),
            Some(Given::Nothing) | None => {}
        }
    }
    wait_or_reply_nothing(ctx, keys, request, block_ms, gathers_ms);
    Ok(())
}

/// What a claim was given.
pub enum Given {
    /// Tasks: the reply is complete.
    Tasks,
    /// Nothing.
    Nothing,
    /// Nothing yet: it waits this many ms for more.
    Gathers(u64),
}

/// Nothing was given: waits for tasks, or replies that there are none. With `gathers_ms` there are tasks, and it waits
/// that long for more, also without BLOCK.
pub fn wait_or_reply_nothing(
    ctx: Context<'_>,
    keys: &[Arg<'_>],
    request: &ClaimRequest<'_>,
    block_ms: Option<u64>,
    gathers_ms: Option<u64>,
) {
    let waits = |ms| waiters::wait(ctx, keys, request, ms);
    let block_ms = block_ms.or(gathers_ms.map(|ms| ms + LAST_CHANCE_MS));
    if !block_ms.is_some_and(waits) {
        return request.reply_nothing(ctx.reply());
    }
    if gathers_ms.is_some() {
        // It decides when its gathering ends, by the tasks that are there.
        keys.iter().for_each(|key| agenda::serve_soon(ctx, *key));
    }
}

/// Replies with tasks, if there are any: those that an earlier claim with the same token got, or new ones. On an error
/// it has not replied.
///
/// While workers that came before are still to be served, a claim that `can_wait` gets nothing: it waits behind them.
pub fn give(txn: &mut Txn<'_, '_>, request: &ClaimRequest<'_>, can_wait: bool) -> Result<Given, Error> {
    if give_again(txn, request) {
        return Ok(Given::Tasks);
    }
    if can_wait && txn.has_put_off() {
        return Ok(Given::Nothing);
    }
    if let Some(gather_ms) = request.gather_ms.and_then(|ms| gathers_for(txn, request, ms)) {
        return Ok(Given::Gathers(gather_ms));
    }
    let (ctx, key, mut delivered) = (txn.ctx, txn.key, 0);
    txn.claim(request, |tasks, task| {
        if delivered == 0 {
            request.begin_reply(ctx.reply(), key.as_bytes(), tasks);
        }
        task.reply(ctx.reply(), request.with_meta);
        delivered += 1;
    })?;
    Ok(if delivered > 0 { Given::Tasks } else { Given::Nothing })
}

/// For how many ms a claim waits for more tasks than it would get now; `None` if it takes what is there. It also
/// waits while another worker that came before gathers for the same group.
fn gathers_for(txn: &Txn<'_, '_>, request: &ClaimRequest<'_>, gather_ms: u64) -> Option<u64> {
    if txn.ctx.flags().denies_blocking() {
        return None;
    }
    let (at, claim) = (txn.now.at, &request.claim);
    let batch = txn.queue().claimable(at, claim)?;
    let left_ms = gather_ms.saturating_sub(at.since(batch.since));
    let waits = !batch.is_full || waiters::gathers(txn.ctx, txn.key, claim.group);
    (waits && left_ms > 0).then_some(left_ms)
}

/// Replies with the tasks that an earlier claim with the same token got, if any of them is still leased.
fn give_again(txn: &mut Txn<'_, '_>, request: &ClaimRequest<'_>) -> bool {
    let ctx = txn.ctx;
    let Some(held) = request.token.and_then(|token| txn.recall(token)) else {
        return false;
    };
    txn.count_duplicate();
    request.begin_reply(ctx.reply(), txn.key.as_bytes(), held.len());
    for handle in held {
        if let Some(task) = txn.queue().given(handle.id) {
            Delivery::leased(task, handle).reply(ctx.reply(), request.with_meta);
        }
    }
    true
}
