//! Claims. A claim takes tasks in several turns, which become one event.

use taskslot_edges::{edge, rare};
use taskslot_engine::{Answer, ClaimTurns, Event, Handle, Holder, Lease, Refusal, TaskId};

use super::Txn;
use crate::claims::{ClaimRequest, Delivery, OwnedDelivery};
use crate::errors::Error;
use crate::{connections, entropy, term};

/// While the server is out of memory, a queue keeps no more names of workers than this.
const NAMES_WHEN_FULL: usize = edge(1000, 2);
/// While the server is out of memory, a queue keeps no more bytes of remembered requests than this.
const REQUEST_BYTES_WHEN_FULL: u64 = edge(64 << 10, 512);

/// The result of the turns of a claim.
#[derive(Default)]
struct Turns<'c> {
    /// One event for all turns.
    event: Option<Event<'c>>,
    /// Copies of the tasks of a NOACK claim. They are not replied at once, because a reply can't be taken back if the
    /// change fails.
    taken: Vec<OwnedDelivery>,
}

impl<'c> Turns<'c> {
    /// Copies the tasks that a turn is about to remove from the queue (NOACK).
    fn keep(&mut self, txn: &Txn<'_, '_>, turn: &Event<'_>) {
        if let Event::Taken { ids, .. } = turn {
            let tasks = ids.iter().filter_map(|&id| Some((txn.queue().given(id)?, id)));
            self.taken.extend(tasks.map(|(task, id)| OwnedDelivery::of(&Delivery::taken(task, id))));
        }
    }

    /// Adds a turn that was applied.
    fn add(&mut self, turn: Event<'c>) {
        match (&mut self.event, turn) {
            (Some(Event::Claimed { leases, .. }), Event::Claimed { leases: more, .. }) => leases.extend(more),
            (Some(Event::Taken { ids, .. }), Event::Taken { ids: more, .. }) => ids.extend(more),
            (event, turn) => {
                debug_assert!(event.is_none(), "a claim's turns are all of one kind");
                *event = Some(turn);
            }
        }
    }
}

impl Txn<'_, '_> {
    /// Decides and applies a claim. Calls `deliver` for each task, with the number of all tasks. Returns the leases;
    /// none with NOACK.
    pub fn claim(
        &mut self,
        request: &ClaimRequest<'_>,
        mut deliver: impl FnMut(usize, &Delivery<'_>),
    ) -> Result<Vec<Lease>, Error> {
        let reduced = self.reduced(request);
        let request = reduced.as_ref().unwrap_or(request);
        if let Some(event) = self.queue().pass_over(self.now, &request.claim) {
            self.commit(&event)?;
        }
        let begins_term = self.queue().begin_term(self.now, term::current()).is_some();
        if begins_term && !self.has_anything_for(request) {
            return Ok(Vec::new());
        }
        self.begin_term()?;
        let mut turns = Turns::default();
        self.take_turns(request, &mut turns)?;
        let taken = &turns.taken;
        taken.iter().for_each(|task| deliver(taken.len(), &task.as_delivery()));
        let Some(Event::Claimed { leases, .. }) = turns.event else { return Ok(Vec::new()) };
        if let Some(connection) = request.connection {
            self.tie(connection, leases.iter().map(|lease| lease.id));
        }
        if let Some(token) = request.token {
            let answer = Answer::Claimed { handles: leases.iter().map(Lease::handle).collect() };
            self.commit(&self.queue().answered(self.now, token, answer))?;
        }
        for lease in &leases {
            if let Some(task) = self.queue().given(lease.id) {
                deliver(leases.len(), &Delivery::leased(task, lease.handle()));
            }
        }
        Ok(leases)
    }

    fn has_anything_for(&self, request: &ClaimRequest<'_>) -> bool {
        let (queue, at, claim) = (self.queue(), self.now.at, &request.claim);
        queue.is_claimable_for(at, claim.group, claim.worker) || queue.is_behind(at)
    }

    /// The request, reduced to what the server has memory for; `None` if it has memory for all of it. A claim is never
    /// refused for lack of memory, because claims are how a full queue drains. But it leaves data beside its leases:
    /// the name of a new worker, and the reply to remember for REQUEST. When the server is out of memory and there is
    /// much of that already, they are dropped.
    fn reduced<'c>(&self, request: &ClaimRequest<'c>) -> Option<ClaimRequest<'c>> {
        let (queue, worker) = (self.queue(), request.claim.worker);
        let adds_name = queue.workers_busy() >= NAMES_WHEN_FULL && !queue.knows_worker(worker);
        let adds_answer = request.token.is_some() && queue.request_bytes() >= REQUEST_BYTES_WHEN_FULL;
        if !(adds_name || adds_answer) || !self.ctx.is_out_of_memory() {
            return None;
        }
        if adds_name {
            rare!("a claim forgets its worker because memory is full");
        }
        if adds_answer {
            rare!("a claim forgets its token because memory is full");
        }
        let mut reduced = *request;
        reduced.claim.worker = if adds_name { &[] } else { worker };
        reduced.token = request.token.filter(|_| !adds_answer);
        Some(reduced)
    }

    /// Decides and applies a claim turn by turn, and adds its event to the effect. If a turn is refused, the tasks of
    /// the turns before it are still delivered; the next claim gets the refusal.
    fn take_turns<'c>(&mut self, request: &ClaimRequest<'c>, turns: &mut Turns<'c>) -> Result<(), Error> {
        let ended = self.apply_turns(request, turns);
        if let Some(event) = &turns.event {
            self.effect.add(event);
        }
        ended.or_else(|error| match turns.event {
            None => Err(error),
            Some(_) if error == Error::Broken => Err(error),
            Some(_) => {
                rare!("a turn is refused after others of its claim");
                Ok(())
            }
        })
    }

    fn apply_turns<'c>(&mut self, request: &ClaimRequest<'c>, turns: &mut Turns<'c>) -> Result<(), Error> {
        let mut claiming = ClaimTurns::new(request.claim);
        loop {
            let turn = match claiming.turn(self.queue(), self.now, &mut entropy::bits) {
                Ok(Some(turn)) => turn,
                Ok(None) | Err(Refusal::Paused) => return Ok(()),
                Err(refusal) => return Err(refusal.into()),
            };
            if let Event::Expired { .. } = turn {
                // The one event of all turns comes after this event in the effect, so no turn must have been applied
                // before.
                debug_assert!(turns.event.is_none(), "what expired goes before the first turn");
                self.commit(&turn)?;
                continue;
            }
            turns.keep(self, &turn);
            self.apply(&turn)?;
            turns.add(turn);
        }
    }

    /// The leases that an earlier claim with the same token got and that are still held.
    ///
    /// Leases that are tied to a connection are tied to the present one, because the earlier connection is closed or
    /// about to be. A script has no connection, so there they stay tied to the earlier one.
    pub fn recall(&mut self, token: &[u8]) -> Option<Vec<Handle>> {
        let held = self.queue().recall_claim(self.now, token)?;
        let tied: Vec<TaskId> = held.iter().map(|handle| handle.id).filter(|&id| self.is_tied(id)).collect();
        if let Some(connection) = self.ctx.connection().filter(|_| !tied.is_empty()) {
            self.tie(connection, tied.into_iter());
        }
        Some(held)
    }

    fn is_tied(&self, id: TaskId) -> bool {
        let lease = self.queue().task(&self.now, id).and_then(|task| task.lease);
        lease.is_some_and(|lease| lease.tied)
    }

    fn tie(&mut self, connection: Holder, ids: impl Iterator<Item = TaskId>) {
        connections::tie(connection, self.ctx.selected_db(), self.key);
        ids.for_each(|id| self.value.queue.tie(connection, id));
    }
}
