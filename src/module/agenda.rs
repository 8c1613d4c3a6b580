//! This node's agenda, and the timer that fires when something on it is due. What is done then, `runner` knows.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::Duration;

use taskslot_engine::Millis;
use taskslot_node::{Agenda, Hint, Job, QueueKey};

use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context};

/// How long one run may hold the server.
pub const SLICE: Duration = Duration::from_millis(1);

thread_local! {
    static AGENDA: RefCell<Agenda> = const { RefCell::new(Agenda::new()) };
    /// The timer that is set.
    static TIMER: Cell<Option<Timer>> = const { Cell::new(None) };
}

/// What the timer calls.
static RUN: OnceLock<fn(Context<'_>)> = OnceLock::new();

/// Sets what is to be run when something is due. Once, while the module is loaded.
pub fn register(run: fn(Context<'_>)) {
    RUN.get_or_init(|| run);
}

/// Reads or changes the agenda.
pub fn with<R>(change: impl FnOnce(&mut Agenda) -> R) -> R {
    AGENDA.with_borrow_mut(change)
}

/// Notes that a queue has something to do at `due`, if that is earlier than what is noted. Both times are on the node's
/// clock.
#[inline]
pub fn hint(ctx: Context<'_>, key: Arg<'_>, hint: &Hint, at: Millis, due: Millis) {
    if hint.lower(due) {
        with(|agenda| agenda.hint(due, QueueKey::new(ctx.selected_db(), key.as_bytes())));
        arm(ctx, at, due);
    }
}

/// Gives what is ready to waiting workers as soon as the present command, transaction or script is over.
pub fn serve_soon(ctx: Context<'_>, key: Arg<'_>) {
    later(Job::Serve(QueueKey::new(ctx.selected_db(), key.as_bytes())));
}

/// Does a job as soon as it may be done.
pub fn later(job: Job) {
    with(|agenda| agenda.add(job));
    soon();
}

/// Runs at the end of this round of the server's loop: after the commands that have come, before replies are sent.
pub fn soon() {
    if with(Agenda::wants_run) {
        Timer::start_detached(0, run);
    }
}

/// Sets the timer for `due`, unless it is set for an earlier time.
pub fn arm(ctx: Context<'_>, at: Millis, due: Millis) {
    if let Some(after_ms) = with(|agenda| agenda.arm(at, due)) {
        stop(ctx);
        TIMER.set(Some(Timer::start(ctx, after_ms, fire)));
    }
}

/// Forgets a timer that should have fired and didn't.
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
