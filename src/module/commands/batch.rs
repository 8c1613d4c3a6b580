//! `TASK.BATCH`: opens and closes batches, shows and removes them.

use taskslot_engine::{self as engine, Event, Refusal, TaskId};

use super::args::Args;
use super::docs::errors;
use super::info::batches::reply_batch;
use super::push::check_length;
use super::push_options::{BATCH, PushOptions, WHEN, push_args};
use crate::errors::Error;
use crate::keyspace::read;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

const PAYLOAD: ArgDoc = ArgDoc::text("payload")
    .after("PAYLOAD")
    .about("The payload of the callback, at most as many bytes as the module's setting `max-payload` allows");
const OPEN: ArgDoc = ArgDoc::block("open", push_args!(ArgDoc::text("name"), WHEN; ; BATCH, PAYLOAD))
    .after("OPEN")
    .about(
        "Opens a batch of this name, 1 to 256 bytes, and pushes its callback, which is held. The options are those of the \
            callback. DELAY counts from when the batch is complete. BATCH names another batch, in which the callback counts",
    );
const CLOSE: ArgDoc = ArgDoc::text("name").after("CLOSE").about(
    "Closes the batch: once all of its tasks have ended, its callback is ready. Until then its tasks can still push into it",
);
const INFO: ArgDoc = ArgDoc::text("name").after("INFO").about("Returns the counts of the batch");
const DEL: ArgDoc = ArgDoc::text("name")
    .after("DEL")
    .about("Removes the batch and its callback. The tasks of the batch are not affected");

/// The command `TASK.BATCH`.
pub struct Batch;

impl Command for Batch {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.BATCH",
        summary: "Opens a batch, whose callback is ready once all tasks of the batch have ended, or closes, \
            shows or removes one",
        details: "Push tasks into an open batch with the option BATCH, then close it. The callback becomes \
            ready exactly once, whatever end the tasks come to. A batch is kept until its callback ends. \
            OPEN creates the queue if it does not exist, and can be sent again: if the batch exists, it \
            changes nothing.",
        complexity: "O(log n) for n batches of the queue",
        since: "0.3.0",
        arity: -4,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[ArgDoc::key("key", 0), ArgDoc::one_of("action", &[OPEN, CLOSE, INFO, DEL])],
        reply: "With OPEN: [id, 1] with the id of the callback, or [id, 0] if the batch exists. With CLOSE: \
            1, or 0 if it was closed. With INFO: a map, or nil if there is no such batch. With DEL: 1 if \
            the batch was removed, 2 if the worker of its callback is asked to stop, 0 if there is no \
            such batch",
        replicates: "One TASK._APPLY with the batch and its callback, its end, or its removal. Only TASK._CLOCK if \
            the queue exists and nothing changes",
        errors: errors![
            UNKNOWN,
            TWICE,
            NO_VALUE,
            TOO_FEW_VALUES,
            NUMBER,
            RANGE,
            TOO_MANY,
            NAME,
            TOO_LONG,
            ATTEMPTS,
            REQUIRED,
            CLASH,
            UNKNOWN_BATCH,
            CLOSED_BATCH,
            PAUSED,
            FULL_LEN,
            FULL_BYTES,
            FULL_GROUPS,
            FULL_BATCHES,
            EXHAUSTED,
            OUT_OF_MEMORY,
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
        let action = args.one_of(&["OPEN", "CLOSE", "INFO", "DEL"])?;
        let name = args.name("the name of a batch")?;
        if action == 0 {
            let (id, is_new) = open(ctx, key, name, args)?;
            ctx.reply().array(2);
            ctx.reply().bulk(&id.text());
            ctx.reply().integer(is_new.into());
            return Ok(());
        }
        args.finish()?;
        match action {
            1 => ctx.reply().integer(close(ctx, key, name)?.into()),
            2 => show(ctx, key, name)?,
            _ => ctx.reply().integer(delete(ctx, key, name)?),
        }
        Ok(())
    }
}

const OPTIONS: &[&str] = &[
    "DELAY", "AT", "PRIORITY", "ATTEMPTS", "LEASE", "GROUP", "TTL", "RETAIN", "HEADERS", "BATCH", "PAYLOAD",
];

/// Opens a batch. Returns the id of its callback, and whether it is new.
fn open<'a>(
    ctx: Context<'a>,
    key: Arg<'a>,
    name: &[u8],
    mut args: Args<'a>,
) -> Result<(TaskId, bool), Error> {
    let (mut options, mut payload) = (PushOptions::default(), None);
    while let Some(option) = args.option(OPTIONS)? {
        match option {
            "PAYLOAD" => payload = Some(args.take(1)?),
            option => options.accept(option, &mut args)?,
        }
    }
    options.check()?;
    let callback = payload.ok_or(Error::Required("PAYLOAD"))?;
    let payloads: Vec<&[u8]> = callback.iter().map(|payload| payload.as_bytes()).collect();
    payloads.iter().try_for_each(|payload| check_length(payload))?;
    let opened = write(ctx, key, Missing::CreateWithMemory, |txn| {
        let push = engine::Push { due: None, options: options.at(txn.now.at), payloads: &payloads };
        let opened = txn.queue().open_batch(txn.now, name, options.when, &push);
        match opened.inspect_err(|refusal| txn.count_refused(refusal))? {
            Some(event) => {
                txn.afford(1)?;
                txn.commit_push(&event, callback)?;
                Ok((callback_of(txn, name)?, true))
            }
            None => {
                txn.refer_back();
                Ok((callback_of(txn, name)?, false))
            }
        }
    })?;
    opened.ok_or(Error::Busy)
}

fn callback_of(txn: &Txn<'_, '_>, name: &[u8]) -> Result<TaskId, Error> {
    let batch = txn.queue().batch(name).ok_or(Refusal::UnknownBatch)?;
    Ok(batch.callback)
}

/// Closes a batch. Returns false if it was closed.
fn close(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<bool, Error> {
    let closed = write(ctx, key, Missing::Skip, |txn| match txn.queue().close_batch(txn.now, name)? {
        Some(event) => txn.commit(&event).map(|()| true),
        None => {
            txn.refer_back();
            Ok(false)
        }
    })?;
    closed.ok_or(Refusal::UnknownBatch.into())
}

fn show(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<(), Error> {
    let shown =
        read(ctx, key, |value, _| value.queue.batch(name).map(|batch| reply_batch(ctx.reply(), &batch)))?;
    if shown.flatten().is_none() {
        ctx.reply().null();
    }
    Ok(())
}

/// Removes a batch with its callback, as TASK.CANCEL does: returns 1 if it was removed, 2 if a worker is asked to stop,
/// 0 if there is no such batch.
fn delete(ctx: Context<'_>, key: Arg<'_>, name: &[u8]) -> Result<i64, Error> {
    let deleted = write(ctx, key, Missing::Skip, |txn| {
        txn.refer_back();
        if txn.queue().batch(name).is_none() {
            return Ok(0);
        }
        // Without an event, the worker was asked before.
        let Some(event) = txn.queue().delete_batch(name) else { return Ok(2) };
        txn.commit(&event)?;
        Ok(if let Event::CancelAsked { .. } = event { 2 } else { 1 })
    })?;
    Ok(deleted.unwrap_or(0))
}
