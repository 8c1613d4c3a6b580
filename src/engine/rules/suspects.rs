//! Suspects: tasks that stalled at least twice, so they may have crashed their workers.
//!
//! A suspect is delivered alone: alone in its reply, and to a named worker only if it holds nothing else of the queue.
//! That worker gets nothing more until it has answered. So a crash does not count against other tasks. Of a worker
//! without a name nothing is known, so it gets a suspect alone in its reply.
//!
//! Workers that always hold something pass a suspect over. When that has lasted as long as the queue's `lease`, the
//! next named worker that claims is reserved for the suspect: it gets nothing until it holds nothing, and then the
//! suspect. Only one worker at a time is reserved.
//!
//! The table of worker names counts what each worker holds, and the lanes know which ready tasks are suspects. Events
//! record since when suspects are passed over and which worker is reserved. Both are stored, equal on every copy, and
//! end with the last ready suspect. A queue without suspects pays for none of this.

use crate::event::Event;
use crate::numbers::Rank;
use crate::request::Claim;
use crate::rules::claim::Allowed;
use crate::settings::Setting;
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::lane::Which;
use crate::task::TaskId;
use crate::time::{Millis, Now};

impl State {
    /// Whether any ready task, or any task that a named worker holds, is a suspect. If not, none of these rules apply.
    pub fn has_suspects(&self) -> bool {
        self.lanes.suspects() > 0 || self.workers.total().suspects > 0
    }

    /// The worker that is reserved for a suspect: it gets nothing more until it holds nothing. `None` if there is none.
    pub fn awaited_worker(&self) -> Option<&[u8]> {
        self.awaited.map(|number| self.workers.name(number))
    }

    /// The name of the worker that holds a task: empty if it gave none, `None` if the task isn't leased.
    pub fn worker_of(&self, id: TaskId) -> Option<&[u8]> {
        match self.find(id)?.entry?.phase {
            Phase::Leased { worker, .. } => Some(self.workers.name(worker)),
            _ => None,
        }
    }

    /// What a worker of this name can be given. Nothing is known of a worker without a name, so it can get anything.
    pub(crate) fn allowed(&self, worker: &[u8]) -> Allowed {
        if worker.is_empty() || !self.has_suspects() {
            return Allowed::All;
        }
        match self.workers.find(worker) {
            None => Allowed::All,
            Some((number, holds)) if holds.suspects > 0 || self.awaited == Some(number) => Allowed::Nothing,
            Some(_) => Allowed::Sound,
        }
    }

    /// The event that must precede a claim which would get a suspect if its worker held nothing: the suspect is passed
    /// over, or, if that has lasted too long, the worker is reserved for it. `None` if there is nothing to record.
    pub fn pass_over<'a>(&self, now: Now, claim: &Claim<'a>) -> Option<Event<'a>> {
        if self.lanes.suspects() == 0 || self.allowed(claim.worker) != Allowed::Sound {
            return None;
        }
        let ready_since = self.suspect_in_turn(now.at, claim.group)?;
        let lease_ms = self.settings.span_ms(Setting::Lease);
        let is_overdue = |since: Millis| since.max(ready_since).plus(lease_ms) <= now.at;
        match self.passed_over {
            None => Some(Event::PassedOver { at: now.at, worker: b"" }),
            Some(since) if self.awaited.is_none() && is_overdue(since) => {
                Some(Event::PassedOver { at: now.at, worker: claim.worker })
            }
            Some(_) => None,
        }
    }

    /// Since when the next task in turn is ready, if it is a suspect and can be claimed.
    fn suspect_in_turn(&self, at: Millis, group: Option<&[u8]>) -> Option<Millis> {
        if !self.is_claimable_by(at, group) {
            return None;
        }
        let source = self.sources(at, group, Which::All).next()?;
        let (_, position) = source.lane.in_order(&self.log, Rank::FIRST, Which::All).next()?;
        match self.log.entry(position)? {
            entry if entry.is_suspect() => Some(entry.phase.instant()),
            _ => None,
        }
    }
}
