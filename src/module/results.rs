//! The clients that wait for the end of a task (TASK.RESULT with BLOCK), and how they get the outcome.
//!
//! An event ends a task: on a primary one that it decided, on a replica one from an effect. The watch of the task then
//! gets the outcome, and its clients are woken at the end of the round of the server's event loop; [`crate::waiters`]
//! explains why not at once. Waking stops after a slice of time and goes on in the next round. If no client waits for
//! any task, an event costs one look at a counter.
//!
//! A queue can disappear without an event: it is deleted, flushed, renamed, swapped or moved, or it expires. So the
//! server's cron checks a bounded number of awaited tasks at a time, and replies for those that are no longer there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use taskslot_edges::{edge, rare};
use taskslot_engine::{Changes, Now, Outcome, Queue, TaskId, TaskState, TaskView};
use taskslot_node::{QueueKey, Watches};

use crate::agenda::{self, SLICE};
use crate::blocking::block;
use crate::clock;
use crate::datatype::QUEUES;
use crate::errors::Error;
use taskslot_api::blocked::{Waiter, Waiting};
use taskslot_api::key::KeyRead;
use taskslot_api::user::User;
use taskslot_api::{Arg, Context, OwnedString, Reply};

/// The number of awaited tasks that one run of the cron checks.
const CHECKED_AT_ONCE: usize = edge(500, 2);

/// How a wait ends, except by its time-out.
enum End {
    /// The task ended. `word` says how; `value` is the result or the error.
    Outcome { word: &'static str, value: Option<Box<[u8]>> },
    /// There is no such task, and it isn't known how it ended.
    Unknown,
    /// There is no queue: it was removed, or another node has it.
    NoQueue,
    /// The queue is broken, so no task ends in it.
    Broken,
}

type Watch = taskslot_node::Watch<Waiter<Asker>, End>;

/// A client that waits for a task.
struct Asker {
    watch: Rc<Watch>,
    ticket: u64,
    /// The client's user, if this server can check its permissions.
    user: Option<User>,
}

thread_local! {
    static WATCHES: RefCell<Watches<Waiter<Asker>, End>> = const { RefCell::new(Watches::new()) };
}

/// The number of clients that wait for results on this node.
pub fn total() -> usize {
    WATCHES.with_borrow(Watches::total)
}

/// How a task ended, and its result or error; `None` if it has not ended.
pub fn outcome_of<'a>(task: &TaskView<'a>) -> Option<(&'static str, Option<&'a [u8]>)> {
    match task.state {
        TaskState::Done => Some((task.state.name(), task.result)),
        TaskState::Dead => Some((task.state.name(), error_of(task))),
        TaskState::Ready | TaskState::Delayed | TaskState::Held | TaskState::Leased => None,
    }
}

fn error_of<'a>(task: &TaskView<'a>) -> Option<&'a [u8]> {
    Some(task.error()).filter(|error| !error.is_empty())
}

/// Replies how a task ended.
pub fn reply_outcome(reply: Reply<'_>, word: &str, value: Option<&[u8]>) {
    reply.array(2);
    reply.bulk(word.as_bytes());
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

/// An event has changed a queue. The clients that wait for tasks which it ended are woken soon.
#[inline]
pub fn on_change(ctx: Context<'_>, key: Arg<'_>, queue: &Queue, now: &Now, changes: &Changes<'_>) {
    if !WATCHES.with_borrow(Watches::is_empty) {
        end_watches(&QueueKey::new(ctx.selected_db(), key.as_bytes()), queue, now, changes);
    }
}

fn end_watches(key: &QueueKey, queue: &Queue, now: &Now, changes: &Changes<'_>) {
    changes.outcomes(&mut |id, outcome| {
        if !WATCHES.with_borrow(|watches| watches.has(key, id)) {
            return;
        }
        let task = queue.task(now, id);
        let value = match outcome {
            Outcome::Done(result) => result,
            Outcome::Dead => task.as_ref().and_then(error_of),
            Outcome::Cancelled | Outcome::Expired | Outcome::Purged => None,
        };
        end(key, id, End::Outcome { word: outcome.name(), value: value.map(Box::from) });
    });
}

/// Ends the wait for a task. Its clients are woken soon.
fn end(key: &QueueKey, id: TaskId, end: End) {
    WATCHES.with_borrow_mut(|watches| watches.end(key, id, end));
    agenda::soon();
}

/// Wakes the clients whose task has ended: one, then more until the slice of time that began at `started` is over.
/// Returns whether there are more. No key is open and no value borrowed meanwhile, because a reply can be sent at once.
pub fn wake(started: Instant) -> bool {
    while let Some(asker) = WATCHES.with_borrow_mut(Watches::next_ended) {
        asker.wake();
        if started.elapsed() >= SLICE {
            rare!("clients that wait for results are woken in the next run");
            break;
        }
    }
    WATCHES.with_borrow(Watches::some_have_ended)
}

/// Blocks the client of the running command until the task ends. Returns false if it can't be blocked.
pub fn wait(ctx: Context<'_>, key: Arg<'_>, id: TaskId, timeout_ms: u64) -> bool {
    if ctx.flags().denies_blocking() {
        return false;
    }
    let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
    let (watch, ticket) = WATCHES.with_borrow_mut(|watches| watches.watch(queue, id));
    let asker = Asker { watch: Rc::clone(&watch), ticket, user: User::of_client(ctx) };
    let Ok(asker) = block(ctx, key, timeout_ms, asker) else { return false };
    WATCHES.with_borrow_mut(|watches| watches.join(&watch, ticket, asker));
    true
}

/// Called by the server's cron: ends the waits for tasks and queues that are no longer there.
pub fn on_cron(ctx: Context<'_>) {
    // While data is loaded, queues are missing that will be there again.
    if WATCHES.with_borrow(Watches::is_empty) || ctx.flags().is_loading() {
        return;
    }
    for (queue, ids) in WATCHES.with_borrow_mut(|watches| watches.next_to_check(CHECKED_AT_ONCE)) {
        check(ctx, &queue, ids);
    }
}

fn check(ctx: Context<'_>, queue: &QueueKey, ids: Vec<TaskId>) {
    if ctx.select_db(queue.db).is_err() {
        return;
    }
    let key = OwnedString::new(&queue.name);
    let open = KeyRead::peek(ctx, key.as_arg());
    let value = match open.as_ref().map(|open| open.value(&QUEUES)) {
        Some(Ok(value)) => value,
        // In use by a caller further up: the next run of the cron checks it.
        Some(Err(taskslot_api::key::KeyError::Busy)) => return,
        Some(Err(taskslot_api::key::KeyError::WrongType)) | None => None,
    };
    let now = clock::now(ctx);
    for id in ids {
        let end_of_wait = match value {
            None => End::NoQueue,
            Some(value) => match value.queue.task(&value.now(now), id) {
                None => End::Unknown,
                Some(task) => match outcome_of(&task) {
                    Some((word, value)) => End::Outcome { word, value: value.map(Box::from) },
                    None if !value.health.is_sound() => End::Broken,
                    None => continue,
                },
            },
        };
        end(queue, id, end_of_wait);
    }
}

/// Removes a client from those that wait for its task.
fn leave(asker: &Asker) {
    // Dropped only after the borrow of the table has ended.
    drop(WATCHES.with_borrow_mut(|watches| watches.leave(&asker.watch, asker.ticket)));
}

impl Asker {
    /// Whether its user still has the permission to run TASK.RESULT on this key.
    fn may_know(&self) -> bool {
        let (queue, id) = (self.watch.queue(), self.watch.id().text());
        self.user.as_ref().is_none_or(|user| user.may(queue.db, &[b"TASK.RESULT", &queue.name, &id]))
    }
}

impl Waiting for Asker {
    fn on_reply(&self, ctx: Context<'_>) {
        leave(self);
        let reply = ctx.reply();
        match self.watch.end() {
            Some(_) if !self.may_know() => reply.error(&Error::NoPermission.to_string()),
            Some(End::Outcome { word, value }) => reply_outcome(reply, word, value.as_deref()),
            Some(End::Broken) => reply.error(&Error::Broken.to_string()),
            // A client that tries again is redirected to the node of the queue, or learns that there is none.
            Some(End::NoQueue) if ctx.is_cluster() => reply.error(&Error::TryAgain.to_string()),
            Some(End::Unknown | End::NoQueue) => reply.integer(0),
            None => reply.null(),
        }
    }

    fn on_end(&self) {
        leave(self);
    }
}
