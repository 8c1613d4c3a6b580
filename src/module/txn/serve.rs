//! Gives ready tasks to the workers that wait.

use std::ops::ControlFlow;

use taskslot_edges::rare;
use taskslot_engine::Lease;
use taskslot_node::{Candidates, QueueAt};

use super::Txn;
use crate::waiters::{self, BlockedWorker};
use taskslot_api::blocked::Waiter;

impl Txn<'_, '_> {
    /// Gives ready tasks to the workers that wait, in the order in which they came. In a transaction or a script this
    /// happens after its end, because its next commands can still change which tasks are ready.
    pub fn serve(&mut self) {
        if self.served.has_put_off {
            return;
        }
        if self.ready.is_none() || !waiters::any(self.ctx, self.key) {
            return;
        }
        self.recheck();
        if !self.queue().is_claimable(self.now.at) {
            return;
        }
        if self.ctx.flags().is_multi_or_lua() {
            rare!("workers are served after a transaction or a script");
            return waiters::serve_later(self.ctx, self.key);
        }
        if let Some(ready) = &mut self.ready {
            waiters::end_gathering(self.ctx, self.key, self.node_now.at, ready);
        }
        let mut candidates = self.candidates();
        loop {
            if self.served.is_enough() {
                rare!("a write has served enough workers");
                self.served.has_put_off = true;
                return waiters::serve_later(self.ctx, self.key);
            }
            let (ctx, key, node_at) = (self.ctx, self.key, self.node_now.at);
            let first = waiters::first(ctx, key, self.offer(), &mut candidates, node_at);
            let Some(waiter) = first else { return waiters::note_all_served(ctx, key) };
            let was_awaited = self.queue().awaited_worker().is_some();
            if self.serve_one(waiter).is_break() {
                return;
            }
            if was_awaited && self.queue().awaited_worker().is_none() {
                // A task was reserved for that worker. Others can get it now.
                rare!("the worker that was waited for is served");
                self.recheck();
                candidates = self.candidates();
            }
        }
    }

    /// Whether workers wait that could get tasks, and are served later because this write has served enough.
    pub fn has_put_off(&self) -> bool {
        self.served.has_put_off
    }

    /// Gives the first worker its tasks. Breaks if the queue can't be changed any more.
    fn serve_one(&mut self, waiter: Waiter<BlockedWorker>) -> ControlFlow<()> {
        let worker = waiter.state();
        if !worker.may_claim() {
            // Checked before the claim, so that no task is reserved for it. The check takes as long as a task, and
            // counts as one.
            rare!("a waiting worker has lost its permission");
            self.served.tasks += 1;
            if waiters::take_out(self.ctx, self.key, &waiter) {
                self.served.waiters.push(waiter);
            }
            return ControlFlow::Continue(());
        }
        let request = worker.request();
        if let Some(event) = self.queue().pass_over(self.now, &request.claim) {
            rare!("suspects are passed over for a waiting worker");
            // The worker may get nothing now. Then it keeps its position, and the next one is tried.
            return match self.commit(&event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
        }
        if !waiters::take_out(self.ctx, self.key, &waiter) {
            return ControlFlow::Continue(());
        }
        let (mut tasks, mut bytes) = (0, 0);
        let claimed = self.claim(&request, |count, task| {
            tasks = count;
            bytes += task.bytes();
            worker.receive(task);
        });
        self.served.tasks += tasks;
        self.served.bytes += bytes;
        let failed = claimed.is_err();
        worker.note_leases(claimed.unwrap_or_default().iter().map(Lease::handle));
        // A worker that got nothing is woken too. It has no position any more, so nothing else would wake it.
        self.served.waiters.push(waiter);
        if failed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes up again the workers that were passed over and may get a task now.
    fn recheck(&mut self) {
        if let Some(ready) = &mut self.ready {
            waiters::recheck(self.ctx, self.key, ready);
        }
    }

    /// The workers that wait for single groups and may be served next.
    fn candidates(&self) -> Candidates {
        let ready = self.ready.as_ref();
        ready.map_or_else(Candidates::default, |ready| {
            waiters::candidates(self.ctx, self.key, self.offer(), ready)
        })
    }

    fn offer(&self) -> QueueAt<'_> {
        QueueAt { queue: self.queue(), at: self.now.at }
    }
}
