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
use std::collections::{BTreeMap, HashMap};

use taskslot_engine::{Claim, Handle};

use crate::api::blocked::{Waiter, Waiting, block_on_key};
use crate::api::{Arg, Context, OwnedString};
use crate::claims::{Claims, Delivery, Kept};
use crate::slots;
use crate::wakeups::{self, Job, Place};

/// A worker that waits, or has been given tasks that are not yet written to it.
pub struct Worker {
    place: Place,
    ticket: u64,
    /// Its connection.
    pub client: u64,
    wish: Wish,
    gift: RefCell<Vec<Kept>>,
    handles: RefCell<Vec<Handle>>,
    delivered: Cell<bool>,
}

/// A claim that outlives its command.
struct Wish {
    count: usize,
    bytes: Option<u64>,
    lease_ms: Option<u32>,
    worker: Box<[u8]>,
    tied: bool,
    noack: bool,
    request: Option<Box<[u8]>>,
    with_meta: bool,
}

#[derive(Default)]
struct Line {
    waiters: BTreeMap<u64, Waiter<Worker>>,
    tokens: BTreeMap<Box<[u8]>, u64>,
}

type Lines = HashMap<i32, HashMap<Box<[u8]>, Line>>;

thread_local! {
    static LINES: RefCell<Lines> = RefCell::new(HashMap::new());
    static WAITING: Cell<usize> = const { Cell::new(0) };
    static TICKETS: Cell<u64> = const { Cell::new(0) };
    /// Who was given something and is to be woken.
    static SERVED: RefCell<Vec<Waiter<Worker>>> = const { RefCell::new(Vec::new()) };
}

/// Whether anybody waits for this queue.
pub fn any(ctx: Context<'_>, key: Arg<'_>) -> bool {
    WAITING.get() > 0 && waiting(ctx.selected_db(), key.as_bytes()) > 0
}

/// How many workers wait for a queue.
pub fn waiting(db: i32, key: &[u8]) -> usize {
    LINES.with_borrow(|lines| {
        lines.get(&db).and_then(|keys| keys.get(key)).map_or(0, |line| line.waiters.len())
    })
}

/// How many workers wait on this node.
pub fn total() -> usize {
    WAITING.get()
}

/// The queues that workers of a database wait for.
pub fn places(db: i32) -> Vec<Place> {
    LINES.with_borrow(|lines| {
        let keys = lines.get(&db).into_iter().flatten();
        keys.map(|(key, _)| Place::new(db, key)).collect()
    })
}

/// Takes the first waiter out of its line.
pub fn next(ctx: Context<'_>, key: Arg<'_>) -> Option<Waiter<Worker>> {
    loop {
        let waiter = LINES.with_borrow_mut(|lines| {
            let line = lines.get_mut(&ctx.selected_db())?.get_mut(key.as_bytes())?;
            line.waiters.first_key_value().map(|(_, waiter)| waiter.clone())
        })?;
        leave(waiter.state());
        if waiter.is_waiting() {
            return Some(waiter);
        }
    }
}

/// Those who were given something are woken soon.
pub fn wake_soon(mut served: Vec<Waiter<Worker>>) {
    if !served.is_empty() {
        SERVED.with_borrow_mut(|all| all.append(&mut served));
        wakeups::soon();
    }
}

/// Wakes those who were given something. Nothing is open, and no line is borrowed: a reply may run at once.
pub fn wake_served() {
    for waiter in SERVED.take() {
        if !waiter.wake() {
            waiter.state().give_back();
        }
    }
}

/// Blocks the client of the running command until there is a task for it; false where it can't be blocked. A claim
/// with a token that waits already is sent again: its copy takes its place, and the first one gets nothing.
pub fn wait(ctx: Context<'_>, key: Arg<'_>, claims: &Claims<'_>, timeout_ms: u64) -> bool {
    if ctx.flags().denies_blocking() {
        return false;
    }
    let place = Place::new(ctx.selected_db(), key.as_bytes());
    let older = claims.request.and_then(|token| take_by_token(&place, token));
    let ticket = older.as_ref().map_or_else(
        || {
            TICKETS.set(TICKETS.get() + 1);
            TICKETS.get()
        },
        |older| older.state().ticket,
    );
    let Claim { count, bytes, lease_ms, worker, tied, noack } = claims.claim;
    let (worker, request) = (worker.into(), claims.request.map(Box::from));
    let wish = Wish { count, bytes, lease_ms, worker, tied, noack, request, with_meta: claims.with_meta };
    let name = OwnedString::new(&name(ctx, key.as_bytes()));
    let state = Worker {
        place,
        ticket,
        client: ctx.client_id(),
        wish,
        gift: RefCell::default(),
        handles: RefCell::default(),
        delivered: Cell::new(false),
    };
    let waiter = block_on_key(ctx, name.as_arg(), timeout_ms, state);
    if let Some(older) = older {
        older.wake();
    }
    let Ok(waiter) = waiter else { return false };
    let worker = waiter.state();
    let (place, token) = (worker.place.clone(), worker.wish.request.clone());
    LINES.with_borrow_mut(|lines| {
        let line = lines.entry(place.db).or_default().entry(place.key).or_default();
        line.waiters.insert(ticket, waiter.clone());
        token.into_iter().for_each(|token| {
            line.tokens.insert(token, ticket);
        });
    });
    WAITING.set(WAITING.get() + 1);
    true
}

/// The name to block on: no client makes a key of it, and it lies in the queue's slot.
pub fn name(ctx: Context<'_>, key: &[u8]) -> Vec<u8> {
    let tag = if ctx.is_cluster() { slots::tag(slots::of_key(key)) } else { b"" };
    [b"\0taskslot:{", tag, b"}"].concat()
}

fn take_by_token(place: &Place, token: &[u8]) -> Option<Waiter<Worker>> {
    let waiter = LINES.with_borrow(|lines| {
        let line = lines.get(&place.db)?.get(&place.key)?;
        line.waiters.get(line.tokens.get(token)?).cloned()
    })?;
    leave(waiter.state());
    Some(waiter)
}

/// Takes a worker out of its line, if it still stands there.
fn leave(worker: &Worker) {
    LINES.with_borrow_mut(|lines| {
        let Some(keys) = lines.get_mut(&worker.place.db) else { return };
        let Some(line) = keys.get_mut(&worker.place.key) else { return };
        // A copy of the same request may stand there by now, with the same ticket.
        let is_mine = |waiter: &Waiter<Worker>| std::ptr::eq(waiter.state(), worker);
        if line.waiters.get(&worker.ticket).is_some_and(is_mine) {
            line.waiters.remove(&worker.ticket);
            worker.wish.request.iter().for_each(|token| {
                line.tokens.remove(token);
            });
            WAITING.set(WAITING.get().saturating_sub(1));
        }
        if line.waiters.is_empty() {
            keys.remove(&worker.place.key);
        }
    });
}

impl Worker {
    /// What it claims.
    pub fn claims(&self) -> Claims<'_> {
        let Wish { count, bytes, lease_ms, worker, tied, noack, request, with_meta } = &self.wish;
        let (count, bytes, lease_ms, tied, noack) = (*count, *bytes, *lease_ms, *tied, *noack);
        let claim = Claim { count, bytes, lease_ms, worker, tied, noack };
        Claims { claim, request: request.as_deref(), with_meta: *with_meta }
    }

    /// Takes a task, to be written when it is woken.
    pub fn receive(&self, task: &Delivery<'_>) {
        self.gift.borrow_mut().push(task.kept());
    }

    /// Notes the leases that it was given.
    pub fn hold(&self, handles: impl Iterator<Item = Handle>) {
        self.handles.borrow_mut().extend(handles);
    }

    /// Undoes the leases that never reached it.
    fn give_back(&self) {
        let handles = self.handles.take();
        if !handles.is_empty() && !self.delivered.get() {
            wakeups::later(Job::GiveBack { place: self.place.clone(), handles });
        }
    }
}

impl Waiting for Worker {
    fn on_reply(&self, ctx: Context<'_>) {
        leave(self);
        self.delivered.set(true);
        let gift = self.gift.take();
        ctx.reply().array(gift.len());
        gift.iter().for_each(|task| task.delivery().reply(ctx.reply(), self.wish.with_meta));
    }

    fn on_disconnect(&self, _ctx: Context<'_>) {
        // At once, before the connection's end is counted as a stall of what it never got.
        self.give_back();
    }

    fn on_end(&self) {
        leave(self);
        self.give_back();
    }
}
