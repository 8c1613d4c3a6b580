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

use taskslot_engine::{Claim, Handle, Holder, Millis, Queue};

use crate::api::blocked::{Waiter, Waiting};
use crate::api::user::User;
use crate::api::{Arg, Context};
use crate::blocking::block;
use crate::claims::{Claims, Delivery, Kept};
use crate::errors::Error;
use crate::firsts::Firsts;
use crate::lines::{self, Stand};
pub use crate::lines::{Crew, count_names, crew, names, places, total, waiting};
use crate::stirred::Stirred;
use crate::wakeups::{self, Job, Place};

/// A worker that waits, or has been given tasks that are not yet written to it.
pub struct Worker {
    stands: Vec<Stand>,
    /// Whether it stands there, as `lines` has it: nobody else sets it.
    pub stands_in_line: Cell<bool>,
    wish: Wish,
    /// Whose it is, if its rights can be asked for.
    user: Option<User>,
    /// It may no longer have what it waits for.
    refused: Cell<bool>,
    /// Where it was served, once it was.
    served_at: RefCell<Option<Place>>,
    gift: RefCell<Vec<Kept>>,
    handles: RefCell<Vec<Handle>>,
    delivered: Cell<bool>,
}

/// A claim that outlives its command.
struct Wish {
    /// What it claims, but for what is borrowed in a claim.
    claim: Claim<'static>,
    connection: Option<Holder>,
    worker: Box<[u8]>,
    group: Option<Box<[u8]>>,
    request: Option<Box<[u8]>>,
    with_meta: bool,
    with_key: bool,
}

thread_local! {
    /// Who was given something and is to be woken.
    static SERVED: RefCell<Vec<Waiter<Worker>>> = const { RefCell::new(Vec::new()) };
}

/// Whether anybody waits for this queue.
pub fn any(ctx: Context<'_>, key: Arg<'_>) -> bool {
    total() > 0 && lines::has_line(ctx.selected_db(), key.as_bytes())
}

/// Those who may have become able to get something are looked at again, and their groups are stirred.
pub fn look_again(ctx: Context<'_>, key: Arg<'_>, stirred: &mut Stirred) {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    if std::mem::take(&mut stirred.is_unknown) {
        lines::look_at_all(db, name);
    }
    for worker in std::mem::take(&mut stirred.workers) {
        lines::look_again(db, name, &worker, &mut |group| stirred.groups.add(group));
    }
}

/// The first waiter that may have a task which the queue has now. Of those who wait for one group only those in `firsts`
/// are looked at.
pub fn first(
    ctx: Context<'_>,
    key: Arg<'_>,
    queue: &Queue,
    now: Millis,
    firsts: &mut Firsts,
) -> Option<Waiter<Worker>> {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    let waiter = loop {
        if !queue.is_claimable(now) {
            return None;
        }
        let of_group = firsts.peek(db, name, queue, now);
        let of_all = lines::first(db, name, None, queue, now);
        let (_, waiter) = of_all.into_iter().chain(of_group).min_by_key(|(number, _)| *number)?;
        if waiter.state().stands_in_line() && waiter.is_waiting() {
            break waiter;
        }
        // Who has left before is still here until its place is cleared, perhaps served in another line.
        lines::clear_from(waiter.state(), db, name);
        lines::leave(waiter.state());
    };
    Some(waiter)
}

/// Takes a waiter out of its line, and so out of all its lines, to be served here; false where it waits no longer.
pub fn take_out(ctx: Context<'_>, key: Arg<'_>, waiter: &Waiter<Worker>) -> bool {
    let (db, name) = (ctx.selected_db(), key.as_bytes());
    lines::clear_from(waiter.state(), db, name);
    let is_here = lines::leave(waiter.state()) && waiter.is_waiting();
    if is_here {
        waiter.state().served_at.replace(Some(Place::new(db, name)));
    }
    is_here
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

/// Blocks the client of the running command until one of these queues has a task for it; false where it can't be
/// blocked. In a cluster all lie in one slot. A claim with a token that waits already is sent again: its copy takes its
/// places, and the first one gets nothing.
pub fn wait(ctx: Context<'_>, keys: &[Arg<'_>], claims: &Claims<'_>, timeout_ms: u64) -> bool {
    let Some(first) = keys.first().filter(|_| !ctx.flags().denies_blocking()) else { return false };
    let (mut older, number) = (Vec::new(), lines::next_number());
    let stands = keys.iter().map(|key| {
        let place = Place::new(ctx.selected_db(), key.as_bytes());
        // Its place in this line only: it may have come later to another, or stand in no other.
        let copied = claims.request.and_then(|token| lines::with_token(&place, token));
        let number = copied.as_ref().map_or(number, |(number, _)| *number);
        older.extend(copied.map(|(_, waiter)| waiter));
        Stand { place, number }
    });
    let stands = stands.collect();
    older.iter().for_each(|waiter| lines::leave_to_copy(waiter.state()));
    let wish = Wish {
        claim: Claim { worker: &[], group: None, ..claims.claim },
        connection: claims.connection,
        worker: claims.claim.worker.into(),
        group: claims.claim.group.map(Box::from),
        request: claims.request.map(Box::from),
        with_meta: claims.with_meta,
        with_key: claims.with_key,
    };
    let state = Worker {
        stands,
        stands_in_line: Cell::new(false),
        wish,
        user: User::of_client(ctx),
        refused: Cell::new(false),
        served_at: RefCell::default(),
        gift: RefCell::default(),
        handles: RefCell::default(),
        delivered: Cell::new(false),
    };
    let waiter = block(ctx, *first, timeout_ms, state);
    for waiter in older {
        waiter.wake();
    }
    let Ok(waiter) = waiter else { return false };
    lines::join(&waiter);
    true
}

impl Worker {
    /// What it claims.
    pub fn claims(&self) -> Claims<'_> {
        let Wish { claim, connection, worker, group, request, with_meta, with_key } = &self.wish;
        Claims {
            claim: Claim { worker, group: group.as_deref(), ..*claim },
            connection: *connection,
            request: request.as_deref(),
            with_meta: *with_meta,
            with_key: *with_key,
        }
    }

    /// Whether its user still may do what it asked for; if not, it is told so when it is woken.
    pub fn may_claim(&self) -> bool {
        let (Some(user), Some(first)) = (&self.user, self.stands.first()) else { return true };
        let (db, key) = (first.place.db, &*first.place.key);
        let may = if self.wish.with_key {
            // The first key stands among the others too: of a number 0 servers would check no key at all.
            let number = self.stands.len().to_string();
            let keys = self.stands.iter().map(|stand| &*stand.place.key);
            let head = [&b"TASK.MCLAIM"[..], key, b"KEYS", number.as_bytes()];
            user.may(db, &head.into_iter().chain(keys).collect::<Vec<_>>())
        } else {
            user.may(db, &[b"TASK.CLAIM", key])
        };
        self.refused.set(!may);
        may
    }

    /// Whether it stands in the lines of its queues.
    pub fn stands_in_line(&self) -> bool {
        self.stands_in_line.get()
    }

    /// Where it stands, or stood.
    pub fn stands(&self) -> &[Stand] {
        &self.stands
    }

    /// Its name, empty for none.
    pub fn name(&self) -> &[u8] {
        &self.wish.worker
    }

    /// How many tasks it takes at a time: so many places are free.
    pub fn places(&self) -> u64 {
        self.wish.claim.count as u64
    }

    /// The group whose tasks it waits for; `None` for all.
    pub fn group(&self) -> Option<&[u8]> {
        self.wish.group.as_deref()
    }

    /// Its token, if it may ask again.
    pub fn token(&self) -> Option<&[u8]> {
        self.wish.request.as_deref()
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
        let (handles, served_at) = (self.handles.take(), self.served_at.take());
        if let Some(place) = served_at.filter(|_| !handles.is_empty() && !self.delivered.get()) {
            wakeups::later(Job::GiveBack { place, handles });
        }
    }
}

impl Waiting for Worker {
    fn on_reply(&self, ctx: Context<'_>) {
        lines::leave(self);
        if self.refused.get() {
            return ctx.reply().error(&Error::NoPermission.to_string());
        }
        self.delivered.set(true);
        let (gift, served_at) = (self.gift.take(), self.served_at.borrow());
        match served_at.as_ref().filter(|_| !gift.is_empty()) {
            Some(place) => self.claims().begin_reply(ctx.reply(), &place.key, gift.len()),
            None => ctx.reply().array(0),
        }
        gift.iter().for_each(|task| task.delivery().reply(ctx.reply(), self.wish.with_meta));
    }

    fn on_disconnect(&self, _ctx: Context<'_>) {
        // At once, before the connection's end is counted as a stall of what it never got.
        self.give_back();
    }

    fn on_end(&self) {
        lines::leave(self);
        self.give_back();
    }
}
