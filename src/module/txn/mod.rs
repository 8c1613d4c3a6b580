//! The one way a queue changes on a primary: what is due moves first, then the verb decides and its events are
//! applied, waiting workers get what is ready, and one effect tells replicas and AOF what happened.

mod claim;
mod payloads;
mod serve;
mod served;

use std::cell::Cell;

use taskslot_engine::{Effect, Event, Millis, Now, Queue, Totals};
use taskslot_node::ReadyGroups;

use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notifications::Notifications;
use crate::waiters::{self, BlockedWorker};
use crate::{change, clock, clock_notice, entropy, metrics, replication, term};
use taskslot_api::blocked::Waiter;
use taskslot_api::key::KeyWrite;
use taskslot_api::server::replicates_scripts;
use taskslot_api::{Arg, Context, Level};

use payloads::Payloads;
use served::Served;

/// Pages of due tasks that a command moves before its own work, at most.
const DUE_PAGES: usize = 8;
/// A larger buffer of an effect isn't kept for the next one.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    /// The last effect's buffer, so that a command doesn't pay for a new one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a write does where there is no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It makes a queue, if it changes anything. The server has refused the command if it is out of memory.
    Create,
    /// The same, of a command that the server lets pass: refused here where the server is out of memory.
    CreateWithMemory,
    /// It does nothing.
    Skip,
}

/// A queue while it is being changed. All changes go through `apply`, and what was applied is in the effect when the
/// write ends.
pub struct Txn<'a, 'q> {
    /// The context of the call.
    pub ctx: Context<'a>,
    /// The queue's key.
    pub key: Arg<'a>,
    /// What time it is in this call, on the queue's clock.
    pub now: Now,
    /// The same on the node's clock.
    node_now: Now,
    value: &'q mut TaskQueue,
    /// The queue's totals before.
    before: [u64; Totals::COUNT],
    effect: Effect,
    payloads: Payloads<'a>,
    notifications: Notifications,
    /// For whom there may be tasks now.
    ready: ReadyGroups,
    served: Served,
}

/// What is to be done once the key is closed, since other modules and replies may run at once.
struct After {
    has_changed: bool,
    served: Vec<Waiter<BlockedWorker>>,
    notifications: Notifications,
}

/// Opens a key to change the queue in it. `Ok(None)` where there is no key and [`Missing::Skip`].
pub fn write<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    missing: Missing,
    body: impl FnOnce(&mut Txn<'a, '_>) -> Result<R, Error>,
) -> Result<Option<R>, Error> {
    if replicates_scripts(ctx) {
        return Err(Error::ScriptReplicated);
    }
    let mut open = KeyWrite::open(ctx, key).ok_or(Error::Busy)?;
    let now = clock::now(ctx);
    let mut made = None;
    let (value, is_new) = match open.value_mut(&QUEUES)? {
        Some(value) => (value, false),
        None if missing == Missing::Skip => return Ok(None),
        None if missing == Missing::CreateWithMemory && ctx.is_out_of_memory() => {
            return Err(Error::OutOfMemory);
        }
        None => (made.insert(TaskQueue::new()), true),
    };
    let mut txn = Txn::begin(ctx, key, value, now, is_new)?;
    let result = txn.run(body);
    let after = txn.finish();
    // A key stands for a queue that something has happened to.
    if let Some(made) = made.filter(|_| after.has_changed) {
        open.set_value(&QUEUES, made)?;
    }
    drop(open);
    waiters::wake_soon(after.served);
    after.notifications.send(ctx, key);
    result.map(Some)
}

impl<'a, 'q> Txn<'a, 'q> {
    /// Begins to change a queue. Errors: it was given up.
    fn begin(
        ctx: Context<'a>,
        key: Arg<'a>,
        value: &'q mut TaskQueue,
        node_now: Now,
        is_new: bool,
    ) -> Result<Txn<'a, 'q>, Error> {
        if !value.health.is_sound() {
            return Err(Error::Broken);
        }
        value.keep_clock();
        let now = value.now(node_now);
        value.queue.observe(now.at);
        let mut ready = ReadyGroups::at_first(&value.queue);
        // Another queue may have stood here before.
        ready.is_unknown = is_new;
        Ok(Txn {
            ctx,
            key,
            now,
            node_now,
            before: value.queue.totals().values(),
            value,
            effect: Effect::reusing(BUFFER.take()),
            payloads: Payloads::default(),
            notifications: Notifications::default(),
            ready,
            served: Served::default(),
        })
    }

    /// The verb's work, and what comes before and after it.
    fn run<R>(&mut self, body: impl FnOnce(&mut Txn<'a, 'q>) -> Result<R, Error>) -> Result<R, Error> {
        self.tell_clock()?;
        if self.value.hint.is_due(self.node_now.at) {
            self.move_due(DUE_PAGES)?;
        }
        self.serve();
        let result = body(self);
        self.serve();
        result
    }

    /// Tells replicas and the AOF what happened, and the agenda when there is more to do.
    fn finish(mut self) -> After {
        let has_changed = !self.effect.is_empty();
        if has_changed || !self.value.health.is_sound() {
            metrics::add(&self.before, &self.value.queue.totals().values());
            self.value.update_gauges();
        }
        if has_changed {
            self.replicate();
        }
        self.value.put_on_agenda(self.ctx, self.key, &self.node_now);
        let buffer = self.effect.into_buffer();
        if buffer.capacity() <= BUFFER_BYTES {
            BUFFER.set(buffer);
        }
        After { has_changed, served: self.served.waiters, notifications: self.notifications }
    }

    fn replicate(&mut self) {
        let Txn { ctx, key, .. } = *self;
        let bytes = self.effect.seal(self.value.queue.count_effect(), self.now.at);
        if ctx.replicate(replication::APPLY, key, bytes, self.payloads.as_slice()).is_err() {
            ctx.log(Level::Warning, "a change of a queue could not be replicated");
        }
        ctx.signal_modified(key);
        clock_notice::on_change();
    }

    /// The queue: it is changed by [`Txn::commit`], [`Txn::commit_push`] and [`Txn::claim`] only.
    pub fn queue(&self) -> &Queue {
        &self.value.queue
    }

    /// Counts a push that was refused.
    pub fn count_refused(&mut self) {
        self.value.refused += 1;
    }

    /// Counts a request that was sent again and answered as before.
    pub fn count_duplicate(&mut self) {
        self.value.duplicate += 1;
    }

    /// Counts a push that found another task with its UNIQUE token.
    pub fn count_found(&mut self) {
        self.value.found += 1;
    }

    /// A hint for this time has brought us here.
    pub fn hint_fired(&self, due: Millis) {
        self.value.hint.fired(due);
    }

    /// Moves what is due, at most `pages` pages. True if there may be more.
    pub fn move_due(&mut self, pages: usize) -> Result<bool, Error> {
        let mut left = pages;
        self.now.is_full = self.ctx.is_out_of_memory();
        while let Some(event) = self.value.queue.tick(self.now, &mut entropy::bits, &mut left) {
            self.commit(&event)?;
        }
        Ok(left == 0)
    }

    /// Applies an event and puts it into the effect.
    pub fn commit(&mut self, event: &Event) -> Result<(), Error> {
        debug_assert!(event.changes().payloads.is_empty(), "payloads go along by `commit_push`");
        self.begin_term()?;
        self.record(event)
    }

    /// Applies a push, or what took its place. Its payloads go along as the server's own strings. Done tasks that are in
    /// its way go first.
    pub fn commit_push(&mut self, event: &Event, payloads: &'a [Arg<'a>]) -> Result<(), Error> {
        debug_assert!(
            event.changes().payloads.iter().copied().eq(payloads.iter().map(|payload| payload.as_bytes())),
            "the event's payloads are what replicas get"
        );
        while let Some(room) = self.queue().make_room(event) {
            self.commit(&room)?;
        }
        self.begin_term()?;
        self.record(event)?;
        self.payloads.add(payloads);
        Ok(())
    }

    /// Refuses what makes the data grow, by so many bytes, where the server is out of memory. To be asked before anything
    /// is changed.
    pub fn afford(&self, growth: i64) -> Result<(), Error> {
        if growth > 0 && self.ctx.is_out_of_memory() { Err(Error::OutOfMemory) } else { Ok(()) }
    }

    /// It isn't known what has become claimable: all who wait are looked at.
    pub fn set_all_ready(&mut self) {
        self.ready = ReadyGroups::unknown();
    }

    /// A queue that has come from elsewhere has a clock of its own, which each node that restored it found for itself: what
    /// the primary found holds.
    fn tell_clock(&mut self) -> Result<(), Error> {
        match std::mem::take(&mut self.value.clock_untold) {
            true => self.record(&self.value.queue.clock_event()),
            false => Ok(()),
        }
    }

    /// What is said before the first change by this node: that another primary changes the queue now. Also before what
    /// depends on that is decided.
    fn begin_term(&mut self) -> Result<(), Error> {
        let Some(mut event) = self.value.queue.begin_term(self.now, term::current()) else { return Ok(()) };
        if let Event::Term { clocks, .. } = &mut event {
            *clocks = Some(clock::stamp());
        }
        self.record(&event)
    }

    /// Applies an event and puts it into the effect as it is.
    fn record(&mut self, event: &Event) -> Result<(), Error> {
        self.apply(event)?;
        self.effect.add(event);
        Ok(())
    }

    /// Applies an event, which the effect is to tell.
    fn apply(&mut self, event: &Event) -> Result<(), Error> {
        if waiters::total() > 0 {
            self.ready.note(&self.value.queue, &event.changes());
        }
        let changes = change::apply(self.ctx, self.key, self.value, &self.now, event)?;
        self.notifications.add(changes.kinds);
        Ok(())
    }
}
