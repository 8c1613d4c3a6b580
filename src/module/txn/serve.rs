//! What is ready goes to workers that wait.

use std::ops::ControlFlow;

use taskslot_engine::Lease;
use taskslot_node::QueueAt;

use super::Txn;
use crate::agenda;
use crate::waiters::{self, BlockedWorker};
use taskslot_api::blocked::Waiter;

impl Txn<'_, '_> {
    /// Gives what is ready to workers that wait, first come, first served. In a transaction or a script they get it
    /// after that, since what follows in it may still change what is ready.
    pub(super) fn serve(&mut self) {
        if !waiters::any(self.ctx, self.key) {
            return;
        }
        waiters::look_again(self.ctx, self.key, &mut self.ready);
        if !self.queue().is_claimable(self.now.at) {
            return;
        }
        if self.ctx.flags().is_multi_or_lua() {
            return agenda::serve_soon(self.ctx, self.key);
        }
        let mut candidates = waiters::candidates(self.ctx, self.key, self.offer(), &self.ready);
        loop {
            if self.served.is_enough() {
                return agenda::serve_soon(self.ctx, self.key);
            }
            let first = waiters::first(self.ctx, self.key, self.offer(), &mut candidates);
            let Some(waiter) = first else { return };
            let was_awaited = self.queue().awaited_worker().is_some();
            if self.serve_one(waiter).is_break() {
                return;
            }
            if was_awaited && self.queue().awaited_worker().is_none() {
                // What was kept for that worker is there for others now.
                waiters::look_again(self.ctx, self.key, &mut self.ready);
                candidates = waiters::candidates(self.ctx, self.key, self.offer(), &self.ready);
            }
        }
    }

    /// Gives the first in the wait queue its tasks. Breaks where the queue can't be changed any more.
    fn serve_one(&mut self, waiter: Waiter<BlockedWorker>) -> ControlFlow<()> {
        let worker = waiter.state();
        if !worker.may_claim() {
            // Asked before the queue is, so that no task is kept for it. As much work as a task.
            self.served.tasks += 1;
            if waiters::take_out(self.ctx, self.key, &waiter) {
                self.served.waiters.push(waiter);
            }
            return ControlFlow::Continue(());
        }
        let request = worker.request();
        if let Some(event) = self.queue().pass_over(self.now, &request.claim) {
            // It may get nothing now: then it keeps its place, and the next one is looked for.
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
        // Who gets nothing is woken too: it has no place any more and would wait for ever.
        self.served.waiters.push(waiter);
        if failed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn offer(&self) -> QueueAt<'_> {
        QueueAt { queue: self.queue(), at: self.now.at }
    }
}
