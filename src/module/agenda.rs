//! This node's agenda: which queue has work to do, and when. A timer fires when work is due, and calls the function
//! that [`register`] was given, [`crate::runner::run`].

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use taskslot_edges::{edge, rare};
use taskslot_engine::Millis;
use taskslot_node::{Agenda, Job, Noted, QueueKey};

use crate::gone;
use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context};

/// The longest time that one run works without returning to the server.
pub const SLICE: Duration = edge(Duration::from_millis(1), Duration::from_micros(20));

thread_local! {
    static AGENDA: RefCell<Agenda> = const { RefCell::new(Agenda::new()) };
    /// The timer, if one is running.
    static TIMER: Cell<Option<Timer>> = const { Cell::new(None) };
}

/// The function that the timer calls.
static RUN: OnceLock<fn(Context<'_>)> = OnceLock::new();

/// Sets the function that does due work. Called once, while the module is loaded.
pub fn register(run: fn(Context<'_>)) {
    RUN.get_or_init(|| run);
}

/// Reads or changes the agenda.
pub fn with<R>(change: impl FnOnce(&mut Agenda) -> R) -> R {
    AGENDA.with_borrow_mut(change)
}

/// Puts a hint on the agenda that a queue has work to do at `due`, unless there is one for an earlier time. `at` is the
/// present time; both are on the node's clock.
#[inline]
pub fn put(ctx: Context<'_>, key: Arg<'_>, noted: &Noted, at: Millis, due: Millis) {
    if !noted.is_due(due) {
        with(|agenda| {
            // Here too, because a script can create and delete many queues before the next run.
            gone::remove_some(agenda);
            agenda.put(noted, due, QueueKey::new(ctx.selected_db(), key.as_bytes()));
        });
        arm(ctx, at, due);
    }
}

/// Removes hints of queues that were freed: some of them, then more until the slice of time that began at `started` is
/// over. Returns whether there are more.
pub fn remove_gone(started: Instant) -> bool {
    while with(gone::remove_some) {
        if started.elapsed() >= SLICE {
            rare!("hints of freed queues are removed in the next run");
            return true;
        }
    }
    false
}

/// Notes that a queue is to be looked at as soon as this node can change it.
pub fn visit_soon(ctx: Context<'_>, key: Arg<'_>, noted: &Noted) {
    with(|agenda| agenda.put_now(noted, QueueKey::new(ctx.selected_db(), key.as_bytes())));
    soon();
}

/// Gives ready tasks to waiting workers as soon as the present command, transaction or script has ended.
pub fn serve_soon(ctx: Context<'_>, key: Arg<'_>) {
    later(Job::Serve(QueueKey::new(ctx.selected_db(), key.as_bytes())));
}

/// Adds a job, to be done as soon as possible.
pub fn later(job: Job) {
    with(|agenda| agenda.add(job));
    soon();
}

/// Starts a run at the end of this round of the server's event loop: after the commands that have arrived, before
/// replies are sent.
pub fn soon() {
    if with(Agenda::wants_run) {
        Timer::start_detached(0, run);
    }
}

/// Sets the timer to fire at `due`, unless it fires earlier anyway.
pub fn arm(ctx: Context<'_>, at: Millis, due: Millis) {
    if let Some(after_ms) = with(|agenda| agenda.arm(at, due)) {
        stop(ctx);
        TIMER.set(Some(Timer::start(ctx, after_ms, fire)));
    }
}

/// Stops a timer that should have fired by now. The server's timers stop when the wall clock is set back.
pub fn drop_late_timer(ctx: Context<'_>, at: Millis) {
    if with(|agenda| agenda.is_timer_late(at)) {
        stop(ctx);
        with(Agenda::disarm);
    }
}

fn stop(ctx: Context<'_>) {
    if let Some(timer) = TIMER.take() {
        timer.stop(ctx);
    }
}

fn fire(ctx: Context<'_>) {
    TIMER.set(None);
    with(Agenda::disarm);
    run(ctx);
}

fn run(ctx: Context<'_>) {
    if let Some(run) = RUN.get() {
        run(ctx);
    }
}
