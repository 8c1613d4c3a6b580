//! The workers that are blocked inside the server. In each queue the first to come is the first served.
//!
//! A worker blocks on a name in the slot of its queue. No key ever has this name, so the server visits no blocked
//! worker when keys are created or deleted. The write that makes tasks ready gives them to the first worker, and wakes
//! only that one. Ten thousand idle workers therefore don't make a push slower.
//!
//! A worker that gets tasks is woken at the end of the round of the server's event loop, just before replies are sent.
//! Until then its client is still blocked. If the client is killed or unblocked with an error in the same round, it has
//! got nothing, and its leases are undone. If it were woken at once, it would get its reply and then the server's error
//! (6.2, 7.0), or only the error, and hold a lease that it doesn't know of (Valkey 9.1).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use taskslot_edges::{edge, rare};
use taskslot_engine::{Claim, Handle, Holder, Millis, Now};
use taskslot_node::{
    Candidates, Demand, Gather, Job, Offer, OneOrMany, Position, QueueAt, QueueKey, ReadyGroups, Ticket,
    WaitQueues,
};

use crate::agenda::{self, SLICE};
use crate::blocking::block;
use crate::claims::{ClaimRequest, Delivery, Head, OwnedDelivery};
use crate::clock;
use crate::datatype::TaskQueue;
use crate::errors::Error;
use taskslot_api::blocked::{Waiter, Waiting};
use taskslot_api::user::User;
use taskslot_api::{Arg, Context};

/// The most workers that a write, or a run of due work, serves and wakes. That takes about a millisecond, half of which
/// the server needs to send their replies. The others follow in the next run.
pub const SERVED_AT_ONCE: usize = edge(64, 2);

/// How long before the end of its wait a worker that gathers takes what is there, in ms. The server ends waits before
/// it fires timers, so the module must be a little earlier.
pub const LAST_CHANCE_MS: u64 = 5;

/// A worker that waits, or that has been given tasks but has not got its reply yet.
pub struct BlockedWorker {
    ticket: Rc<Ticket>,
    claim: OwnedClaim,
    /// The client's user, if this server can check its permissions.
    user: Option<User>,
    /// Whether its user has lost the permission to claim.
    refused: Cell<bool>,
    /// The queue that it was served by; `None` before that.
    served_at: RefCell<Option<QueueKey>>,
    /// The tasks for its reply.
    delivery: RefCell<Vec<OwnedDelivery>>,
    /// The leases of these tasks, which are undone if the reply is never sent.
    handles: RefCell<Vec<Handle>>,
    /// Whether the reply was sent.
    delivered: Cell<bool>,
}

/// A claim that outlives its command. The worker's name, the group and the token are on the ticket.
struct OwnedClaim {
    /// The claim without its borrowed parts.
    claim: Claim<'static>,
    connection: Option<Holder>,
    with_meta: bool,
    head: Head<OneOrMany<i64>>,
}

thread_local! {
    static QUEUES: RefCell<WaitQueues<Waiter<BlockedWorker>>> = RefCell::default();
    /// The workers that were served and have to be woken.
    static SERVED: RefCell<Vec<Waiter<BlockedWorker>>> = const { RefCell::new(Vec::new()) };
}

/// The number of workers that wait on this node. A worker that waits for several queues counts once.
pub fn total() -> usize {
    QUEUES.with_borrow(WaitQueues::total)
}

/// Whether a worker waits for this queue.
pub fn any(ctx: Context<'_>, key: Arg<'_>) -> bool {
    QUEUES.with_borrow(|queues| queues.total() > 0 && queues.has_any(ctx.selected_db(), key.as_bytes()))
}

/// How many claims wait for a queue, and how many tasks they would take.
pub fn demand(db: i32, key: &[u8]) -> Demand {
    QUEUES.with_borrow(|queues| queues.demand(db, key))
}

/// The demand of each worker that waits for a queue, by name, for the first `limit` names.
pub fn names(db: i32, key: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Demand> {
    QUEUES.with_borrow(|queues| queues.names(db, key, limit))
}

/// The number of waiting workers with a name for which `is_wanted` is true. `None` if a worker has no name, or if there
/// are more names than `limit`.
pub fn count_names(db: i32, key: &[u8], limit: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
    QUEUES.with_borrow(|queues| queues.count_names(db, key, limit, is_wanted))
}

/// A queue has appeared at a key without a command of this module, for example by RENAME.
pub fn on_key_arrived(ctx: Context<'_>, key: Arg<'_>, value: &TaskQueue, now: &Now) {
    let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
    agenda::with(|agenda| agenda.rename(&value.noted, queue));
    value.put_on_agenda(ctx, key, now);
    serve_if_awaited(ctx, key);
}

/// Gives ready tasks to the workers that wait, in the next run of due work.
pub fn serve_later(ctx: Context<'_>, key: Arg<'_>) {
    QUEUES.with_borrow_mut(|queues| queues.set_put_off(ctx.selected_db(), key.as_bytes(), true));
    agenda::serve_soon(ctx, key);
}

/// Whether tasks of a queue became ready that were not offered to all its workers yet.
pub fn are_put_off(ctx: Context<'_>, key: Arg<'_>) -> bool {
    QUEUES.with_borrow(|queues| queues.is_put_off(ctx.selected_db(), key.as_bytes()))
}

/// All workers that wait for a queue were offered its ready tasks.
pub fn note_all_served(ctx: Context<'_>, key: Arg<'_>) {
    QUEUES.with_borrow_mut(|queues| queues.set_put_off(ctx.selected_db(), key.as_bytes(), false));
}

/// Gives ready tasks to the workers that wait, if there are any. For tasks that became ready without a write of this
/// node.
pub fn serve_if_awaited(ctx: Context<'_>, key: Arg<'_>) {
    if any(ctx, key) {
        serve_later(ctx, key);
    }
}

/// Two databases were swapped. Workers wait for a name in a database, so those of both can have tasks now.
pub fn on_swapdb(a: i32, b: i32) {
    for queue in [a, b].into_iter().flat_map(|db| QUEUES.with_borrow(|queues| queues.keys(db))) {
        QUEUES.with_borrow_mut(|queues| queues.set_put_off(queue.db, &queue.name, true));
        agenda::later(Job::Serve(queue));
    }
}

/// Takes up again the workers that were passed over and may get a task now. Adds the groups that they wait for to the
/// ready ones.
pub fn recheck(ctx: Context<'_>, key: Arg<'_>, ready: &mut ReadyGroups) {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    QUEUES.with_borrow_mut(|queues| {
        if std::mem::take(&mut ready.is_unknown) {
            queues.recheck_all(db, name);
        }
        for worker in std::mem::take(&mut ready.workers) {
            queues.recheck(db, name, &worker, &mut |group| ready.groups.add(group));
        }
    });
}

/// The workers that wait for single groups and may be served next.
pub fn candidates(ctx: Context<'_>, key: Arg<'_>, offer: QueueAt<'_>, ready: &ReadyGroups) -> Candidates {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    QUEUES.with_borrow_mut(|queues| Candidates::of(queues, db, name, &offer, &ready.groups))
}

/// The first worker that can get one of the tasks which the queue has now. Of the workers that wait for a single group,
/// only the `candidates` are considered. A worker that gathers is served if it gets all that it can take. `node_at` is
/// the time on the node's clock.
pub fn first(
    ctx: Context<'_>,
    key: Arg<'_>,
    offer: QueueAt<'_>,
    candidates: &mut Candidates,
    node_at: Millis,
) -> Option<Waiter<BlockedWorker>> {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    loop {
        if !offer.is_claimable(None) {
            return None;
        }
        let waiter = QUEUES.with_borrow_mut(|queues| {
            let of_group = candidates.peek(queues, db, name, &offer);
            let of_all = queues.first(db, name, None, &offer);
            let first = of_all.into_iter().chain(of_group).min_by_key(|(number, _)| *number);
            let before = (first.as_ref().map(|(number, _)| *number), node_at);
            let full = candidates.peek_full(queues, db, name, &offer, before);
            full.or(first).map(|(_, waiter)| waiter)
        });
        serve_unsettled();
        let waiter = waiter?;
        if waiter.state().ticket.is_valid() && waiter.is_waiting() {
            return Some(waiter);
        }
        rare!("a worker that has left is still in a wait queue");
        // A worker that has left, perhaps because another queue has served it, stays in the wait queue until it is
        // cleared.
        take_out(ctx, key, &waiter);
    }
}

/// Whether a worker gathers for this group of a queue; `None` for those that take any task.
pub fn gathers(ctx: Context<'_>, key: Arg<'_>, group: Option<&[u8]>) -> bool {
    QUEUES.with_borrow(|queues| {
        queues.some_gather() && queues.gathers(ctx.selected_db(), key.as_bytes(), group)
    })
}

/// When the gathering of a worker that waits for this queue ends first, on the node's clock.
pub fn gather_end(ctx: Context<'_>, key: Arg<'_>) -> Option<Millis> {
    QUEUES.with_borrow(|queues| match queues.some_gather() {
        true => queues.gather_end(ctx.selected_db(), key.as_bytes()),
        false => None,
    })
}

/// Workers whose gathering is over at `node_at` take what is there. Adds the groups that they wait for to the ready
/// ones.
pub fn end_gathering(ctx: Context<'_>, key: Arg<'_>, node_at: Millis, ready: &mut ReadyGroups) {
    QUEUES.with_borrow_mut(|queues| {
        if queues.some_gather() {
            let add_group = &mut |group: &[u8]| ready.groups.add(group);
            queues.end_gathering(ctx.selected_db(), key.as_bytes(), node_at, add_group);
        }
    });
}

/// Takes a worker out of the wait queues of all its keys, to be served by this one. Returns false if it no longer
/// waits.
pub fn take_out(ctx: Context<'_>, key: Arg<'_>, waiter: &Waiter<BlockedWorker>) -> bool {
    let (db, name, worker) = (ctx.selected_db(), key.as_bytes(), waiter.state());
    QUEUES.with_borrow_mut(|queues| queues.clear_from(&worker.ticket, db, name));
    let is_here = leave(&worker.ticket) && waiter.is_waiting();
    if is_here {
        worker.served_at.replace(Some(QueueKey::new(db, name)));
    }
    is_here
}

/// Takes a worker out of its wait queues. Returns false if it had left before.
fn leave(ticket: &Rc<Ticket>) -> bool {
    let (was_here, some_have_left) =
        QUEUES.with_borrow_mut(|queues| (queues.leave(ticket), queues.some_have_left()));
    serve_unsettled();
    if was_here && some_have_left {
        agenda::soon();
    }
    was_here
}

/// Looks soon at the workers of queues in which one gathers that has got its end elsewhere, or that begins because the
/// one before it has left.
fn serve_unsettled() {
    for queue in QUEUES.with_borrow_mut(WaitQueues::take_unsettled) {
        rare!("a worker gathers from now on, or until a new end");
        agenda::later(Job::Serve(queue));
    }
}

/// Clears the positions of workers that have left: some of them, then more until the slice of time that began at
/// `started` is over. Returns whether there are more.
pub fn clear_left(started: Instant) -> bool {
    let more = QUEUES.with_borrow_mut(|queues| {
        queues.clear_some();
        while queues.some_have_left() && started.elapsed() < SLICE {
            rare!("more positions are cleared in the same run");
            queues.clear_some();
        }
        queues.some_have_left()
    });
    serve_unsettled();
    more
}

/// Notes the workers that were served, to be woken soon.
pub fn wake_soon(mut served: Vec<Waiter<BlockedWorker>>) {
    if !served.is_empty() {
        SERVED.with_borrow_mut(|all| all.append(&mut served));
        agenda::soon();
    }
}

/// Whether so many workers were served that they have to be woken before others are served.
pub fn are_enough_served() -> bool {
    SERVED.with_borrow(Vec::len) >= SERVED_AT_ONCE
}

/// Wakes the workers that were served. No key is open and no wait queue borrowed, because a reply can be sent at once.
pub fn wake_served() {
    for waiter in SERVED.take() {
        if !waiter.wake() {
            rare!("a worker is gone before it is woken");
            waiter.state().give_back();
        }
    }
}

/// Blocks the client of the running command until one of these queues has a task for it. Returns false if it can't be
/// blocked. In a cluster all the queues are in one slot.
///
/// If a claim with the same REQUEST token waits already, this one is a copy of it. The copy takes over its positions,
/// and the older claim gets an empty reply.
pub fn wait(ctx: Context<'_>, keys: &[Arg<'_>], request: &ClaimRequest<'_>, timeout_ms: u64) -> bool {
    let Some(first) = keys.first().filter(|_| !ctx.flags().denies_blocking()) else { return false };
    let (positions, older) = positions(ctx, keys, request.token);
    // Before this client is blocked, so that its token is in no wait queue then.
    QUEUES.with_borrow_mut(|queues| {
        older.iter().for_each(|waiter| queues.leave_to_copy(&waiter.state().ticket));
    });
    serve_unsettled();
    let worker = BlockedWorker::new(ctx, request, positions, timeout_ms);
    let ticket = Rc::clone(&worker.ticket);
    let waiter = block(ctx, *first, timeout_ms, worker);
    // The older claims end even if the copy can't be blocked: their client has given up waiting for the first reply. No
    // wait queue is borrowed, because a reply can be sent at once.
    older.iter().for_each(|waiter| {
        rare!("a copy of a claim takes over its positions");
        _ = waiter.wake();
    });
    let Ok(waiter) = waiter else { return false };
    QUEUES.with_borrow_mut(|queues| queues.join(&ticket, waiter));
    true
}

/// When a worker that gathers takes what is there at the latest, on the node's clock: shortly before the server ends
/// its wait.
fn last_chance(ctx: Context<'_>, timeout_ms: u64) -> Millis {
    match timeout_ms {
        0 => Millis::MAX,
        ms => clock::now(ctx).at.plus(ms.saturating_sub(LAST_CHANCE_MS)),
    }
}

/// The positions of a worker that comes now: behind all others, or where a claim with the same token waits already.
/// Also returns those claims.
fn positions(
    ctx: Context<'_>,
    keys: &[Arg<'_>],
    token: Option<&[u8]>,
) -> (Vec<Position>, Vec<Waiter<BlockedWorker>>) {
    QUEUES.with_borrow_mut(|queues| {
        let (mut older, last) = (Vec::new(), queues.next_number());
        let positions = keys.iter().map(|key| {
            let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
            // Only the position in this queue: the older claim can have another position in another queue, or none.
            let copied = token.and_then(|token| queues.with_token(&queue, token));
            let number = copied.as_ref().map_or(last, |(number, _)| *number);
            older.extend(copied.map(|(_, waiter)| waiter));
            Position { queue, number }
        });
        (positions.collect(), older)
    })
}

impl BlockedWorker {
    fn new(
        ctx: Context<'_>,
        request: &ClaimRequest<'_>,
        positions: Vec<Position>,
        timeout_ms: u64,
    ) -> BlockedWorker {
        let ClaimRequest { claim, connection, token, gather_ms, with_meta, head } = *request;
        let gather = gather_ms.map(|ms| Gather::new(ms, claim.bytes, last_chance(ctx, timeout_ms)));
        let tasks = claim.count as u64;
        BlockedWorker {
            ticket: Ticket::gathering(positions, claim.worker, claim.group, token, tasks, gather),
            claim: OwnedClaim {
                claim: Claim { worker: &[], group: None, ..claim },
                connection,
                with_meta,
                head: head.into_owned(),
            },
            user: User::of_client(ctx),
            refused: Cell::new(false),
            served_at: RefCell::default(),
            delivery: RefCell::default(),
            handles: RefCell::default(),
            delivered: Cell::new(false),
        }
    }

    /// The request, borrowed from the worker.
    pub fn request(&self) -> ClaimRequest<'_> {
        let (OwnedClaim { claim, connection, with_meta, head }, ticket) = (&self.claim, &self.ticket);
        ClaimRequest {
            claim: Claim { worker: &ticket.worker, group: ticket.group.as_deref(), ..*claim },
            connection: *connection,
            token: ticket.token.as_deref(),
            gather_ms: None,
            with_meta: *with_meta,
            head: head.as_ref(),
        }
    }

    /// Whether its user still has the permission to claim. If not, its reply will be an error.
    pub fn may_claim(&self) -> bool {
        let (Some(user), Some(first)) = (&self.user, self.ticket.positions.first()) else { return true };
        let (db, key) = (first.queue.db, &*first.queue.name);
        let may = match self.claim.head {
            Head::Nothing => user.may(db, &[b"TASK.CLAIM", key]),
            Head::Key => {
                // The first key is repeated after KEYS: with 0 counted keys, servers would check no key at all.
                let number = self.ticket.positions.len().to_string();
                let keys = self.ticket.positions.iter().map(|position| &*position.queue.name);
                let head = [&b"TASK.MCLAIM"[..], key, b"KEYS", number.as_bytes()];
                user.may(db, &head.into_iter().chain(keys).collect::<Vec<_>>())
            }
            Head::Answers(_) => user.may(db, &[b"TASK.NEXT", key, b"HANDLES"]),
        };
        self.refused.set(!may);
        may
    }

    /// Keeps a copy of a task for the reply.
    pub fn receive(&self, task: &Delivery<'_>) {
        self.delivery.borrow_mut().push(OwnedDelivery::of(task));
    }

    /// Notes the leases of the tasks, so that they can be undone.
    pub fn note_leases(&self, handles: impl Iterator<Item = Handle>) {
        self.handles.borrow_mut().extend(handles);
    }

    /// Undoes the leases, unless the reply was sent.
    fn give_back(&self) {
        let (handles, served_at) = (self.handles.take(), self.served_at.take());
        if let Some(queue) = served_at.filter(|_| !handles.is_empty() && !self.delivered.get()) {
            agenda::later(Job::GiveBack { queue, handles });
        }
    }
}

impl Waiting for BlockedWorker {
    fn on_reply(&self, ctx: Context<'_>) {
        leave(&self.ticket);
        if self.refused.get() {
            return ctx.reply().error(&Error::NoPermission.to_string());
        }
        self.delivered.set(true);
        let (delivery, served_at) = (self.delivery.take(), self.served_at.borrow());
        match served_at.as_ref().filter(|_| !delivery.is_empty()) {
            Some(queue) => self.request().begin_reply(ctx.reply(), &queue.name, delivery.len()),
            None => self.request().reply_nothing(ctx.reply()),
        }
        delivery.iter().for_each(|task| task.as_delivery().reply(ctx.reply(), self.claim.with_meta));
    }

    fn on_disconnect(&self, _ctx: Context<'_>) {
        // Before the end of the connection counts as a stall of tasks which the worker never got.
        self.give_back();
    }

    fn on_end(&self) {
        leave(&self.ticket);
        self.give_back();
    }
}
