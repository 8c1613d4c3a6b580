//! Does the work on the agenda: leases that end, tasks that become ready, expire or run out of retention, and
//! schedules.
//!
//! A hint may be out of date. When it fires, the key is opened, and whatever is due in the queue is done. The timer
//! gives precision. The server's cron is the safety net, because the server's timers run on the wall clock and stop
//! when it is set back. Neither works for longer than a slice of time.

use std::time::Instant;

use taskslot_edges::{edge, rare};
use taskslot_engine::{Handle, Holder, Millis, TaskId};
use taskslot_node::{Agenda, Fired, Job, QueueKey};

use crate::agenda::{self, SLICE};
use crate::datatype::QUEUES;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use crate::{clock, connections, entropy, metrics, ownership, results, waiters};
use taskslot_api::key::KeyRead;
use taskslot_api::{Context, Level, OwnedString};

/// The number of hints that one run puts off.
const PUT_OFF_HINTS: usize = edge(100, 1);
/// The number of pages of due tasks that are processed before the clock is read again. Fewer would not do: during a
/// grace, one page of leases can be searched in vain, again and again, and nothing else would become due.
const PAGES_A_STEP: usize = 2;
/// The number of leases of a closed connection that end in one step.
const LEASES_A_STEP: usize = edge(100, 2);

/// Called by the server's cron: the safety net. A timer that should have fired stands still, because the wall clock was
/// set back. If the clock was set forward, it can have passed times that were noted for later.
pub fn on_cron(ctx: Context<'_>) {
    let at = clock::now(ctx).at;
    if clock::was_stepped() {
        agenda::with(Agenda::make_all_due);
    }
    agenda::drop_late_timer(ctx, at);
    run(ctx);
}

/// Does due work for a slice of time, wakes the clients that were served, and sets the timer for the rest.
pub fn run(ctx: Context<'_>) {
    let started = Instant::now();
    let may_change = ctx.may_change_data();
    agenda::with(|agenda| agenda.begin_run(may_change));
    if may_change {
        work(ctx, started);
        metrics::add_tick(ctx, clock::now(ctx).at, started.elapsed());
    } else {
        put_off(ctx);
    }
    waiters::wake_served();
    let more = results::wake(started) | waiters::clear_left(started) | agenda::remove_gone(started);
    let at = clock::now(ctx).at;
    if let Some(next) = agenda::with(|agenda| agenda.end_run(at, may_change, more)) {
        agenda::arm(ctx, at, next);
    }
}

/// This node can't change data now, so due work is put off.
fn put_off(ctx: Context<'_>) {
    let at = clock::now(ctx).at;
    for _ in 0..PUT_OFF_HINTS {
        let Some(fired) = agenda::with(|agenda| agenda.pop_due(at)) else { break };
        agenda::with(|agenda| agenda.put_off(at, fired));
    }
}

/// Does jobs, then due work, until the slice of time that began at `started` is over or enough workers are served. It
/// does at least one job and the due work of one queue, so that neither keeps the other waiting.
fn work(ctx: Context<'_>, started: Instant) {
    let at = clock::now(ctx).at;
    let is_over = || started.elapsed() >= SLICE || waiters::are_enough_served();
    // Jobs that are added meanwhile wait for the next run.
    for _ in 0..agenda::with(|agenda| agenda.jobs()) {
        let Some(job) = agenda::with(Agenda::next_job) else { break };
        do_job(ctx, job);
        if is_over() {
            rare!("other jobs wait for the next run");
            break;
        }
    }
    while let Some(fired) = agenda::with(|agenda| agenda.pop_due(at)) {
        if is_elsewhere(ctx, &fired.queue) {
            rare!("a queue with due work is being moved");
            agenda::with(|agenda| agenda.delay(at, fired));
        } else {
            move_due(ctx, &fired, at, started);
        }
        if is_over() {
            rare!("other due work waits for the next run");
            break;
        }
    }
}

/// Handles a hint that has fired: does the due work of its queue, until the slice that began at `started` is over. If
/// workers wait for the queue, it does a step of it, so that they get the tasks before others are moved.
fn move_due(ctx: Context<'_>, fired: &Fired, at: Millis, started: Instant) {
    if let Some(lag_ms) = Agenda::lag_ms(at, fired.due) {
        metrics::add_lag(at, lag_ms);
    }
    with_queue(ctx, &fired.queue, |txn| {
        txn.hint_fired(fired.id);
        let is_awaited = waiters::any(ctx, txn.key);
        while txn.move_due(PAGES_A_STEP)? && !is_awaited && started.elapsed() < SLICE {}
        Ok(())
    });
}

fn do_job(ctx: Context<'_>, job: Job) {
    match job {
        // An empty write is enough: every write gives ready tasks to the workers that wait.
        Job::Serve(queue) => with_queue(ctx, &queue, |txn| {
            txn.set_all_ready();
            Ok(())
        }),
        Job::GiveBack { queue, handles } => with_queue(ctx, &queue, |txn| give_back(txn, &handles)),
        Job::Abandon { client, queue } => abandon(ctx, client, queue),
        Job::CheckTie { client, queue } => {
            if !is_tied(ctx, client, &queue) {
                rare!("a connection holds no more leases in a queue");
                connections::untie(client, &queue);
            }
        }
    }
}

/// Undoes leases whose tasks never reached their worker.
fn give_back(txn: &mut Txn<'_, '_>, handles: &[Handle]) -> Result<(), Error> {
    for handle in handles {
        if let Some(event) = txn.queue().unclaim(txn.now, handle) {
            rare!("a lease that never reached its worker is undone");
            txn.commit(&event)?;
        }
    }
    Ok(())
}

/// Ends the TIED leases of a closed connection, a limited number at a time.
fn abandon(ctx: Context<'_>, client: Holder, queue: QueueKey) {
    let mut more = false;
    with_queue(ctx, &queue, |txn| {
        let tasks = txn.queue().tied_to(client, LEASES_A_STEP);
        more = tasks.len() == LEASES_A_STEP;
        tasks.into_iter().try_for_each(|id| abandon_one(txn, id))
    });
    if more {
        rare!("a closed connection has more leases than one step ends");
        agenda::later(Job::Abandon { client, queue });
    }
}

fn abandon_one(txn: &mut Txn<'_, '_>, id: TaskId) -> Result<(), Error> {
    match txn.queue().abandon(txn.now, &mut entropy::bits, id) {
        Some(event) => txn.commit(&event),
        None => Ok(()),
    }
}

/// Whether a connection holds TIED leases in a queue.
fn is_tied(ctx: Context<'_>, client: Holder, queue: &QueueKey) -> bool {
    let name = OwnedString::new(&queue.name);
    let open = ctx.select_db(queue.db).ok().and_then(|()| KeyRead::peek(ctx, name.as_arg()));
    let value = open.as_ref().and_then(|open| open.value(&QUEUES).ok().flatten());
    value.is_some_and(|value| !value.queue.tied_to(client, 1).is_empty())
}

/// Runs `body` on a queue, if the queue exists and this node owns it.
fn with_queue(ctx: Context<'_>, queue: &QueueKey, body: impl FnOnce(&mut Txn<'_, '_>) -> Result<(), Error>) {
    if ctx.select_db(queue.db).is_err() || !ownership::is_owned(ctx, &queue.name) {
        return;
    }
    let name = OwnedString::new(&queue.name);
    match write(ctx, name.as_arg(), Missing::Skip, body) {
        Ok(_) | Err(Error::WrongType | Error::Broken) => {}
        Err(error) => ctx.log(Level::Warning, &format!("timed work on {queue} failed: {error}")),
    }
}

/// Whether the queue exists here but belongs to another node: its slot is being moved, to this node or from it.
fn is_elsewhere(ctx: Context<'_>, queue: &QueueKey) -> bool {
    if ctx.select_db(queue.db).is_err() || ownership::is_owned(ctx, &queue.name) {
        return false;
    }
    KeyRead::peek(ctx, OwnedString::new(&queue.name).as_arg()).is_some()
}
