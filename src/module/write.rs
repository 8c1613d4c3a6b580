//! The one way a queue changes on a primary: what is due moves first, then the verb decides and its events are
//! applied, waiting workers get what is ready, and one effect tells replicas and AOF what happened.

use std::cell::Cell;

use taskslot_engine::{Answer, Effect, Event, Handle, Lease, Now, Refusal, TaskId};

use crate::api::blocked::Waiter;
use crate::api::key::KeyWrite;
use crate::api::{Arg, Context, Level};
use crate::claims::{Claims, Delivery};
use crate::datatype::{QUEUES, TaskQueue};
use crate::errors::Error;
use crate::waiters::{self, Worker};
use crate::{clock, entropy, replication, term, ties, wakeups};

/// Pages of due tasks that a command moves before its own work, at most.
const DUE_PAGES: usize = 8;

/// Tasks that one write gives to waiting workers, about: the others' turn comes with the next round of the server.
const SERVED_TASKS: usize = 1000;
/// How many of them a claim counts as while it has to pass over tasks that have expired and aren't removed yet.
const PASSING_TASKS: usize = SERVED_TASKS / 16;
/// A larger buffer of an effect isn't kept for the next one.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    /// The last effect's buffer, so that a command doesn't pay for a new one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a write does where there is no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It makes a queue, if it changes anything.
    Create,
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
    /// What time it is in this call.
    pub now: Now,
    effect: Effect,
    payloads: &'a [Arg<'a>],
    served: Vec<Waiter<Worker>>,
    /// How many tasks they were given.
    given: usize,
}

/// Opens a key to change the queue in it. `Ok(None)` where there is no key and [`Missing::Skip`].
pub fn write<'a, R>(
    ctx: Context<'a>,
    key: Arg<'a>,
    missing: Missing,
    body: impl FnOnce(&mut Write<'a, '_>) -> Result<R, Error>,
) -> Result<Option<R>, Error> {
    let mut open = KeyWrite::open(ctx, key).ok_or(Error::Busy)?;
    let now = clock::now(ctx);
    let mut made = None;
    let value = match open.value_mut(&QUEUES)? {
        Some(value) => value,
        None if missing == Missing::Skip => return Ok(None),
        None => made.insert(TaskQueue::default()),
    };
    if !value.broken.is_empty() {
        return Err(Error::Broken);
    }
    let (effect, payloads, served) = (Effect::reusing(BUFFER.take()), &[][..], Vec::new());
    let mut write = Write { ctx, key, value, now, effect, payloads, served, given: 0 };
    let result = write.run(body);
    let (served, changed) = (std::mem::take(&mut write.served), !write.effect.is_empty());
    write.finish();
    if let Some(made) = made.filter(|_| changed) {
        open.set_value(&QUEUES, made)?;
    }
    drop(open);
    waiters::wake_soon(served);
    result.map(Some)
}

impl<'a, 'q> Write<'a, 'q> {
    fn run<R>(&mut self, body: impl FnOnce(&mut Write<'a, 'q>) -> Result<R, Error>) -> Result<R, Error> {
        // A hint is never later than what is due.
        if self.value.hinted.get().is_some_and(|hinted| hinted <= self.now.at) {
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
        while let Some(event) = self.value.queue.tick(self.now, &mut entropy::bits, &mut left) {
            self.commit(&event)?;
        }
        Ok(left == 0)
    }

    /// Applies an event and puts it into the effect.
    pub fn commit(&mut self, event: &Event) -> Result<(), Error> {
        replication::apply(self.value, event)?;
        self.effect.add(event);
        Ok(())
    }

    /// Applies the one push of a write, or what took its place, whose payloads go along as the server's own strings.
    pub fn commit_push(&mut self, event: &Event, payloads: &'a [Arg<'a>]) -> Result<(), Error> {
        self.commit(event)?;
        self.payloads = payloads;
        Ok(())
    }

    /// Decides and applies a claim for a client. `deliver` sees how many tasks there are, and each. The leases,
    /// none with NOACK.
    pub fn claim(
        &mut self,
        claims: &Claims<'_>,
        client: u64,
        mut deliver: impl FnMut(usize, &Delivery<'_>),
    ) -> Result<Vec<Lease>, Error> {
        if !self.value.queue.is_claimable(self.now.at) {
            return Ok(Vec::new());
        }
        if let Some(event) = self.value.queue.begin_term(term::current()) {
            self.commit(&event)?;
        }
        let event = match self.value.queue.claim(self.now, &mut entropy::bits, &claims.claim) {
            Ok(Some(event)) => event,
            Ok(None) | Err(Refusal::Paused) => return Ok(Vec::new()),
            Err(refusal) => return Err(refusal.into()),
        };
        if let Event::Taken { ids } = &event {
            // Copies, since a reply that was begun can't be taken back if the change fails.
            let tasks = ids.iter().filter_map(|&id| self.value.queue.task(&self.now, id));
            let kept: Vec<_> = tasks.map(|task| Delivery::taken(&task).kept()).collect();
            self.commit(&event)?;
            kept.iter().for_each(|task| deliver(kept.len(), &task.delivery()));
            return Ok(Vec::new());
        }
        self.commit(&event)?;
        let Event::Claimed { leases, .. } = event else { return Ok(Vec::new()) };
        if claims.claim.tied {
            self.tie(client, leases.iter().map(|lease| lease.id));
        }
        if let Some(token) = claims.request {
            let answer = Answer::Claimed { handles: leases.iter().map(Lease::handle).collect() };
            let event = self.value.queue.answered(self.now, token, answer);
            self.commit(&event)?;
        }
        for lease in &leases {
            if let Some(task) = self.value.queue.task(&self.now, lease.id) {
                deliver(leases.len(), &Delivery::leased(&task, lease.handle()));
            }
        }
        Ok(leases)
    }

    /// The leases that the same request got before and that are still held. Those that hang on a connection hang on
    /// that of `client` from now on: the one that asked before may be gone, or about to go.
    pub fn recall(&mut self, request: &[u8], client: u64) -> Option<Vec<Handle>> {
        let held = self.value.queue.recall_claim(self.now, request)?;
        let is_tied = |handle: &&Handle| {
            let lease = self.value.queue.task(&self.now, handle.id).and_then(|task| task.lease);
            lease.is_some_and(|lease| lease.tied)
        };
        let tied: Vec<TaskId> = held.iter().filter(is_tied).map(|handle| handle.id).collect();
        if !tied.is_empty() {
            self.tie(client, tied.into_iter());
        }
        Some(held)
    }

    fn tie(&mut self, client: u64, ids: impl Iterator<Item = TaskId>) {
        ties::tie(client, self.ctx.selected_db(), self.key);
        ids.for_each(|id| self.value.queue.tie(client, id));
    }

    /// Gives what is ready to workers that wait, first come, first served. In a transaction or a script they get it
    /// after that, since what follows in it may still change what is ready.
    fn serve(&mut self) {
        if !waiters::any(self.ctx, self.key) || !self.value.queue.is_claimable(self.now.at) {
            return;
        }
        if self.ctx.flags().is_multi_or_lua() {
            return wakeups::serve_soon(self.ctx, self.key);
        }
        while self.value.queue.is_claimable(self.now.at) {
            if self.given >= SERVED_TASKS {
                return wakeups::serve_soon(self.ctx, self.key);
            }
            let Some(waiter) = waiters::next(self.ctx, self.key) else { break };
            let worker = waiter.state();
            let claims = worker.claims();
            let mut given = 0;
            let claimed = self.claim(&claims, worker.client, |tasks, task| {
                given = tasks;
                worker.receive(task);
            });
            self.given += given;
            if self.value.queue.is_behind(self.now.at) {
                self.given += PASSING_TASKS;
            }
            // Who gets nothing is woken too: it would stand in no line and wait for ever.
            let failed = claimed.is_err();
            worker.hold(claimed.unwrap_or_default().iter().map(Lease::handle));
            self.served.push(waiter);
            if failed {
                break;
            }
        }
    }

    fn finish(self) {
        let Write { ctx, key, value, now, effect, payloads, .. } = self;
        if !effect.is_empty() {
            if ctx.replicate(replication::APPLY, key, effect.as_bytes(), payloads).is_err() {
                ctx.log(Level::Warning, "a change of a queue could not be replicated");
            }
            ctx.signal_modified(key);
        }
        wakeups::note(ctx, key, value, &now);
        let buffer = effect.into_buffer();
        if buffer.capacity() <= BUFFER_BYTES {
            BUFFER.set(buffer);
        }
    }
}
