//! The only mutator: an event that was decided on a queue changes that queue, and every copy of it, alike.
//!
//! An event decided on the same state always applies. One that comes from a file or a peer is checked: what
//! doesn't fit is refused with a reason, and since an event may have changed half of its tasks by then, whoever
//! applies it must give the queue up (SPEC §6, BROKEN).

pub(crate) mod copy;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod lease;
pub(crate) mod load;
pub(crate) mod push;
pub(crate) mod replace;
pub(crate) mod schedules;
pub(crate) mod seen;
pub(crate) mod tokens;
pub(crate) mod transition;

use crate::apply::transition::is_leased;
use crate::bounds::{CLOCK_OFFSET_MAX_MS, ERROR_MAX_BYTES, NAME_MAX_BYTES};
use crate::event::{Event, Gate};
use crate::mismatch::{Applied, Mismatch, ensure};
use crate::settings::Rule;
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::requests::Request;
use crate::task::{LeaseNumber, TaskId};
use crate::time::Millis;

impl State {
    /// Changes the queue as the event says. Errors: it doesn't fit this queue, which is to be given up then.
    pub(crate) fn apply(&mut self, event: &Event) -> Applied {
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
                    queue.local.stats.taken(since);
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

    fn each(&mut self, ids: &[TaskId], mut step: impl FnMut(&mut State, TaskId) -> Applied) -> Applied {
        ids.iter().try_for_each(|&id| step(self, id))
    }
}
