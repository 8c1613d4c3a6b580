//! Suspects: tasks that stalled twice or more, so that their workers may have died of them.
//!
//! One is delivered alone: alone in its reply, and only to a worker, by its name, that holds nothing else of the
//! queue; that worker gets nothing more until it has answered. So a crash charges no innocent beside it. Workers that
//! always hold something pass it over. Once that has gone on for as long as the queue's lease, the next worker that
//! claims is to get the suspect: it gets nothing more until it holds nothing. One worker at a time is held so.
//!
//! Who holds what is known by the names of workers (`names`), which ready tasks are suspects by the lanes. Since when
//! they are passed over, and which worker is to get one, is said by events, stored and equal on every copy: both end
//! with the last ready suspect. A queue without suspects pays for none of it.

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
    /// Whether any task that is ready, or that a worker with a name holds, is a suspect: else none of this matters.
    pub fn has_suspects(&self) -> bool {
        self.lanes.suspects() > 0 || self.workers.total().suspects > 0
    }

    /// The worker that gets nothing more until it holds nothing, since a suspect waits for it.
    pub fn awaited_worker(&self) -> Option<&[u8]> {
        self.awaited.map(|number| self.workers.name(number))
    }

    /// The name of the worker that holds a task; `None` where nobody does, empty where it gave none.
    pub fn worker_of(&self, id: TaskId) -> Option<&[u8]> {
        match self.find(id)?.entry?.phase {
            Phase::Leased { worker, .. } => Some(self.workers.name(worker)),
            _ => None,
        }
    }

    /// What a worker of this name may be given; of one without a name nothing is known.
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

    /// What is to be said before a claim that would get a suspect if its worker held nothing: that it is passed over,
    /// or from when that has gone on for too long, that it waits for this worker. `None` where nothing is to be said.
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

    /// Since when the task is ready that is the next in turn, if it is a suspect and can be claimed.
    fn suspect_in_turn(&self, at: Millis, group: Option<&[u8]>) -> Option<Millis> {
        if !self.is_claimable_by(at, group) {
            return None;
        }
        let source = self.sources(at, group, Which::All).next()?;
        let (_, place) = source.lane.in_order(&self.log, Rank::FIRST, Which::All).next()?;
        match self.log.entry(place)? {
            entry if entry.is_suspect() => Some(entry.phase.instant()),
            _ => None,
        }
    }
}
