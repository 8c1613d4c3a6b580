//! The one way a queue changes on a primary: what is due moves first, then the verb decides and its events are
//! applied, waiting workers get what is ready, and one effect tells replicas and AOF what happened.

use std::cell::Cell;

use taskslot_engine::{
    Answer, Claim, Claiming, Effect, Event, Handle, Holder, Lease, Now, Refusal, TaskId, Totals,
};
use taskslot_node::{QueueAt, ReadyGroups};

use crate::api::blocked::Waiter;
use crate::api::key::KeyWrite;
use crate::api::server::replicates_scripts;
use crate::api::{Arg, Context, Level};
use crate::claims::{Claims, Delivery, Kept};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::notifications::Notifications;
use crate::waiters::{self, BlockedWorker};
use crate::{agenda, change, clock, clock_notice, connections, entropy, metrics, replication, term};

/// Pages of due tasks that a command moves before its own work, at most.
const DUE_PAGES: usize = 8;

/// Tasks that one write gives to waiting workers, about: the others' turn comes with the next round of the server.
const SERVED_TASKS: usize = 250;
/// Payloads that one write gives to waiting workers, in bytes, about: each is copied for its worker and once more for the
/// reply.
const SERVED_BYTES: usize = 16 << 20;
/// Names of workers that a queue takes while the server is out of memory.
const NAMES_WHEN_FULL: usize = 1000;
/// Bytes of answers to requests that a queue goes on remembering while the server is out of memory.
const REQUEST_BYTES_WHEN_FULL: u64 = 64 << 10;
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

/// A queue while it is being changed.
pub struct Write<'a, 'q> {
    /// The context of the call.
    pub ctx: Context<'a>,
    /// The queue's key.
    pub key: Arg<'a>,
    /// The queue; changed by [`Write::commit`] only.
    pub value: &'q mut TaskQueue,
    /// What time it is in this call, on the queue's clock.
    pub now: Now,
    /// The same on the node's clock.
    node_now: Now,
    effect: Effect,
    payloads: &'a [Arg<'a>],
    served: Vec<Waiter<BlockedWorker>>,
    /// How many tasks they were given, and how many bytes of payloads.
    given: usize,
    given_bytes: usize,
    /// For whom there may be tasks now.
    ready: ReadyGroups,
    /// The queue's totals before.
    before: [u64; Totals::COUNT],
    notifications: Notifications,
}

/// Opens a key to change the queue in it. `Ok(None)` where there is no key and [`Missing::Skip`].
pub fn write<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    missing: Missing,
    body: impl FnOnce(&mut Write<'a, '_>) -> Result<R, Error>,
) -> Result<Option<R>, Error> {
    if replicates_scripts(ctx) {
        return Err(Error::ScriptReplicated);
    }
    let mut open = KeyWrite::open(ctx, key).ok_or(Error::Busy)?;
    let node_now = clock::now(ctx);
    let mut made = None;
    let mut is_new = false;
    let value = match open.value_mut(&QUEUES)? {
        Some(value) => value,
        None if missing == Missing::Skip => return Ok(None),
        None if missing == Missing::CreateWithMemory && ctx.is_out_of_memory() => {
            return Err(Error::OutOfMemory);
        }
        None => {
            is_new = true;
            made.insert(TaskQueue::new())
        }
    };
    if !value.broken.is_empty() {
        return Err(Error::Broken);
    }
    value.keep_clock();
    let now = value.now(node_now);
    value.queue.observe(now.at);
    let before = value.queue.totals().values();
    let (effect, payloads, served) = (Effect::reusing(BUFFER.take()), &[][..], Vec::new());
    let mut ready = ReadyGroups::at_first(&value.queue);
    ready.is_unknown = is_new;
    let notifications = Notifications::default();
    let mut write = Write {
        ctx,
        key,
        value,
        now,
        node_now,
        effect,
        payloads,
        served,
        given: 0,
        given_bytes: 0,
        ready,
        before,
        notifications,
    };
    let result = write.run(body);
    let (served, changed) = (std::mem::take(&mut write.served), !write.effect.is_empty());
    let notifications = write.notifications;
    write.finish();
    if let Some(made) = made.filter(|_| changed) {
        open.set_value(&QUEUES, made)?;
    }
    drop(open);
    waiters::wake_soon(served);
    notifications.send(ctx, key);
    result.map(Some)
}

impl<'a, 'q> Write<'a, 'q> {
    fn run<R>(&mut self, body: impl FnOnce(&mut Write<'a, 'q>) -> Result<R, Error>) -> Result<R, Error> {
        self.tell_clock()?;
        // A hint is never later than what is due.
        if self.value.hint.is_due(self.node_now.at) {
            self.move_due(DUE_PAGES)?;
        }
        self.serve();
        let result = body(self);
        self.serve();
        result
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
        self.begin_term()?;
        self.apply(event)
    }

    /// A queue that has come from elsewhere has a clock of its own, which each node that restored it found for itself: what
    /// the primary found holds.
    fn tell_clock(&mut self) -> Result<(), Error> {
        match std::mem::take(&mut self.value.clock_untold) {
            true => self.apply(&self.value.queue.clock_told()),
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
        self.apply(&event)
    }

    fn apply(&mut self, event: &Event) -> Result<(), Error> {
        if waiters::total() > 0 {
            self.ready.note(&self.value.queue, event);
        }
        change::apply(self.ctx, self.key, self.value, &self.now, event)?;
        self.effect.add(event);
        self.notifications.add(event);
        Ok(())
    }

    /// Refuses what makes the data grow, by so many bytes, where the server is out of memory. To be asked before anything
    /// is changed.
    pub fn afford(&self, growth: i64) -> Result<(), Error> {
        if growth > 0 && self.ctx.is_out_of_memory() { Err(Error::OutOfMemory) } else { Ok(()) }
    }

    /// A claim as the server can bear it. Out of memory it isn't refused, since that is how a full queue drains, but of
    /// what it leaves beside leases no more than a little is kept: a name that isn't there yet, an answer that could
    /// be given again.
    fn bearable<'c>(&self, claims: &Claims<'c>) -> Claims<'c> {
        let (queue, mut claims) = (&self.value.queue, *claims);
        let worker = claims.claim.worker;
        let adds_name = queue.workers_busy() >= NAMES_WHEN_FULL && !queue.knows_worker(worker);
        let adds_answer = claims.request.is_some() && queue.request_bytes() >= REQUEST_BYTES_WHEN_FULL;
        if (adds_name || adds_answer) && self.ctx.is_out_of_memory() {
            claims.claim.worker = if adds_name { &[] } else { worker };
            claims.request = claims.request.filter(|_| !adds_answer);
        }
        claims
    }

    /// It isn't known what has become claimable: all who wait are looked at.
    pub fn set_all_ready(&mut self) {
        self.ready = ReadyGroups::unknown();
    }

    /// Applies the one push of a write, or what took its place, whose payloads go along as the server's own strings.
    /// Done tasks that are in its way go first.
    pub fn commit_push(&mut self, event: &Event, payloads: &'a [Arg<'a>]) -> Result<(), Error> {
        while let Some(room) = self.value.queue.make_room(event) {
            self.commit(&room)?;
        }
        self.commit(event)?;
        self.payloads = payloads;
        Ok(())
    }

    /// Decides and applies a claim. `deliver` sees how many tasks there are, and each. The leases, none with NOACK.
    pub fn claim(
        &mut self,
        claims: &Claims<'_>,
        mut deliver: impl FnMut(usize, &Delivery<'_>),
    ) -> Result<Vec<Lease>, Error> {
        let claims = &self.bearable(claims);
        if let Some(event) = self.value.queue.pass_over(self.now, &claims.claim) {
            self.commit(&event)?;
        }
        let (queue, at) = (&self.value.queue, self.now.at);
        let Claim { group, worker, .. } = claims.claim;
        if !queue.is_claimable_for(at, group, worker) && !queue.is_behind(at) {
            return Ok(Vec::new());
        }
        if waiters::total() > 0 {
            self.ready.note_awaited(queue);
        }
        self.begin_term()?;
        let (event, taken) = self.take_turns(claims)?;
        taken.iter().for_each(|task| deliver(taken.len(), &task.delivery()));
        let Some(Event::Claimed { leases, .. }) = event else { return Ok(Vec::new()) };
        if let Some(connection) = claims.connection {
            self.tie(connection, leases.iter().map(|lease| lease.id));
        }
        if let Some(token) = claims.request {
            let answer = Answer::Claimed { handles: leases.iter().map(Lease::handle).collect() };
            let event = self.value.queue.answered(self.now, token, answer);
            self.commit(&event)?;
        }
        for lease in &leases {
            if let Some(task) = self.value.queue.task(&self.now, lease.id) {
                deliver(leases.len(), &Delivery::leased(&self.value.queue, &task, lease.handle()));
            }
        }
        Ok(leases)
    }

    /// Decides and applies a claim turn by turn; one event tells all of it. With it the tasks of a NOACK claim, as
    /// copies, since a reply that was begun can't be taken back if the change fails.
    fn take_turns<'c>(&mut self, claims: &Claims<'c>) -> Result<(Option<Event<'c>>, Vec<Kept>), Error> {
        let mut claiming = Claiming::new(claims.claim);
        let (mut all, mut taken) = (None, Vec::new());
        let ended = loop {
            let event = match claiming.turn(&self.value.queue, self.now, &mut entropy::bits) {
                Ok(Some(event)) => event,
                Ok(None) | Err(Refusal::Paused) => break Ok(()),
                Err(refusal) => break Err(refusal.into()),
            };
            if let Event::Expired { .. } = event {
                self.commit(&event)?;
                continue;
            }
            if let Event::Taken { ids, .. } = &event {
                let tasks = ids.iter().filter_map(|&id| self.value.queue.task(&self.now, id));
                taken.extend(tasks.map(|task| Delivery::taken(&task).kept()));
            }
            if let Err(error) = change::apply(self.ctx, self.key, self.value, &self.now, &event) {
                break Err(error);
            }
            match (&mut all, event) {
                (Some(Event::Claimed { leases, .. }), Event::Claimed { leases: more, .. }) => {
                    leases.extend(more)
                }
                (Some(Event::Taken { ids, .. }), Event::Taken { ids: more, .. }) => ids.extend(more),
                (all, event) => *all = Some(event),
            }
        };
        if let Some(event) = &all {
            self.effect.add(event);
            self.notifications.add(event);
        }
        // Numbers that have come to their end in mid-claim are told to the next.
        match ended {
            Err(error) if all.is_none() || error == Error::Broken => Err(error),
            _ => Ok((all, taken)),
        }
    }

    /// The leases that the same request got before and that are still held. Those that hang on a connection hang on
    /// the one that asks now: the one that asked before may be gone, or about to go. In a script none asks, and they
    /// stay where they are.
    pub fn recall(&mut self, request: &[u8]) -> Option<Vec<Handle>> {
        let held = self.value.queue.recall_claim(self.now, request)?;
        let is_tied = |handle: &&Handle| {
            let lease = self.value.queue.task(&self.now, handle.id).and_then(|task| task.lease);
            lease.is_some_and(|lease| lease.tied)
        };
        let tied: Vec<TaskId> = held.iter().filter(is_tied).map(|handle| handle.id).collect();
        if let Some(connection) = self.ctx.connection().filter(|_| !tied.is_empty()) {
            self.tie(connection, tied.into_iter());
        }
        Some(held)
    }

    fn tie(&mut self, connection: Holder, ids: impl Iterator<Item = TaskId>) {
        connections::tie(connection, self.ctx.selected_db(), self.key);
        ids.for_each(|id| self.value.queue.tie(connection, id));
    }

    /// Gives what is ready to workers that wait, first come, first served. In a transaction or a script they get it
    /// after that, since what follows in it may still change what is ready.
    fn serve(&mut self) {
        if !waiters::any(self.ctx, self.key) {
            return;
        }
        waiters::look_again(self.ctx, self.key, &mut self.ready);
        if !self.value.queue.is_claimable(self.now.at) {
            return;
        }
        if self.ctx.flags().is_multi_or_lua() {
            return agenda::serve_soon(self.ctx, self.key);
        }
        let mut candidates = waiters::candidates(self.ctx, self.key, self.offer(), &self.ready);
        loop {
            if self.given >= SERVED_TASKS || self.given_bytes >= SERVED_BYTES {
                return agenda::serve_soon(self.ctx, self.key);
            }
            let queue = &self.value.queue;
            let waiter = waiters::first(self.ctx, self.key, self.offer(), &mut candidates);
            let Some(waiter) = waiter else { break };
            let worker = waiter.state();
            if !worker.may_claim() {
                // Asked before the queue is, so that no task is kept for it. As much work as a task.
                self.given += 1;
                if waiters::take_out(self.ctx, self.key, &waiter) {
                    self.served.push(waiter);
                }
                continue;
            }
            let claims = worker.claims();
            if let Some(event) = queue.pass_over(self.now, &claims.claim) {
                // It may get nothing now: then it keeps its place, and the next one is looked for.
                if self.commit(&event).is_err() {
                    break;
                }
                continue;
            }
            let was_awaited = queue.awaited_worker().is_some();
            if !waiters::take_out(self.ctx, self.key, &waiter) {
                continue;
            }
            let (mut given, mut given_bytes) = (0, 0);
            let claimed = self.claim(&claims, |tasks, task| {
                given = tasks;
                given_bytes += task.bytes();
                worker.receive(task);
            });
            self.given += given;
            self.given_bytes += given_bytes;
            // Who gets nothing is woken too: it would stand in no line and wait for ever.
            let failed = claimed.is_err();
            worker.note_leases(claimed.unwrap_or_default().iter().map(Lease::handle));
            self.served.push(waiter);
            if failed {
                break;
            }
            if was_awaited && self.value.queue.awaited_worker().is_none() {
                waiters::look_again(self.ctx, self.key, &mut self.ready);
                candidates = waiters::candidates(self.ctx, self.key, self.offer(), &self.ready);
            }
        }
    }

    fn offer(&self) -> QueueAt<'_> {
        QueueAt { queue: &self.value.queue, at: self.now.at }
    }

    fn finish(self) {
        let Write { ctx, key, value, now, node_now, mut effect, payloads, before, .. } = self;
        if !effect.is_empty() || !value.broken.is_empty() {
            metrics::add(&before, &value.queue.totals().values());
            value.update_gauges();
        }
        if !effect.is_empty() {
            let bytes = effect.seal(value.queue.count_effect(), now.at);
            if ctx.replicate(replication::APPLY, key, bytes, payloads).is_err() {
                ctx.log(Level::Warning, "a change of a queue could not be replicated");
            }
            ctx.signal_modified(key);
            clock_notice::changed();
        }
        value.put_on_agenda(ctx, key, &node_now);
        let buffer = effect.into_buffer();
        if buffer.capacity() <= BUFFER_BYTES {
            BUFFER.set(buffer);
        }
    }
}
