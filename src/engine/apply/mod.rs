//! The only mutator: an event that was decided on a queue changes that queue, and every copy of it, alike.
//!
//! An event decided on the same state always applies. One that comes from a file or a peer is checked: what
//! doesn't fit is refused with a reason, and since an event may have changed half of its tasks by then, whoever
//! applies it must give the queue up (SPEC §6, BROKEN).

mod copy;
pub(crate) mod transition;

use crate::apply::transition::is_leased;
use crate::event::{End, Event, Gate, Lease, Then};
use crate::mismatch::{Applied, Mismatch, ensure};
use crate::queue::{CLOCK_OFFSET_MAX_MS, Queue};
use crate::settings::{Rule, Setting};
use crate::store::entry::{Entry, Phase};
use crate::store::lanes::LaneKey;
use crate::store::page::Record;
use crate::store::requests::Request;
use crate::store::side_table::PROGRESS_MAX_BYTES;
use crate::task::{
    BATCH_MAX, ERROR_MAX_BYTES, LEASE_MAX_MS, LeaseNumber, NAME_MAX_BYTES, Options, PAYLOAD_MAX_BYTES, TaskId,
};
use crate::time::{Due, Millis};

impl Queue {
    /// Changes the queue as the event says. Errors: it doesn't fit this queue, which is to be given up then.
    pub fn apply(&mut self, event: &Event) -> Applied {
        match event {
            Event::Pushed { first, count, due, options, payloads } => {
                ensure(*count as usize == payloads.len(), "as many payloads as tasks")?;
                self.apply_pushed(*first, *due, options, payloads)
            }
            Event::Answered { token, at, kept_until, answer } => {
                ensure(token.len() <= NAME_MAX_BYTES, "a token's length")?;
                let request =
                    Request { token: (*token).into(), kept_until: *kept_until, answer: answer.clone() };
                ensure(request.is_valid(), "a remembered answer")?;
                self.requests.remember(*at, request);
                Ok(())
            }
            Event::Term { term, floor, clocks } => {
                ensure(*floor <= LeaseNumber::MAX, "a lease number")?;
                ensure(clocks.is_none_or(|clocks| clocks.is_valid()), "clocks in bounds")?;
                self.term = *term;
                self.last_lease = self.last_lease.max(*floor);
                Ok(())
            }
            Event::Clock { offset_ms } => {
                ensure(offset_ms.unsigned_abs() <= CLOCK_OFFSET_MAX_MS as u64, "a clock's offset")?;
                self.clock_offset_ms = *offset_ms;
                Ok(())
            }
            Event::Claimed { at, worker, tied, leases } => {
                ensure(worker.len() <= NAME_MAX_BYTES, "a worker's name")?;
                leases.iter().try_for_each(|lease| self.apply_lease(*at, worker, *tied, lease))
            }
            Event::PassedOver { at, worker } => self.apply_passed_over(*at, worker),
            Event::Taken { ids, at } => self.each(ids, |queue, id| {
                let left = queue.leave(id, |phase| matches!(phase, Phase::Ready { .. }))?;
                ensure(*at <= Millis::MAX, "an instant")?;
                queue.spend(left.key, *at);
                queue.totals.claimed += 1;
                queue.totals.acked += 1;
                if let Phase::Ready { since } = left.entry.phase {
                    queue.stats.taken(since);
                }
                queue.remove(&left)
            }),
            Event::Unclaimed { id, at } => {
                let mut left = self.leave(*id, is_leased)?;
                left.entry.deliveries = left.entry.deliveries.saturating_sub(1);
                left.entry.phase = Phase::Ready { since: *at };
                self.give_token_back(*at, left.place, &mut left.entry);
                self.totals.claimed = self.totals.claimed.saturating_sub(1);
                self.enter(&left)
            }
            Event::Acked { id, late, end } => self.apply_acked(*id, *late, end.as_ref()),
            Event::Failed { id, then, error } => {
                let mut left = self.leave(*id, is_leased)?;
                left.entry.failures = left.entry.failures.saturating_add(1);
                self.totals.failed += 1;
                let error = error.get(..ERROR_MAX_BYTES).unwrap_or(error);
                match error {
                    [] => self.errors.forget(left.order),
                    error => _ = self.errors.set(left.order, error),
                }
                self.enter_then(left, then)
            }
            Event::Requeued { id, then, back } => {
                let mut left = self.leave(*id, is_leased)?;
                self.totals.requeued += 1;
                if *back {
                    left.entry.rank = self.draw()?;
                }
                self.enter_then(left, then)
            }
            Event::Extended { id, deadline, progress } => self.apply_extended(*id, *deadline, *progress),
            Event::Stalled { tasks } => self.apply_stalled(tasks),
            Event::BecameReady { ids, at } => self.each(ids, |queue, id| {
                let left = queue.leave(id, |phase| matches!(phase, Phase::Delayed { .. }))?;
                let Phase::Delayed { due } = left.entry.phase else {
                    return Err(Mismatch("a delayed task"));
                };
                let since = queue.ready_since(left.place, due, *at);
                queue.enter_at_back(left, since)
            }),
            Event::Retried { ids, at } => self.each(ids, |queue, id| {
                let mut left =
                    queue.leave(id, |phase| matches!(phase, Phase::Delayed { .. } | Phase::Dead { .. }))?;
                if matches!(left.entry.phase, Phase::Dead { .. }) {
                    queue.take_again(*at, left.place, &left.entry)?;
                    left.entry.failures = 0;
                    left.entry.stalls = 0;
                }
                queue.totals.retried += 1;
                queue.enter_at_back(left, *at)
            }),
            Event::Cancelled { id } => {
                let left =
                    self.leave(*id, |phase| !matches!(phase, Phase::Dead { .. } | Phase::Done { .. }))?;
                self.totals.cancelled += 1;
                self.remove(&left)
            }
            Event::CancelAsked { id } => {
                let found = self.find(*id).ok_or(Mismatch("a task to cancel"))?;
                let (place, mut entry) = (found.place, found.entry());
                let Phase::Leased { cancel, .. } = &mut entry.phase else {
                    return Err(Mismatch("a leased task to cancel"));
                };
                *cancel = true;
                self.log.set_entry(place, &entry, None);
                Ok(())
            }
            Event::Dropped { ids } => self.each(ids, |queue, id| {
                let left = queue.leave(id, |phase| matches!(phase, Phase::Dead { .. }))?;
                queue.totals.dropped += 1;
                queue.remove(&left)
            }),
            Event::Forgotten { ids } => self.each(ids, |queue, id| {
                let left = queue.leave(id, |phase| matches!(phase, Phase::Done { .. }))?;
                queue.totals.forgotten += 1;
                queue.remove(&left)
            }),
            Event::Purged { ids } => self.each(ids, |queue, id| {
                let is_waiting = |phase: &Phase| !is_leased(phase) && !matches!(phase, Phase::Done { .. });
                let left = queue.leave(id, is_waiting)?;
                queue.totals.purged += 1;
                queue.remove(&left)
            }),
            Event::Expired { at, ids } => self.each(ids, |queue, id| {
                queue.check_expired(*at, id)?;
                let left = queue.leave(id, |phase| matches!(phase, Phase::Ready { .. }))?;
                queue.totals.expired += 1;
                queue.remove(&left)
            }),
            Event::Replaced { id, headers, payload } => self.apply_replaced(*id, headers, payload),
            Event::Freed { at, tokens } => self.apply_freed(*at, tokens),
            Event::Configured { values } => self.apply_settings(|queue| {
                values.iter().try_for_each(|(name, value)| {
                    let rule = Rule::named(name.as_bytes()).ok_or(Mismatch("a known setting"))?;
                    ensure(queue.settings.set(rule, *value), "a setting's bounds")
                })
            }),
            Event::Grouped { name, limits } => self.apply_grouped(name, *limits),
            Event::Rested { names, at } => self.apply_rested(names, *at),
            Event::Paused { gate, until } => {
                ensure(until.is_none_or(|until| (Millis(1)..=Millis::MAX).contains(&until)), "an instant")?;
                self.set_pause(*gate, Some(*until));
                Ok(())
            }
            Event::Resumed { gate } => {
                self.set_pause(*gate, None);
                Ok(())
            }
            Event::Scheduled { name, plan, next, seen } => self.apply_scheduled(name, plan, *next, *seen),
            Event::Unscheduled { name } => self.apply_unscheduled(name),
            Event::Fired { name, id, next, at } => self.apply_fired(name, *id, *next, *at),
            Event::Skipped { name, next, at, missed } => self.apply_skipped(name, *next, *at, *missed),
            Event::Replanned { name, next, at } => self.apply_replanned(name, *next, *at),
        }
    }

    fn set_pause(&mut self, gate: Gate, pause: Option<Option<Millis>>) {
        if gate.covers(Gate::In) {
            self.pauses.inward = pause;
        }
        if gate.covers(Gate::Out) {
            self.pauses.outward = pause;
        }
    }

    fn each(&mut self, ids: &[TaskId], mut step: impl FnMut(&mut Queue, TaskId) -> Applied) -> Applied {
        ids.iter().try_for_each(|&id| step(self, id))
    }

    pub(crate) fn apply_pushed(
        &mut self,
        first: TaskId,
        due: Option<Due>,
        options: &Options,
        payloads: &[&[u8]],
    ) -> Applied {
        let count = payloads.len() as u64;
        let last = count.checked_sub(1).and_then(|n| first.nth(n)).ok_or(Mismatch("a task to push"))?;
        ensure(count <= BATCH_MAX as u64, "a push's size")?;
        ensure(payloads.iter().all(|payload| payload.len() <= PAYLOAD_MAX_BYTES), "a payload's size")?;
        ensure(first > self.last_id && first.ms <= Millis::MAX.0 && last.seq < u64::MAX, "a new id")?;
        ensure(
            due.is_none_or(|due| due.instant() <= Millis::MAX) && options.are_valid(),
            "a push's options",
        )?;
        self.stats.pushed(payloads.len());
        if let Some(unique) = &options.unique {
            ensure(count == 1, "one task for a token")?;
            self.take_token(Millis(first.ms), first, unique)?;
        }
        let mut id = first;
        let group = self.groups.known(options.group, &self.settings);
        let key = LaneKey { priority: options.priority, group };
        for payload in payloads {
            let order = self.draw()?;
            self.log.push(order, &Record::new(id, options, group, payload));
            self.count_task_in_group(group, 1);
            self.last_id = id;
            self.totals.pushed += 1;
            match due {
                None => {
                    self.lanes.push_fresh(key, self.running(group), order);
                    self.count_in_group(group, &Phase::Ready { since: Millis(id.ms) }, 0, 1);
                    if let Some(place) = options.ttl_ms.and_then(|_| self.log.locate(order)) {
                        self.index_expiry(place, order, None);
                    }
                }
                Some(due) => {
                    let place = self.log.locate(order).ok_or(Mismatch("a task just pushed"))?;
                    self.log.set_entry(place, &Entry::untouched(Phase::Delayed { due }, order), None);
                    self.delayed.insert(due, order);
                }
            }
            id.seq += 1;
        }
        Ok(())
    }

    fn apply_lease(&mut self, at: Millis, worker: &[u8], tied: bool, lease: &Lease) -> Applied {
        ensure(lease.number > self.last_lease && lease.number <= LeaseNumber::MAX, "a new lease number")?;
        ensure(
            u64::from(lease.lease_ms) <= LEASE_MAX_MS && lease.deadline <= Millis::MAX,
            "a lease's length",
        )?;
        ensure(at <= lease.deadline, "a deadline after its claim")?;
        let mut left = self.leave(lease.id, |phase| matches!(phase, Phase::Ready { .. }))?;
        self.spend(left.key, at);
        self.let_go_at_start(left.place);
        if left.entry.is_suspect() {
            // Whoever it waited for.
            self.awaited = None;
        }
        let worker = self.workers.hold(worker, left.entry.is_suspect());
        self.last_lease = lease.number;
        self.totals.claimed += 1;
        if let Phase::Ready { since } = left.entry.phase {
            self.stats.claimed(since, at);
        }
        let entry = &mut left.entry;
        entry.phase = Phase::Leased { deadline: lease.deadline, claimed_at: at, worker, tied, cancel: false };
        entry.lease = lease.number;
        entry.nonce = lease.nonce;
        entry.lease_ms = lease.lease_ms;
        entry.stalled = false;
        entry.deliveries = entry.deliveries.saturating_add(1);
        self.progress.forget(left.order);
        self.enter(&left)
    }

    fn apply_acked(&mut self, id: TaskId, late: bool, end: Option<&End>) -> Applied {
        ensure(end.is_none_or(End::is_valid), "what is left of a task")?;
        let mut left = self.leave(id, |phase| !matches!(phase, Phase::Done { .. }))?;
        self.totals.acked += 1;
        self.totals.late += u64::from(late);
        self.stats.acked(claimed_at(&left.entry.phase));
        let Some(end) = end.filter(|end| end.retain_ms > 0) else { return self.remove(&left) };
        left.entry.phase = Phase::Done { at: end.at, until: end.at.plus(end.retain_ms) };
        left.entry.stalled = false;
        self.let_go(left.place);
        self.progress.forget(left.order);
        if let Some(result) = end.result {
            self.results.set(left.order, result);
        }
        self.enter(&left)
    }

    fn apply_extended(&mut self, id: TaskId, until: Millis, progress: Option<&[u8]>) -> Applied {
        ensure(progress.is_none_or(|text| text.len() <= PROGRESS_MAX_BYTES), "a progress' length")?;
        let found = self.find(id).ok_or(Mismatch("a task to extend"))?;
        let (place, order, mut entry) = (found.place, found.order, found.entry());
        let Phase::Leased { deadline, .. } = &mut entry.phase else {
            return Err(Mismatch("a lease to extend"));
        };
        ensure(until >= *deadline && until <= Millis::MAX, "a later deadline")?;
        *deadline = until;
        self.log.set_entry(place, &entry, None);
        match progress {
            None => {}
            Some([]) => self.progress.forget(order),
            Some(text) => _ = self.progress.set(order, text),
        }
        Ok(())
    }

    fn apply_stalled(&mut self, tasks: &[(TaskId, Option<Then>)]) -> Applied {
        let mut first = None;
        for (id, then) in tasks {
            let why = match then {
                Some(Then::Dead(at)) => self.why_dead(*id, *at),
                _ => None,
            };
            let mut left = self.leave(*id, is_leased)?;
            if let Some(why) = why {
                self.errors.set(left.order, &why);
            }
            first.get_or_insert(left.order);
            self.totals.stalled += 1;
            left.entry.stalls = left.entry.stalls.saturating_add(1);
            left.entry.stalled = true;
            match then {
                Some(then) => self.enter_then(left, then)?,
                None => {
                    self.totals.cancelled += 1;
                    self.remove(&left)?;
                }
            }
        }
        // Leases that end together lie in one page: its bound is what brought the tick here.
        first.into_iter().for_each(|order| self.log.tighten(order));
        Ok(())
    }

    /// What is said of a task that dies by this stall, in place of the error of a FAIL: how often it stalled, how long the
    /// last lease was held, by whom, and what else ended it but its own length.
    fn why_dead(&self, id: TaskId, at: Millis) -> Option<Vec<u8>> {
        let entry = self.find(id)?.entry?;
        let Phase::Leased { deadline, claimed_at, worker, tied, .. } = entry.phase else { return None };
        let run_max = self.settings.limit(Setting::RunMax);
        let cause: &[u8] = match () {
            () if tied && at < deadline => b" (connection closed)",
            () if run_max.is_some_and(|run_max| claimed_at.plus(run_max) <= deadline) => b" (run-max)",
            () => b"",
        };
        let held_ms = at.min(deadline).since(claimed_at);
        let mut why = match entry.stalls.saturating_add(1) {
            1 => format!("1 stall, after {held_ms} ms"),
            stalls => format!("{stalls} stalls, the last after {held_ms} ms"),
        }
        .into_bytes();
        let name = self.workers.name(worker);
        if !name.is_empty() {
            why.extend_from_slice(b" at worker ");
            why.extend_from_slice(name);
        }
        why.extend_from_slice(cause);
        Some(why)
    }
}

fn claimed_at(phase: &Phase) -> Option<Millis> {
    match phase {
        Phase::Leased { claimed_at, .. } => Some(*claimed_at),
        _ => None,
    }
}
