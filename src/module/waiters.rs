//! Workers that wait inside the server, first come, first served, per database and key.
//!
//! A worker blocks on a name of its queue's slot that no key ever has, so the server calls none of them when keys
//! come and go. Whoever makes tasks ready gives them to the first waiter and wakes just that one: ten thousand
//! idle workers don't change what a push costs.
//!
//! A hand-off wakes its worker at the end of the present round of the server's loop, just before replies are sent.
//! Until then the client is blocked like any other, so one that is killed or unblocked with an error in the same
//! round got nothing, and its leases are undone. Woken at once, it would have its reply and the server's error after
//! it (6.2, 7.0), or the error alone and a lease that it knows nothing of (Valkey 9.1).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use taskslot_engine::{Claim, Handle, Holder, Now};
use taskslot_node::{
    Candidates, Demand, Job, Offer, Place, QueueAt, QueueKey, ReadyGroups, Ticket, WaitQueues,
};

use crate::agenda::{self, SLICE};
use crate::blocking::block;
use crate::claims::{ClaimRequest, Delivery, OwnedDelivery};
use crate::datatype::TaskQueue;
use crate::errors::Error;
use taskslot_api::blocked::{Waiter, Waiting};
use taskslot_api::user::User;
use taskslot_api::{Arg, Context};

/// A worker that waits, or has been given tasks that are not yet written to it.
pub struct BlockedWorker {
    ticket: Rc<Ticket>,
    claim: OwnedClaim,
    /// Whose it is, if its rights can be asked for.
    user: Option<User>,
    /// It may no longer have what it waits for.
    refused: Cell<bool>,
    /// Where it was served, once it was.
    served_at: RefCell<Option<QueueKey>>,
    delivery: RefCell<Vec<OwnedDelivery>>,
    handles: RefCell<Vec<Handle>>,
    delivered: Cell<bool>,
}

/// A claim that outlives its command; name, group and token are on the ticket.
struct OwnedClaim {
    /// What it claims, but for what is borrowed in a claim.
    claim: Claim<'static>,
    connection: Option<Holder>,
    with_meta: bool,
    with_key: bool,
}

thread_local! {
    static QUEUES: RefCell<WaitQueues<Waiter<BlockedWorker>>> = RefCell::default();
    /// Who was given something and is to be woken.
    static SERVED: RefCell<Vec<Waiter<BlockedWorker>>> = const { RefCell::new(Vec::new()) };
}

/// How many workers wait on this node, each counted once.
pub fn total() -> usize {
    QUEUES.with_borrow(WaitQueues::total)
}

/// Whether anybody waits for this queue.
pub fn any(ctx: Context<'_>, key: Arg<'_>) -> bool {
    QUEUES.with_borrow(|queues| queues.has_any(ctx.selected_db(), key.as_bytes()))
}

/// What all who wait for a queue would take.
pub fn demand(db: i32, key: &[u8]) -> Demand {
    QUEUES.with_borrow(|queues| queues.demand(db, key))
}

/// The same by name, for the first `limit` names.
pub fn names(db: i32, key: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Demand> {
    QUEUES.with_borrow(|queues| queues.names(db, key, limit))
}

/// How many names of those who wait for a queue are wanted; `None` where one gave none, or there are more than `limit`.
pub fn count_names(db: i32, key: &[u8], limit: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
    QUEUES.with_borrow(|queues| queues.count_names(db, key, limit, is_wanted))
}

/// A queue has come to a key by another way than a command of ours: what was noted for it went with its old name.
pub fn on_key_arrived(ctx: Context<'_>, key: Arg<'_>, value: &TaskQueue, now: &Now) {
    value.hint.forget();
    value.put_on_agenda(ctx, key, now);
    serve_if_awaited(ctx, key);
}

/// Gives what has become ready in another way than by a write to those who wait, if anybody does.
pub fn serve_if_awaited(ctx: Context<'_>, key: Arg<'_>) {
    if any(ctx, key) {
        agenda::serve_soon(ctx, key);
    }
}

/// Two databases have changed places. Workers wait at a name: those of both databases may find something now.
pub fn on_swapdb(a: i32, b: i32) {
    for queue in [a, b].into_iter().flat_map(|db| QUEUES.with_borrow(|queues| queues.keys(db))) {
        agenda::later(Job::Serve(queue));
    }
}

/// Those who may have become able to get something are looked at again, and their groups are ready.
pub fn look_again(ctx: Context<'_>, key: Arg<'_>, ready: &mut ReadyGroups) {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    QUEUES.with_borrow_mut(|queues| {
        if std::mem::take(&mut ready.is_unknown) {
            queues.look_at_all(db, name);
        }
        for worker in std::mem::take(&mut ready.workers) {
            queues.look_again(db, name, &worker, &mut |group| ready.groups.add(group));
        }
    });
}

/// Those of a group each who may be served next.
pub fn candidates(ctx: Context<'_>, key: Arg<'_>, offer: QueueAt<'_>, ready: &ReadyGroups) -> Candidates {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    QUEUES.with_borrow_mut(|queues| Candidates::of(queues, db, name, &offer, &ready.groups))
}

/// The first waiter that may have a task which the queue has now. Of those who wait for one group only the `candidates`
/// are looked at.
pub fn first(
    ctx: Context<'_>,
    key: Arg<'_>,
    offer: QueueAt<'_>,
    candidates: &mut Candidates,
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
            first.map(|(_, waiter)| waiter)
        })?;
        if waiter.state().ticket.is_valid() && waiter.is_waiting() {
            return Some(waiter);
        }
        // Who has left before is still here until its place is cleared, perhaps served in another queue.
        take_out(ctx, key, &waiter);
    }
}

/// Takes a waiter out of all its places, to be served here; false where it waits no longer.
pub fn take_out(ctx: Context<'_>, key: Arg<'_>, waiter: &Waiter<BlockedWorker>) -> bool {
    let (db, name, worker) = (ctx.selected_db(), key.as_bytes(), waiter.state());
    QUEUES.with_borrow_mut(|queues| queues.clear_from(&worker.ticket, db, name));
    let is_here = leave(&worker.ticket) && waiter.is_waiting();
    if is_here {
        worker.served_at.replace(Some(QueueKey::new(db, name)));
    }
    is_here
}

/// Takes a worker out of its places; false where it has left before.
fn leave(ticket: &Rc<Ticket>) -> bool {
    let (was_here, some_have_left) =
        QUEUES.with_borrow_mut(|queues| (queues.leave(ticket), queues.some_have_left()));
    if was_here && some_have_left {
        agenda::soon();
    }
    was_here
}

/// Clears the places of those who have left, for a slice of time. Whether there are more.
pub fn clear_left() -> bool {
    let started = Instant::now();
    while QUEUES.with_borrow(WaitQueues::some_have_left) {
        if started.elapsed() >= SLICE {
            return true;
        }
        QUEUES.with_borrow_mut(WaitQueues::clear_some);
    }
    false
}

/// Those who were given something are woken soon.
pub fn wake_soon(mut served: Vec<Waiter<BlockedWorker>>) {
    if !served.is_empty() {
        SERVED.with_borrow_mut(|all| all.append(&mut served));
        agenda::soon();
    }
}

/// Wakes those who were given something. Nothing is open, and no wait queue is borrowed: a reply may run at once.
pub fn wake_served() {
    for waiter in SERVED.take() {
        if !waiter.wake() {
            waiter.state().give_back();
        }
    }
}

/// Blocks the client of the running command until one of these queues has a task for it; false where it can't be
/// blocked. In a cluster all lie in one slot. A claim with a token that waits already is sent again: its copy takes its
/// places, and the first one gets nothing.
pub fn wait(ctx: Context<'_>, keys: &[Arg<'_>], request: &ClaimRequest<'_>, timeout_ms: u64) -> bool {
    let Some(first) = keys.first().filter(|_| !ctx.flags().denies_blocking()) else { return false };
    let (places, older) = places(ctx, keys, request.token);
    // Before the client is blocked: what waits with its token then has no place.
    QUEUES.with_borrow_mut(|queues| {
        older.iter().for_each(|waiter| queues.leave_to_copy(&waiter.state().ticket));
    });
    let worker = BlockedWorker::new(ctx, request, places);
    let ticket = Rc::clone(&worker.ticket);
    let waiter = block(ctx, *first, timeout_ms, worker);
    // Also where the copy can't wait: its client asked again and no longer listens for the first answer. No wait queue is
    // borrowed: a reply may run at once.
    older.iter().for_each(|waiter| _ = waiter.wake());
    let Ok(waiter) = waiter else { return false };
    QUEUES.with_borrow_mut(|queues| queues.join(&ticket, waiter));
    true
}

/// The places of one who comes now: behind all others, or where the same request waits already. With them those who wait
/// there.
fn places(
    ctx: Context<'_>,
    keys: &[Arg<'_>],
    token: Option<&[u8]>,
) -> (Vec<Place>, Vec<Waiter<BlockedWorker>>) {
    QUEUES.with_borrow_mut(|queues| {
        let (mut older, last) = (Vec::new(), queues.next_number());
        let places = keys.iter().map(|key| {
            let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
            // Its place in this queue only: it may have come later to another, or wait for no other.
            let copied = token.and_then(|token| queues.with_token(&queue, token));
            let number = copied.as_ref().map_or(last, |(number, _)| *number);
            older.extend(copied.map(|(_, waiter)| waiter));
            Place { queue, number }
        });
        (places.collect(), older)
    })
}

impl BlockedWorker {
    fn new(ctx: Context<'_>, request: &ClaimRequest<'_>, places: Vec<Place>) -> BlockedWorker {
        let ClaimRequest { claim, connection, token, with_meta, with_key } = *request;
        BlockedWorker {
            ticket: Ticket::new(places, claim.worker, claim.group, token, claim.count as u64),
            claim: OwnedClaim {
                claim: Claim { worker: &[], group: None, ..claim },
                connection,
                with_meta,
                with_key,
            },
            user: User::of_client(ctx),
            refused: Cell::new(false),
            served_at: RefCell::default(),
            delivery: RefCell::default(),
            handles: RefCell::default(),
            delivered: Cell::new(false),
        }
    }

    /// What it claims.
    pub fn request(&self) -> ClaimRequest<'_> {
        let (OwnedClaim { claim, connection, with_meta, with_key }, ticket) = (&self.claim, &self.ticket);
        ClaimRequest {
            claim: Claim { worker: &ticket.worker, group: ticket.group.as_deref(), ..*claim },
            connection: *connection,
            token: ticket.token.as_deref(),
            with_meta: *with_meta,
            with_key: *with_key,
        }
    }

    /// Whether its user still may do what it asked for; if not, it is told so when it is woken.
    pub fn may_claim(&self) -> bool {
        let (Some(user), Some(first)) = (&self.user, self.ticket.places.first()) else { return true };
        let (db, key) = (first.queue.db, &*first.queue.name);
        let may = if self.claim.with_key {
            // The first key stands among the others too: of a number 0 servers would check no key at all.
            let number = self.ticket.places.len().to_string();
            let keys = self.ticket.places.iter().map(|place| &*place.queue.name);
            let head = [&b"TASK.MCLAIM"[..], key, b"KEYS", number.as_bytes()];
            user.may(db, &head.into_iter().chain(keys).collect::<Vec<_>>())
        } else {
            user.may(db, &[b"TASK.CLAIM", key])
        };
        self.refused.set(!may);
        may
    }

    /// Takes a task, to be written when it is woken.
    pub fn receive(&self, task: &Delivery<'_>) {
        self.delivery.borrow_mut().push(OwnedDelivery::of(task));
    }

    /// Notes the leases that it was given.
    pub fn note_leases(&self, handles: impl Iterator<Item = Handle>) {
        self.handles.borrow_mut().extend(handles);
    }

    /// Undoes the leases that never reached it.
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
            None => ctx.reply().array(0),
        }
        delivery.iter().for_each(|task| task.as_delivery().reply(ctx.reply(), self.claim.with_meta));
    }

    fn on_disconnect(&self, _ctx: Context<'_>) {
        // At once, before the connection's end is counted as a stall of what it never got.
        self.give_back();
    }

    fn on_end(&self) {
        leave(&self.ticket);
        self.give_back();
    }
}
