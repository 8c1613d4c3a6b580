//! The only code that changes a queue: it applies events.
//!
//! An event that was decided on a queue changes that queue and every copy of it alike, and always applies. An event
//! from a file or a peer is checked before it changes anything, task by task. One that does not fit is refused with a
//! reason. Tasks before the one that is refused are changed by then, each as a whole, so the caller must give the queue
//! up (BROKEN).
//!
//! Each event has a method `apply_…` in the file of its noun. `transition` moves a task from one state to another, and
//! is the only file that knows all structures a task can be in. `load` and `copy` fill a queue from its stored form and
//! from another queue; `seen` notes what a search for due work found out.

pub(crate) mod attempts;
pub(crate) mod batches;
pub(crate) mod control;
pub(crate) mod copy;
pub(crate) mod dependents;
pub(crate) mod edit;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod lease;
pub(crate) mod load;
pub(crate) mod push;
pub(crate) mod ready;
pub(crate) mod removal;
pub(crate) mod replace;
pub(crate) mod schedules;
pub(crate) mod seen;
pub(crate) mod tokens;
pub(crate) mod transition;

use crate::apply::edit::Edit;
use crate::apply::push::Held;
use crate::event::Event;
use crate::invalid::{Applied, ensure};
use crate::state::State;
use crate::task::TaskId;

impl State {
    /// Changes the queue by one event. Errors: the event does not fit this queue, which must be given up then.
    pub(crate) fn apply(&mut self, event: &Event) -> Applied {
        match event {
            Event::Pushed { first, count, due, options, payloads } => {
                ensure(*count as usize == payloads.len(), "as many payloads as tasks")?;
                self.apply_pushed(*first, *due, options, payloads)
            }
            Event::PushedAfter { first, count, at, when, parents, on_dead, options, payloads } => {
                ensure(*count as usize == payloads.len(), "as many payloads as tasks")?;
                let held = Held { at: *at, when: *when };
                self.apply_pushed_after(*first, held, (parents, *on_dead), options, payloads)
            }
            Event::BatchOpened { name, id, at, when, options, payloads } => {
                self.apply_batch_opened(name, *id, Held { at: *at, when: *when }, options, payloads)
            }
            Event::BatchClosed { name, at } => self.apply_batch_closed(name, *at),
            Event::Told { parent, at, tasks } => self.apply_told(*parent, *at, tasks),
            Event::Answered { token, at, kept_until, answer } => {
                self.apply_answered(token, *at, *kept_until, answer)
            }
            Event::Term { term, floor, clocks } => self.apply_term(*term, *floor, clocks.as_ref()),
            Event::Clock { offset_ms } => self.apply_clock(*offset_ms),
            Event::Claimed { at, worker, tied, leases } => self.apply_claimed(*at, worker, *tied, leases),
            Event::PassedOver { at, worker } => self.apply_passed_over(*at, worker),
            Event::Taken { ids, at } => self.each(ids, |state, id| state.apply_taken(id, *at)),
            Event::Unclaimed { id, at } => self.apply_unclaimed(*id, *at),
            Event::Acked { id, late, end } => self.apply_acked(*id, *late, end.as_ref()),
            Event::Failed { id, then, error, at, progress } => {
                self.apply_failed(*id, then, error, *at, *progress)
            }
            Event::Requeued { id, then, back, progress } => self.apply_requeued(*id, then, *back, *progress),
            Event::Extended { id, deadline, progress } => self.apply_extended(*id, *deadline, *progress),
            Event::Stalled { tasks } => self.apply_stalled(tasks),
            Event::BecameReady { ids, at } => self.each(ids, |state, id| state.apply_became_ready(id, *at)),
            Event::Retried { ids, at } => self.each(ids, |state, id| state.apply_retried(id, *at)),
            Event::Cancelled { id } => self.apply_cancelled(*id),
            Event::CancelAsked { id } => self.apply_cancel_asked(*id),
            Event::Dropped { ids } => self.each(ids, State::apply_dropped),
            Event::Forgotten { ids } => self.each(ids, State::apply_forgotten),
            Event::Purged { ids } => self.each(ids, State::apply_purged),
            Event::Expired { at, ids } => self.each(ids, |state, id| state.apply_expired(id, *at)),
            Event::Replaced { id, headers, payload } => self.apply_replaced(*id, headers, payload),
            Event::Edited { ids, then, when, priority, group, headers, has_payload, payload } => {
                ensure(*has_payload == payload.is_some(), "the payload that the event speaks of")?;
                let (priority, group, headers) = (*priority, *group, *headers);
                let edit = Edit { then, when: *when, priority, group, headers, payload: *payload };
                self.each(ids, |state, id| state.apply_edited(id, &edit))
            }
            Event::Freed { at, tokens } => self.apply_freed(*at, tokens),
            Event::Configured { values } => self.apply_configured(values),
            Event::Grouped { name, limits } => self.apply_grouped(name, *limits),
            Event::GroupPaused { name, until } => self.apply_group_paused(name, *until),
            Event::GroupResumed { name } => self.apply_group_resumed(name),
            Event::Rested { names, at } => self.apply_rested(names, *at),
            Event::Paused { gate, until } => self.apply_paused(*gate, *until),
            Event::Resumed { gate } => self.apply_resumed(*gate),
            Event::Scheduled { name, plan, next, seen } => self.apply_scheduled(name, plan, *next, *seen),
            Event::Unscheduled { name } => self.apply_unscheduled(name),
            Event::Fired { name, id, next, at } => self.apply_fired(name, *id, *next, *at),
            Event::Ran { name, id, at } => self.apply_ran(name, *id, *at),
            Event::Skipped { name, next, at, missed } => self.apply_skipped(name, *next, *at, *missed),
            Event::Replanned { name, next, at } => self.apply_replanned(name, *next, *at),
        }
    }

    fn each(&mut self, ids: &[TaskId], mut step: impl FnMut(&mut State, TaskId) -> Applied) -> Applied {
        ids.iter().try_for_each(|&id| step(self, id))
    }
}
