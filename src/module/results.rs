//! Who waits for a task's end, inside the server, per database, key and id; and how they are told.
//!
//! Whoever waits for one task shares one [`Watch`]. When an event ends the task (on a primary by its decision, on a
//! replica by its effect) the watch leaves the table with the outcome: that costs the same for one who waits and for a
//! million. They are woken at the end of the round of the server's loop, a slice of time at most, for the reasons that
//! stand in `waiters`. A task that nobody waits for costs a look at a counter.
//!
//! A queue may go without an event: deleted, flushed, expired, renamed, swapped, moved to another node. So the server's
//! cron looks at a bounded number of awaited tasks, in turn, and answers for those that aren't there any more.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use taskslot_engine::{Event, Now, Outcome, Queue, State, TaskId, TaskView};
use taskslot_node::QueueKey;

use crate::agenda;
use crate::api::blocked::{Waiter, Waiting};
use crate::api::key::KeyRead;
use crate::api::user::User;
use crate::api::{Arg, Context, OwnedString, Reply};
use crate::blocking::block;
use crate::clock;
use crate::datatype::QUEUES;
use crate::errors::Error;

/// How long one round may be spent on waking.
const SLICE: Duration = Duration::from_millis(1);
/// Awaited tasks that one beat looks at.
const LOOKED_AT: usize = 500;

/// How a wait ends that has nothing to do with time.
enum End {
    /// The task ended: the word for it, and the result or the error.
    Told { word: &'static str, value: Option<Box<[u8]>> },
    /// There is no such task (any more), and nobody told how it ended.
    Unknown,
    /// There is no queue (any more): it is gone, or another node has it.
    NoQueue,
    /// The queue was given up: nothing ends in it.
    Broken,
}

/// All who wait for one task.
struct Watch {
    queue_key: QueueKey,
    id: TaskId,
    end: OnceCell<End>,
    askers: RefCell<BTreeMap<u64, Waiter<Asker>>>,
}

/// One of them.
struct Asker {
    watch: Rc<Watch>,
    ticket: u64,
    /// Whose it is, if its rights can be asked for.
    user: Option<User>,
}

type Watched = BTreeMap<QueueKey, BTreeMap<TaskId, Rc<Watch>>>;

thread_local! {
    static WATCHED: RefCell<Watched> = const { RefCell::new(BTreeMap::new()) };
    /// How many tasks are awaited.
    static AWAITED: Cell<usize> = const { Cell::new(0) };
    /// How many clients wait, those who are about to be woken among them.
    static ASKERS: Cell<usize> = const { Cell::new(0) };
    static TICKETS: Cell<u64> = const { Cell::new(0) };
    /// Whose task has ended, and who are to be woken.
    static ENDED: RefCell<VecDeque<Rc<Watch>>> = const { RefCell::new(VecDeque::new()) };
    /// The task that the last beat looked at last.
    static LOOKED: RefCell<Option<(QueueKey, TaskId)>> = const { RefCell::new(None) };
}

/// How many clients wait for results on this node.
pub fn total() -> usize {
    ASKERS.get()
}

/// What is told of a task that is over; `None` while it isn't.
pub fn told<'a>(task: &TaskView<'a>) -> Option<(&'static str, Option<&'a [u8]>)> {
    match task.state {
        State::Done => Some((task.state.name(), task.result)),
        State::Dead => Some((task.state.name(), error_of(task))),
        State::Ready | State::Delayed | State::Leased => None,
    }
}

fn error_of<'a>(task: &TaskView<'a>) -> Option<&'a [u8]> {
    Some(task.error).filter(|error| !error.is_empty())
}

/// Replies how a task ended.
pub fn reply_told(reply: Reply<'_>, word: &str, value: Option<&[u8]>) {
    reply.array(2);
    reply.bulk(word.as_bytes());
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

/// An event has changed a queue: who waits for what it ended is told soon.
pub fn on_event(ctx: Context<'_>, key: Arg<'_>, queue: &Queue, now: &Now, event: &Event) {
    if AWAITED.get() == 0 {
        return;
    }
    let queue_key = QueueKey::new(ctx.selected_db(), key.as_bytes());
    event.ends(&mut |id, outcome| {
        let Some(watch) = take(&queue_key, id) else { return };
        let task = queue.task(now, id);
        let value = match outcome {
            Outcome::Done(result) => result,
            Outcome::Dead => task.as_ref().and_then(error_of),
            Outcome::Cancelled | Outcome::Expired | Outcome::Purged => None,
        };
        ends(watch, End::Told { word: outcome.name(), value: value.map(Box::from) });
    });
}

/// Takes a task's watch out of the table.
fn take(queue_key: &QueueKey, id: TaskId) -> Option<Rc<Watch>> {
    WATCHED.with_borrow_mut(|watched| {
        let tasks = watched.get_mut(queue_key)?;
        let watch = tasks.remove(&id)?;
        if tasks.is_empty() {
            watched.remove(queue_key);
        }
        AWAITED.set(AWAITED.get().saturating_sub(1));
        Some(watch)
    })
}

fn ends(watch: Rc<Watch>, end: End) {
    // It was in the table, so nobody has told it yet.
    let _ = watch.end.set(end);
    ENDED.with_borrow_mut(|ended| ended.push_back(watch));
    agenda::soon();
}

/// Wakes those whose task has ended, for a slice of time; true if there are more. Nothing is open or borrowed
/// meanwhile: a reply may run at once.
pub fn wake() -> bool {
    let started = Instant::now();
    while let Some(watch) = ENDED.with_borrow(|ended| ended.front().cloned()) {
        let next = watch.askers.borrow_mut().pop_first();
        match next {
            Some((_, asker)) => {
                ASKERS.set(ASKERS.get().saturating_sub(1));
                asker.wake();
            }
            None => {
                ENDED.with_borrow_mut(VecDeque::pop_front);
            }
        }
        if started.elapsed() >= SLICE {
            break;
        }
    }
    ENDED.with_borrow(|ended| !ended.is_empty())
}

/// Blocks the client of the running command until the task ends; false where it can't be blocked.
pub fn wait(ctx: Context<'_>, key: Arg<'_>, id: TaskId, timeout_ms: u64) -> bool {
    if ctx.flags().denies_blocking() {
        return false;
    }
    let queue_key = QueueKey::new(ctx.selected_db(), key.as_bytes());
    let known = WATCHED.with_borrow(|watched| watched.get(&queue_key)?.get(&id).cloned());
    let watch = known.unwrap_or_else(|| {
        let (end, askers) = (OnceCell::new(), RefCell::default());
        Rc::new(Watch { queue_key: queue_key.clone(), id, end, askers })
    });
    TICKETS.set(TICKETS.get() + 1);
    let ticket = TICKETS.get();
    let asker = Asker { watch: Rc::clone(&watch), ticket, user: User::of_client(ctx) };
    let Ok(asker) = block(ctx, key, timeout_ms, asker) else { return false };
    watch.askers.borrow_mut().insert(ticket, asker);
    ASKERS.set(ASKERS.get() + 1);
    let is_new =
        WATCHED.with_borrow_mut(|watched| watched.entry(queue_key).or_default().insert(id, watch).is_none());
    AWAITED.set(AWAITED.get() + usize::from(is_new));
    true
}

/// The server's regular work: answers those who wait for what isn't there any more.
pub fn on_cron(ctx: Context<'_>) {
    // While data is loaded a queue is missing that will be there again.
    if AWAITED.get() == 0 || ctx.flags().is_loading() {
        return;
    }
    for (queue_key, ids) in next_to_look_at() {
        look_at(ctx, &queue_key, ids);
    }
}

/// The next tasks in the order of the table, at most [`LOOKED_AT`]; after the last the first comes again.
fn next_to_look_at() -> Vec<(QueueKey, Vec<TaskId>)> {
    let last = LOOKED.take();
    let mut chosen: Vec<(QueueKey, Vec<TaskId>)> = Vec::new();
    let mut left = LOOKED_AT;
    WATCHED.with_borrow(|watched| {
        let start = last.as_ref().map_or(Bound::Unbounded, |(queue_key, _)| Bound::Included(queue_key));
        for (queue_key, tasks) in watched.range((start, Bound::Unbounded)) {
            let after = last.as_ref().filter(|(last, _)| last == queue_key);
            let start = after.map_or(Bound::Unbounded, |(_, id)| Bound::Excluded(*id));
            let ids: Vec<TaskId> =
                tasks.range((start, Bound::Unbounded)).map(|(id, _)| *id).take(left).collect();
            left -= ids.len();
            chosen.push((queue_key.clone(), ids));
            if left == 0 {
                break;
            }
        }
    });
    if left == 0 {
        let last = chosen.last().and_then(|(queue_key, ids)| Some((queue_key.clone(), *ids.last()?)));
        LOOKED.set(last);
    }
    chosen
}

fn look_at(ctx: Context<'_>, queue_key: &QueueKey, ids: Vec<TaskId>) {
    if ctx.select_db(queue_key.db).is_err() {
        return;
    }
    let key = OwnedString::new(&queue_key.name);
    let open = KeyRead::peek(ctx, key.as_arg());
    let value = match open.as_ref().map(|open| open.value(&QUEUES)) {
        Some(Ok(value)) => value,
        // Another type, or in use by an outer call: then the next beat looks.
        Some(Err(crate::api::key::KeyError::Busy)) => return,
        Some(Err(crate::api::key::KeyError::WrongType)) | None => None,
    };
    let now = clock::now(ctx);
    for id in ids {
        let end = match value {
            None => End::NoQueue,
            Some(value) => match value.queue.task(&value.now(now), id) {
                None => End::Unknown,
                Some(task) => match told(&task) {
                    Some((word, value)) => End::Told { word, value: value.map(Box::from) },
                    None if !value.broken.is_empty() => End::Broken,
                    None => continue,
                },
            },
        };
        if let Some(watch) = take(queue_key, id) {
            ends(watch, end);
        }
    }
}

/// Takes somebody out of those who wait for a task, and the task out of the table with the last.
fn leave(asker: &Asker) {
    let watch = &asker.watch;
    let left = watch.askers.borrow_mut().remove(&asker.ticket);
    if left.is_none() {
        return;
    }
    ASKERS.set(ASKERS.get().saturating_sub(1));
    if watch.askers.borrow().is_empty() && watch.end.get().is_none() {
        take(&watch.queue_key, watch.id);
    }
}

impl Asker {
    /// Whether its user still may ask.
    fn may_know(&self) -> bool {
        let Watch { queue_key, id, .. } = &*self.watch;
        self.user
            .as_ref()
            .is_none_or(|user| user.may(queue_key.db, &[b"TASK.RESULT", &queue_key.name, &id.text()]))
    }
}

impl Waiting for Asker {
    fn on_reply(&self, ctx: Context<'_>) {
        leave(self);
        let reply = ctx.reply();
        match self.watch.end.get() {
            Some(_) if !self.may_know() => reply.error(&Error::NoPermission.to_string()),
            Some(End::Told { word, value }) => reply_told(reply, word, value.as_deref()),
            Some(End::Broken) => reply.error(&Error::Broken.to_string()),
            // Whoever asks again is sent where the queue is, or told that there is none.
            Some(End::NoQueue) if ctx.is_cluster() => reply.error(&Error::TryAgain.to_string()),
            Some(End::Unknown | End::NoQueue) => reply.integer(0),
            None => reply.null(),
        }
    }

    fn on_end(&self) {
        leave(self);
    }
}
