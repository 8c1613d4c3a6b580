//! When queues have something to do, and the doing of it: the server's own timeouts.
//!
//! One index of hints (due, database, key) for the whole process. A hint may be stale, since queues are renamed,
//! moved, flushed and swapped: when it fires, the key is opened, and what is due is done or nothing is. A queue
//! remembers the earliest hint that is out for it, so that a busy queue doesn't add one per command.
//!
//! The timer gives precision; the server's cron is the safety net, since timers of the server run on the wall clock
//! and freeze when it is set back. Neither holds the server for more than a slice.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use taskslot_engine::{Handle, Holder, Millis, Now, TaskId};
use taskslot_node::earliest;

use crate::api::key::KeyRead;
use crate::api::timer::Timer;
use crate::api::{Arg, Context, Level, OwnedString};
use crate::datatype::TaskQueue;
use crate::errors::Error;
use crate::write::{Missing, Write, write};
use crate::{clock, connections, entropy, events, lines, metrics, results, waiters};

/// How long one run may hold the server.
pub const SLICE: Duration = Duration::from_millis(1);
/// How long the server is left alone after a run that didn't get done: it has three quarters of the time.
const REST_MS: u64 = 3;
/// How soon to look again when nothing may be changed now (a replica, writes paused).
const BLOCKED_MS: u64 = 50;
/// The time of a hint that is to be looked at as soon as may be.
const NOW: Millis = Millis(0);
/// A timer this late isn't coming.
const LATE_MS: u64 = 20;
/// How many hints are put off at a time, and for how long.
const PUT_OFF_HINTS: usize = 100;
const PUT_OFF_MS: u64 = 1000;
/// Pages of due tasks between two looks at the clock.
const PAGES_A_STEP: usize = 2;
/// Leases of a closed connection that end in one step.
const LEASES_A_STEP: usize = 100;

/// A key in a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The database.
    pub db: i32,
    /// The key's name.
    pub key: Box<[u8]>,
}

impl Place {
    /// A key in a database.
    pub fn new(db: i32, key: &[u8]) -> Place {
        Place { db, key: key.into() }
    }
}

/// Something to do outside any client's command.
#[derive(Debug)]
pub enum Job {
    /// Give what is ready to workers that wait.
    Serve(Place),
    /// Undo leases that never reached their worker.
    GiveBack {
        /// The queue.
        place: Place,
        /// The leases.
        handles: Vec<Handle>,
    },
    /// End the TIED leases of a connection that closed.
    Abandon {
        /// The connection.
        client: Holder,
        /// The queue.
        place: Place,
    },
}

impl Job {
    /// The job, where its queue is now. Workers wait at a name, whatever queue is there.
    fn moved(self, now_at: impl Fn(Place) -> Place) -> Job {
        match self {
            Job::Serve(place) => Job::Serve(place),
            Job::GiveBack { place, handles } => Job::GiveBack { place: now_at(place), handles },
            Job::Abandon { client, place } => Job::Abandon { client, place: now_at(place) },
        }
    }
}

struct Wakeups {
    /// A run is under way, or comes in this round of the server's loop.
    soon: bool,
    /// Hints were put off, while nothing might be changed.
    put_off: bool,
    hints: BTreeSet<(Millis, Place)>,
    jobs: VecDeque<Job>,
    /// The timer that is set, and for when.
    timer: Option<(Timer, Millis)>,
}

thread_local! {
    static WAKEUPS: RefCell<Wakeups> = const { RefCell::new(Wakeups::new()) };
}

impl Wakeups {
    const fn new() -> Wakeups {
        Wakeups { soon: false, put_off: false, hints: BTreeSet::new(), jobs: VecDeque::new(), timer: None }
    }
}

/// Notes when a queue has something to do, if that is earlier than what is noted. What is noted is on the node's clock,
/// and so is `now`.
pub fn note(ctx: Context<'_>, key: Arg<'_>, value: &TaskQueue, now: &Now) {
    let Some(due) = value.queue.next_due(&value.now(*now)) else { return };
    let due = earliest(now, value.on_node_clock(due));
    if value.hinted.get().is_some_and(|hinted| hinted <= due) || !value.broken.is_empty() {
        return;
    }
    value.hinted.set(Some(due));
    WAKEUPS.with_borrow_mut(|wakeups| {
        wakeups.hints.insert((due, Place::new(ctx.selected_db(), key.as_bytes())));
    });
    arm(ctx, now.at, due);
}

/// A queue has come to a key by another way than a command of ours: what was noted for it went with its old name.
pub fn arrived(ctx: Context<'_>, key: Arg<'_>, value: &TaskQueue, now: &Now) {
    value.hinted.set(None);
    note(ctx, key, value, now);
    serve_who_waits(ctx, key);
}

/// Gives what has become ready in another way than by a write to those who wait, if anybody does.
pub fn serve_who_waits(ctx: Context<'_>, key: Arg<'_>) {
    if waiters::any(ctx, key) {
        serve_soon(ctx, key);
    }
}

/// Gives what is ready to waiting workers as soon as the present command, transaction or script is over.
pub fn serve_soon(ctx: Context<'_>, key: Arg<'_>) {
    later(Job::Serve(Place::new(ctx.selected_db(), key.as_bytes())));
}

/// Does a job as soon as it may be done.
pub fn later(job: Job) {
    WAKEUPS.with_borrow_mut(|wakeups| match job {
        // A lease that never reached its worker is undone before its connection's end counts as a stall.
        Job::GiveBack { .. } => wakeups.jobs.push_front(job),
        _ => wakeups.jobs.push_back(job),
    });
    soon();
}

/// Runs at the end of this round of the server's loop: after the commands that have come, before replies are sent.
pub fn soon() {
    // Once: many runs in a row would hold the server for as many slices.
    if !WAKEUPS.with_borrow_mut(|wakeups| std::mem::replace(&mut wakeups.soon, true)) {
        Timer::start_detached(0, run);
    }
}

/// A queue is being loaded: it is looked at when this node may act on it. The value is told the same.
pub fn loaded(place: Place) -> Option<Millis> {
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.hints.insert((NOW, place)));
    Some(NOW)
}

/// Two databases have changed places, and their keys' hints, jobs and ties with them.
pub fn swapped(a: i32, b: i32) {
    let swap = |place: Place| match place.db {
        db if db == a => Place { db: b, ..place },
        db if db == b => Place { db: a, ..place },
        _ => place,
    };
    WAKEUPS.with_borrow_mut(|wakeups| {
        let hints = std::mem::take(&mut wakeups.hints);
        wakeups.hints = hints.into_iter().map(|(due, place)| (due, swap(place))).collect();
        let jobs = std::mem::take(&mut wakeups.jobs);
        wakeups.jobs = jobs.into_iter().map(|job| job.moved(swap)).collect();
    });
    connections::rename(swap);
    for place in [a, b].into_iter().flat_map(waiters::places) {
        later(Job::Serve(place));
    }
}

/// Sets the timer for `due`, unless it is set for an earlier time.
fn arm(ctx: Context<'_>, at: Millis, due: Millis) {
    let due = due.max(at);
    let old = WAKEUPS.with_borrow(|wakeups| wakeups.timer);
    match old {
        Some((_, set_for)) if set_for <= due => return,
        Some((timer, _)) => {
            timer.stop(ctx);
        }
        None => {}
    }
    // One more, since the server counts whole milliseconds and we may be at the end of one.
    let timer = Timer::start(ctx, due.since(at) + 1, fire);
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.timer = Some((timer, due)));
}

fn fire(ctx: Context<'_>) {
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.timer = None);
    run(ctx);
}

/// The safety net: a timer that should have fired and didn't is frozen by a wall clock that was set back, and one
/// that was set ahead may have passed instants that were noted for later.
pub fn beat(ctx: Context<'_>) {
    let at = clock::now(ctx).at;
    if clock::was_stepped() {
        look_at_all();
    }
    let timer = WAKEUPS.with_borrow(|wakeups| wakeups.timer);
    if let Some((timer, _)) = timer.filter(|(_, set_for)| at.since(*set_for) > LATE_MS) {
        timer.stop(ctx);
        WAKEUPS.with_borrow_mut(|wakeups| wakeups.timer = None);
    }
    run(ctx);
}

/// Each queue that has something to do is looked at now.
fn look_at_all() {
    WAKEUPS.with_borrow_mut(|wakeups| {
        let hints = std::mem::take(&mut wakeups.hints);
        wakeups.hints = hints.into_iter().map(|(_, place)| (NOW, place)).collect();
    });
}

/// Does what is due, for a slice of time at most, wakes who was served, and sets the timer for the rest.
pub fn run(ctx: Context<'_>) {
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.soon = true);
    let rest_ms = if ctx.may_change_data() {
        if WAKEUPS.with_borrow_mut(|wakeups| std::mem::take(&mut wakeups.put_off)) {
            look_at_all();
        }
        let started = Instant::now();
        work(ctx);
        metrics::add_tick(ctx, clock::now(ctx).at, started.elapsed());
        REST_MS
    } else {
        put_off(ctx);
        BLOCKED_MS
    };
    waiters::wake_served();
    let more = results::wake() | lines::clear_gone();
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.soon = false);
    let at = clock::now(ctx).at;
    arm_rest(ctx, at, rest_ms);
    if more {
        // To wake or to clear changes nothing, so it goes on where nothing may be changed.
        arm(ctx, at, at.plus(REST_MS));
    }
}

/// Nothing may be changed here: what is due is put off, and hints of queues that have gone are dropped, since on a
/// replica nothing else would ever drop them.
fn put_off(ctx: Context<'_>) {
    let at = clock::now(ctx).at;
    WAKEUPS.with_borrow_mut(|wakeups| wakeups.put_off = true);
    for _ in 0..PUT_OFF_HINTS {
        let Some((_, place)) = pop_due(at) else { break };
        let key = OwnedString::new(&place.key);
        let is_there = ctx.select_db(place.db).is_ok() && KeyRead::peek(ctx, key.as_arg()).is_some();
        if is_there {
            WAKEUPS.with_borrow_mut(|wakeups| wakeups.hints.insert((at.plus(PUT_OFF_MS), place)));
        }
    }
}

/// Takes out the first hint that is due.
fn pop_due(at: Millis) -> Option<(Millis, Place)> {
    WAKEUPS.with_borrow_mut(|wakeups| {
        let is_due = wakeups.hints.first().is_some_and(|(due, _)| *due <= at);
        if is_due { wakeups.hints.pop_first() } else { None }
    })
}

/// Jobs, then what is due, for a slice of time.
fn work(ctx: Context<'_>) {
    let now = clock::now(ctx);
    let started = Instant::now();
    // Jobs that come up while others are done wait for the next run.
    let jobs = WAKEUPS.with_borrow(|wakeups| wakeups.jobs.len());
    for _ in 0..jobs {
        let Some(job) = WAKEUPS.with_borrow_mut(|wakeups| wakeups.jobs.pop_front()) else { break };
        do_job(ctx, job);
        if started.elapsed() >= SLICE {
            break;
        }
    }
    while started.elapsed() < SLICE {
        let Some((due, place)) = pop_due(now.at) else { break };
        if is_elsewhere(ctx, &place) {
            let later = (now.at.plus(BLOCKED_MS), place);
            WAKEUPS.with_borrow_mut(|wakeups| wakeups.hints.insert(later));
            continue;
        }
        if due > NOW {
            metrics::add_lag(now.at, now.at.since(due));
        }
        done(ctx, &place, |write| {
            // Hints come in order, so one that was out for an earlier time is gone.
            if due == NOW || write.value.hinted.get().is_some_and(|hinted| hinted <= due) {
                write.value.hinted.set(None);
            }
            while write.move_due(PAGES_A_STEP)? && started.elapsed() < SLICE {}
            Ok(())
        });
    }
}

/// Sets the timer for what is left: not before a rest if it is due already.
fn arm_rest(ctx: Context<'_>, at: Millis, rest_ms: u64) {
    let next = WAKEUPS.with_borrow(|wakeups| match wakeups.hints.first() {
        _ if !wakeups.jobs.is_empty() => Some(at),
        first => first.map(|(due, _)| *due),
    });
    if let Some(due) = next {
        arm(ctx, at, if due <= at { at.plus(rest_ms) } else { due });
    }
}

fn do_job(ctx: Context<'_>, job: Job) {
    match job {
        // To look at the queue is enough: a write gives what is ready to those who wait.
        Job::Serve(place) => done(ctx, &place, |write| {
            write.stir_all();
            Ok(())
        }),
        Job::GiveBack { place, handles } => done(ctx, &place, |write| {
            for handle in &handles {
                if let Some(event) = write.value.queue.unclaim(write.now, handle) {
                    write.commit(&event)?;
                }
            }
            Ok(())
        }),
        Job::Abandon { client, place } => {
            let mut more = false;
            done(ctx, &place, |write| {
                let tasks = write.value.queue.tied_to(client, LEASES_A_STEP);
                more = tasks.len() == LEASES_A_STEP;
                tasks.into_iter().try_for_each(|id| abandon(write, id))
            });
            if more {
                later(Job::Abandon { client, place });
            }
        }
    }
}

fn abandon(write: &mut Write<'_, '_>, id: TaskId) -> Result<(), Error> {
    match write.value.queue.abandon(write.now, &mut entropy::bits, id) {
        Some(event) => write.commit(&event),
        None => Ok(()),
    }
}

/// Runs `body` on the queue at a place, if there is one that this node may change.
fn done(ctx: Context<'_>, place: &Place, body: impl FnOnce(&mut Write<'_, '_>) -> Result<(), Error>) {
    if ctx.select_db(place.db).is_err() || !events::is_ours(ctx, &place.key) {
        return;
    }
    let key = OwnedString::new(&place.key);
    match write(ctx, key.as_arg(), Missing::Skip, body) {
        Ok(_) | Err(Error::WrongType | Error::Broken) => {}
        Err(error) => ctx.log(Level::Warning, &format!("timed work on a queue failed: {error}")),
    }
}

/// Whether there is a queue that isn't ours to change: the copy that comes before a slot, or what it leaves behind.
fn is_elsewhere(ctx: Context<'_>, place: &Place) -> bool {
    if ctx.select_db(place.db).is_err() || events::is_ours(ctx, &place.key) {
        return false;
    }
    KeyRead::peek(ctx, OwnedString::new(&place.key).as_arg()).is_some()
}
