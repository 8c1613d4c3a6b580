//! What is to be done outside any client's command, and when; `runner` does it.
//!
//! One index of hints (due, database, key) for the whole process. A hint may be stale, since queues are renamed, moved,
//! flushed and swapped. A queue remembers the earliest hint that is out for it ([`Hint`]), so that a busy queue doesn't
//! add one per command. Beside the hints stand jobs, which are done as soon as possible.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use taskslot_engine::{Handle, Holder, Millis};
use taskslot_node::QueueKey;

use crate::api::timer::Timer;
use crate::api::{Arg, Context};

/// How long one run may hold the server.
pub const SLICE: Duration = Duration::from_millis(1);
/// The time of a hint that is to be looked at as soon as possible.
pub const NOW: Millis = Millis(0);
/// A timer this late isn't coming.
const LATE_MS: u64 = 20;

/// Something to do outside any client's command.
#[derive(Debug)]
pub enum Job {
    /// Give what is ready to workers that wait.
    Serve(QueueKey),
    /// Undo leases that never reached their worker.
    GiveBack {
        /// The queue.
        queue: QueueKey,
        /// The leases.
        handles: Vec<Handle>,
    },
    /// End the TIED leases of a connection that closed.
    Abandon {
        /// The connection.
        client: Holder,
        /// The queue.
        queue: QueueKey,
    },
}

impl Job {
    /// The job after two databases have changed places. Workers wait at a name, whatever queue is there.
    fn swapped(self, a: i32, b: i32) -> Job {
        match self {
            Job::Serve(queue) => Job::Serve(queue),
            Job::GiveBack { queue, handles } => Job::GiveBack { queue: queue.swapped(a, b), handles },
            Job::Abandon { client, queue } => Job::Abandon { client, queue: queue.swapped(a, b) },
        }
    }
}

/// The earliest hint that is out for a queue under its present name, kept with the queue.
#[derive(Debug, Default)]
pub struct Hint(Cell<Option<Millis>>);

impl Hint {
    /// Whether something may be due. A hint is never later than what is due.
    pub fn is_due(&self, at: Millis) -> bool {
        self.0.get().is_some_and(|hinted| hinted <= at)
    }

    /// No hint is out any more: the queue has another name.
    pub fn forget(&self) {
        self.0.set(None);
    }

    /// A hint for this time has fired.
    pub fn fired(&self, due: Millis) {
        // Hints come in order, so one that was out for an earlier time is gone.
        if due == NOW || self.is_due(due) {
            self.forget();
        }
    }

    /// Notes a hint for `due`; false where one is out that is no later.
    fn lower(&self, due: Millis) -> bool {
        let is_earlier = !self.is_due(due);
        if is_earlier {
            self.0.set(Some(due));
        }
        is_earlier
    }
}

struct Agenda {
    /// A run is under way, or comes in this round of the server's loop.
    runs_soon: bool,
    hints: BTreeSet<(Millis, QueueKey)>,
    jobs: VecDeque<Job>,
    /// The timer that is set, and for when.
    timer: Option<(Timer, Millis)>,
}

thread_local! {
    static AGENDA: RefCell<Agenda> = const {
        RefCell::new(Agenda { runs_soon: false, hints: BTreeSet::new(), jobs: VecDeque::new(), timer: None })
    };
}

/// What the timer calls.
static RUN: OnceLock<fn(Context<'_>)> = OnceLock::new();

/// Sets what is to be run when something is due. Once, while the module is loaded.
pub fn register(run: fn(Context<'_>)) {
    RUN.get_or_init(|| run);
}

/// Notes that a queue has something to do at `due`, if that is earlier than what is noted. Both times are on the node's
/// clock.
pub fn hint(ctx: Context<'_>, key: Arg<'_>, hint: &Hint, at: Millis, due: Millis) {
    if !hint.lower(due) {
        return;
    }
    put_hint(due, QueueKey::new(ctx.selected_db(), key.as_bytes()));
    arm(ctx, at, due);
}

/// A queue is being loaded: it is looked at when this node may act on it.
pub fn hint_loaded(queue: QueueKey, hint: &Hint) {
    put_hint(NOW, queue);
    hint.lower(NOW);
}

/// Looks at a queue at `due`, whatever it remembers.
pub fn put_hint(due: Millis, queue: QueueKey) {
    AGENDA.with_borrow_mut(|agenda| agenda.hints.insert((due, queue)));
}

/// Takes out the first hint that is due.
pub fn pop_due(at: Millis) -> Option<(Millis, QueueKey)> {
    AGENDA.with_borrow_mut(|agenda| {
        let is_due = agenda.hints.first().is_some_and(|(due, _)| *due <= at);
        if is_due { agenda.hints.pop_first() } else { None }
    })
}

/// Each queue that has something to do is looked at now.
pub fn look_at_all() {
    AGENDA.with_borrow_mut(|agenda| {
        let hints = std::mem::take(&mut agenda.hints);
        agenda.hints = hints.into_iter().map(|(_, queue)| (NOW, queue)).collect();
    });
}

/// Gives what is ready to waiting workers as soon as the present command, transaction or script is over.
pub fn serve_soon(ctx: Context<'_>, key: Arg<'_>) {
    later(Job::Serve(QueueKey::new(ctx.selected_db(), key.as_bytes())));
}

/// Does a job as soon as it may be done.
pub fn later(job: Job) {
    AGENDA.with_borrow_mut(|agenda| match job {
        // A lease that never reached its worker is undone before its connection's end counts as a stall.
        Job::GiveBack { .. } => agenda.jobs.push_front(job),
        _ => agenda.jobs.push_back(job),
    });
    soon();
}

/// How many jobs there are.
pub fn jobs() -> usize {
    AGENDA.with_borrow(|agenda| agenda.jobs.len())
}

/// Takes out the next job.
pub fn next_job() -> Option<Job> {
    AGENDA.with_borrow_mut(|agenda| agenda.jobs.pop_front())
}

/// Two databases have changed places, and their keys' hints and jobs with them.
pub fn swap_databases(a: i32, b: i32) {
    AGENDA.with_borrow_mut(|agenda| {
        let hints = std::mem::take(&mut agenda.hints);
        agenda.hints = hints.into_iter().map(|(due, queue)| (due, queue.swapped(a, b))).collect();
        let jobs = std::mem::take(&mut agenda.jobs);
        agenda.jobs = jobs.into_iter().map(|job| job.swapped(a, b)).collect();
    });
}

/// Runs at the end of this round of the server's loop: after the commands that have come, before replies are sent.
pub fn soon() {
    // Once: many runs in a row would hold the server for as many slices.
    if !AGENDA.with_borrow_mut(|agenda| std::mem::replace(&mut agenda.runs_soon, true)) {
        Timer::start_detached(0, run);
    }
}

/// A run begins: what wants one soon has it.
pub fn begin_run() {
    AGENDA.with_borrow_mut(|agenda| agenda.runs_soon = true);
}

/// The run is over.
pub fn end_run() {
    AGENDA.with_borrow_mut(|agenda| agenda.runs_soon = false);
}

/// Sets the timer for `due`, unless it is set for an earlier time.
pub fn arm(ctx: Context<'_>, at: Millis, due: Millis) {
    let due = due.max(at);
    let old = AGENDA.with_borrow(|agenda| agenda.timer);
    match old {
        Some((_, set_for)) if set_for <= due => return,
        Some((timer, _)) => {
            timer.stop(ctx);
        }
        None => {}
    }
    // One more, since the server counts whole milliseconds and we may be at the end of one.
    let timer = Timer::start(ctx, due.since(at) + 1, fire);
    AGENDA.with_borrow_mut(|agenda| agenda.timer = Some((timer, due)));
}

/// Sets the timer for what is left: not before a rest if it is due already.
pub fn arm_rest(ctx: Context<'_>, at: Millis, rest_ms: u64) {
    let next = AGENDA.with_borrow(|agenda| match agenda.hints.first() {
        _ if !agenda.jobs.is_empty() => Some(at),
        first => first.map(|(due, _)| *due),
    });
    if let Some(due) = next {
        arm(ctx, at, if due <= at { at.plus(rest_ms) } else { due });
    }
}

/// Forgets a timer that should have fired and didn't.
pub fn drop_late_timer(ctx: Context<'_>, at: Millis) {
    let timer = AGENDA.with_borrow(|agenda| agenda.timer);
    if let Some((timer, _)) = timer.filter(|(_, set_for)| at.since(*set_for) > LATE_MS) {
        timer.stop(ctx);
        AGENDA.with_borrow_mut(|agenda| agenda.timer = None);
    }
}

fn fire(ctx: Context<'_>) {
    AGENDA.with_borrow_mut(|agenda| agenda.timer = None);
    run(ctx);
}

fn run(ctx: Context<'_>) {
    if let Some(run) = RUN.get() {
        run(ctx);
    }
}
