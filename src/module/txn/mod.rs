//! Writes: the only way to change a queue on a primary.
//!
//! A write first moves the tasks that are due. Then the command decides, and its events are applied. Waiting workers
//! get the ready tasks. In the end, one effect with all these events goes to replicas and the AOF.

mod claim;
mod payloads;
mod serve;
mod served;

use std::cell::Cell;
use std::mem;

use taskslot_edges::{edge, rare};
use taskslot_engine::{Effect, Event, Millis, Now, Queue, Refusal, Stopped, Totals};
use taskslot_node::{HintId, ReadyGroups};

use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notifications::Notifications;
use crate::waiters::{self, BlockedWorker};
use crate::{agenda, change, clock, clock_notice, entropy, metrics, replication, term};
use taskslot_api::blocked::Waiter;
use taskslot_api::key::KeyWrite;
use taskslot_api::server::replicates_scripts;
use taskslot_api::{Arg, Context};

use payloads::Payloads;
use served::Served;

/// The most pages of due tasks that a command moves before its own work. At least two: one can be searched in vain.
const DUE_PAGES: usize = edge(8, 2);
/// About how many tasks a page has.
const PAGE_TASKS: usize = edge(128, 2);
/// About the most held tasks that a command lets go because of what it did itself. The others follow by the timer, at
/// once.
const NEWS_TASKS: usize = edge(1000, 8);
/// The largest buffer of an effect that is kept for the next one.
const BUFFER_BYTES: usize = edge(64 * 1024, 64);

thread_local! {
    /// The buffer of the last effect, so that the next command needn't allocate one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a write does if the key doesn't exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It creates a queue, if it changes anything. For commands that the server itself refuses when it is out of
    /// memory.
    Create,
    /// Like `Create`, for commands that the server accepts when it is out of memory. The write is refused then.
    CreateWithMemory,
    /// It does nothing, and `body` isn't called.
    Skip,
}

/// A write in progress. All changes go through [`Txn::apply`], and each applied event is in the effect when the write
/// ends.
pub struct Txn<'a, 'q> {
    /// The context of the call.
    pub ctx: Context<'a>,
    /// The queue's key.
    pub key: Arg<'a>,
    /// The time of this write, on the queue's clock.
    pub now: Now,
    /// The time of this write, on the node's clock.
    node_now: Now,
    value: &'q mut TaskQueue,
    /// The queue's totals before the write.
    before: [u64; Totals::COUNT],
    effect: Effect,
    payloads: Payloads<'a>,
    notifications: Notifications,
    /// The groups and workers for which there may be tasks now; `None` if no worker waits for the queue.
    ready: Option<ReadyGroups>,
    served: Served,
    /// The answer says what an earlier write has done.
    refers_back: bool,
}

/// What remains to be done once the key is closed: replies and other modules can run code that opens it again.
struct After {
    has_changed: bool,
    served: Vec<Waiter<BlockedWorker>>,
    notifications: Notifications,
}

/// Opens a key and changes the queue in it with `body`. `Ok(None)` if the key doesn't exist and `missing` is
/// [`Missing::Skip`].
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
    let mut created = None;
    let (value, is_new) = match open.value_mut(&QUEUES)? {
        Some(value) => (value, false),
        None if missing == Missing::Skip => return Ok(None),
        None if missing == Missing::CreateWithMemory && ctx.is_out_of_memory() => {
            return Err(Error::OutOfMemory);
        }
        None => (created.insert(TaskQueue::new()), true),
    };
    if !value.health.is_sound() {
        return Err(Error::Broken);
    }
    let mut txn = Txn::begin(ctx, key, value, now, is_new);
    let result = txn.run(body);
    let after = txn.finish();
    // A write that changed nothing creates no key.
    if let Some(created) = created.filter(|_| after.has_changed) {
        open.set_value(&QUEUES, created)?;
    }
    drop(open);
    waiters::wake_soon(after.served);
    after.notifications.send(ctx, key);
    result.map(Some)
}

impl<'a, 'q> Txn<'a, 'q> {
    /// Begins a write of a sound queue. It is large, so it is never moved: not even in a `Result`.
    fn begin(
        ctx: Context<'a>,
        key: Arg<'a>,
        value: &'q mut TaskQueue,
        node_now: Now,
        is_new: bool,
    ) -> Txn<'a, 'q> {
        value.keep_clock();
        let now = value.now(node_now);
        value.queue.observe(now.at);
        let mut ready = waiters::any(ctx, key).then(|| match waiters::are_put_off(ctx, key) {
            true => {
                rare!("a write offers what an earlier one has put off");
                ReadyGroups::unknown()
            }
            false => ReadyGroups::at_first(&value.queue),
        });
        if let (Some(ready), true) = (&mut ready, is_new) {
            // Another queue can have been at this key before, for which workers wait.
            ready.is_unknown = true;
        }
        Txn {
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
            refers_back: false,
        }
    }

    /// Does the work of the command, and what comes before and after it.
    fn run<R>(&mut self, body: impl FnOnce(&mut Txn<'a, 'q>) -> Result<R, Error>) -> Result<R, Error> {
        self.replicate_clock()?;
        if self.value.noted.is_due(self.node_now.at) {
            self.move_due(DUE_PAGES)?;
        }
        self.serve();
        let result = body(self);
        // What the command did counts, even if the queue can't be changed any more.
        let _ = self.settle();
        result
    }

    /// Ends the write: replicates the effect, and notes on the agenda when the queue has work to do.
    fn finish(&mut self) -> After {
        let has_changed = !self.effect.is_empty();
        if has_changed || !self.value.health.is_sound() {
            metrics::add(&self.before, &self.value.queue.totals().values());
            self.value.update_gauges();
        }
        if has_changed {
            self.replicate();
        } else if self.refers_back {
            clock_notice::send(self.ctx);
        }
        self.value.put_on_agenda(self.ctx, self.key, &self.node_now);
        if self.ready.is_some() {
            self.put_gathering_on_agenda();
        }
        let buffer = mem::take(&mut self.effect).into_buffer();
        if buffer.capacity() <= BUFFER_BYTES {
            BUFFER.set(buffer);
        } else {
            rare!("an effect was too large for its memory to be kept");
        }
        let served = mem::take(&mut self.served.waiters);
        After { has_changed, served, notifications: self.notifications }
    }

    /// Notes on the agenda when a worker that gathers takes what is there.
    fn put_gathering_on_agenda(&self) {
        let end = waiters::gather_end(self.ctx, self.key).filter(|&end| end < Millis::MAX);
        if let Some(end) = end.filter(|_| self.value.queue.is_claimable(self.now.at)) {
            agenda::put(self.ctx, self.key, &self.value.noted, self.node_now.at, end);
        }
    }

    fn replicate(&mut self) {
        let Txn { ctx, key, .. } = *self;
        let (number, payloads) = (self.value.queue.count_effect(), self.payloads.as_slice());
        let beside = payloads.iter().map(|payload| payload.as_bytes());
        let bytes = self.effect.seal(number, self.now.at, key.as_bytes(), beside);
        replication::send(ctx, replication::APPLY, key, bytes, payloads);
        ctx.signal_modified(key);
        clock_notice::on_change();
    }

    /// The queue, for reading. [`Txn::commit`], [`Txn::commit_push`] and [`Txn::claim`] change it.
    pub fn queue(&self) -> &Queue {
        &self.value.queue
    }

    /// Notes where a search stopped, so that the next one goes on there.
    pub fn note_search(&mut self, stopped: Stopped) {
        self.value.queue.note_search(stopped);
    }

    /// Counts a push that was refused because the queue is full or paused. The mistakes of callers don't count.
    pub fn count_refused(&mut self, refusal: &Refusal) {
        self.value.refused += u64::from(refusal.is_of_state());
    }

    /// Counts a request that was sent again and answered as before.
    pub fn count_duplicate(&mut self) {
        self.value.duplicate += 1;
        self.refer_back();
    }

    /// Counts a push that found another task with its UNIQUE token.
    pub fn count_found(&mut self) {
        self.value.found += 1;
        self.refer_back();
    }

    /// Notes that the answer says what an earlier write has done, perhaps one of another connection. The server counts
    /// WAIT and WAITAOF from the last write of a connection. So a call that changes nothing then sends the time of this
    /// node's clock to replicas and the AOF: whoever has that has the earlier write too.
    pub fn refer_back(&mut self) {
        self.refers_back = true;
    }

    /// Notes that this hint has fired.
    pub fn hint_fired(&self, id: HintId) {
        self.value.noted.fired(id);
    }

    /// Moves due tasks, at most `pages` pages. Returns whether there may be more.
    pub fn move_due(&mut self, pages: usize) -> Result<bool, Error> {
        let mut left = pages;
        self.now.is_full = self.ctx.is_out_of_memory();
        while let Some(event) = self.value.queue.tick(self.now, &mut entropy::bits, &mut left) {
            if let Event::Told { .. } = event {
                // A dropped task can be as much work as a page.
                left = left.saturating_sub(self.queue().work(&event) / PAGE_TASKS);
            }
            self.commit(&event)?;
        }
        if left == 0 {
            rare!("a write has moved all the due tasks that it may");
        }
        Ok(left == 0)
    }

    /// Lets go the held tasks whose wait this write has ended, as far as that is bounded, and gives ready tasks to the
    /// workers that wait.
    pub fn settle(&mut self) -> Result<(), Error> {
        if self.queue().has_news() {
            self.tell()?;
        }
        self.serve();
        Ok(())
    }

    #[cold]
    fn tell(&mut self) -> Result<(), Error> {
        let mut left = NEWS_TASKS;
        while left > 0 && self.queue().has_news() {
            // One page of leases that ended can come first, and be spared by a grace.
            let mut pages = 2;
            let event = self.value.queue.tick(self.now, &mut entropy::bits, &mut pages);
            let Some(event) = event else { break };
            left = left.saturating_sub(self.queue().work(&event).max(1));
            self.commit(&event)?;
        }
        if left == 0 {
            rare!("a write has let go all the held tasks that it may");
        }
        Ok(())
    }

    /// Applies an event and adds it to the effect.
    pub fn commit(&mut self, event: &Event) -> Result<(), Error> {
        debug_assert!(event.changes().payloads.is_empty(), "payloads go along by `commit_push`");
        self.begin_term()?;
        self.record(event)
    }

    /// Applies the event of a push, or of the replacement that it became. Done tasks are removed first if it needs
    /// their room. Its payloads are replicated as the server's own strings, without a copy.
    pub fn commit_push(&mut self, event: &Event, payloads: &'a [Arg<'a>]) -> Result<(), Error> {
        debug_assert!(
            event.changes().payloads.iter().copied().eq(payloads.iter().map(|payload| payload.as_bytes())),
            "the event's payloads are what replicas get"
        );
        while let Some(room) = self.queue().make_room(event) {
            rare!("done tasks make room for a push");
            self.commit(&room)?;
        }
        self.begin_term()?;
        self.record(event)?;
        self.payloads.add(payloads);
        Ok(())
    }

    /// Checks that a change which makes the data grow by this many bytes is allowed: it is refused if the server is out
    /// of memory. Called before anything changes.
    pub fn afford(&self, growth: i64) -> Result<(), Error> {
        if growth > 0 && self.ctx.is_out_of_memory() { Err(Error::OutOfMemory) } else { Ok(()) }
    }

    /// Makes the write look at all workers that wait, because it isn't known which tasks have become ready.
    pub fn set_all_ready(&mut self) {
        self.ready = self.ready.take().map(|_| ReadyGroups::unknown());
    }

    /// Replicates the offset of the queue's clock, once, if the queue came from another node. Each node that restored
    /// the queue has computed an offset of its own; with this event all of them take the primary's.
    fn replicate_clock(&mut self) -> Result<(), Error> {
        match mem::take(&mut self.value.must_replicate_clock) {
            true => self.record(&self.value.queue.clock_event()),
            false => Ok(()),
        }
    }

    /// Begins this node's term in the queue, before the first change that it makes there as a primary. Called before
    /// decisions that depend on the term.
    fn begin_term(&mut self) -> Result<(), Error> {
        let Some(mut event) = self.value.queue.begin_term(self.now, term::current()) else { return Ok(()) };
        if let Event::Term { clocks, .. } = &mut event {
            *clocks = Some(clock::stamp());
        }
        self.record(&event)
    }

    /// Applies an event and adds it to the effect, without beginning a term.
    fn record(&mut self, event: &Event) -> Result<(), Error> {
        self.apply(event)?;
        self.effect.add(event);
        Ok(())
    }

    /// Applies an event. The caller adds it to the effect.
    fn apply(&mut self, event: &Event) -> Result<(), Error> {
        if let Some(ready) = &mut self.ready {
            ready.note(&self.value.queue, &event.changes());
        }
        let changes = change::apply(self.ctx, self.key, self.value, &self.now, event)?;
        self.notifications.add(changes.kinds);
        Ok(())
    }
}
