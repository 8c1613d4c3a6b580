//! What time changes in a queue: leases end, delayed tasks become ready, unclaimed tasks expire, schedules run, groups
//! can run again, dead and done tasks become too old, tokens become free. Also what a change leaves to be done in steps:
//! held tasks learn that others have ended.

use taskslot_edges::rare;

use crate::bounds::STEP_TASKS;
use crate::event::Event;
use crate::numbers::Order;
use crate::request::Entropy;
use crate::settings::Setting;
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::{Millis, Now};

/// Later than all instants that a queue can store.
const NEVER: Millis = Millis(u64::MAX);

/// What a search for due work learned. It doesn't change the queue, but it makes the next search shorter.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Pages whose bound was too early: no lease in them has ended. A page is named by its first order number.
    pub pages: Vec<Order>,
    /// Where the search for groups behind stopped.
    pub groups: Option<usize>,
}

impl State {
    /// When to look for due work next, on the queue's clock. The search may then find nothing. `None` if nothing in the
    /// queue depends on time.
    pub fn next_due(&self, now: &Now) -> Option<Millis> {
        let lease = self.log.first_bound().map(|bound| now.lease_due(bound));
        let (pauses, rate) = (self.pauses.first_end(), self.rate_due(now));
        let (groups, schedules) = (self.groups.first_wake(), self.schedules.next_due(now));
        let few = if self.is_plain() { None } else { self.due_of_few(now) };
        first([lease, pauses, rate, groups, schedules, few])
    }

    /// When something is due in the tables that have something about few tasks.
    fn due_of_few(&self, now: &Now) -> Option<Millis> {
        let dead = match (self.dead.first(), self.settings.limit(Setting::DeadTtl)) {
            _ if self.too_many_dead() > 0 => Some(now.at),
            (Some(&(died_at, _)), Some(ttl_ms)) => Some(died_at.plus(ttl_ms)),
            _ => None,
        };
        let (delayed, tokens) = (self.delayed.first_due(now), self.tokens.first_end());
        let news = self.has_news().then_some(now.at);
        first([dead, delayed, tokens, self.expiry.first(), self.done_due(now), news])
    }

    /// One bounded step of the work that is due now. Apply it before asking for the next; `None` if nothing (more) is
    /// due or `pages` is used up. `pages` counts down as pages of tasks are examined.
    pub(crate) fn due(
        &self,
        now: Now,
        entropy: Entropy,
        pages: &mut usize,
        seen: &mut Seen,
    ) -> Option<Event<'static>> {
        let ended = self.ended_leases(now, entropy, pages, seen);
        if ended.is_none() && *pages == 0 {
            rare!("a tick has examined all of its pages");
        }
        if ended.is_some() || *pages == 0 {
            return ended;
        }
        let other = self
            .ended_pause(now)
            .or_else(|| self.awake_groups(now, seen))
            .or_else(|| self.due_tasks(now))
            .or_else(|| self.news(now))
            .or_else(|| self.expired_tasks(now.at))
            .or_else(|| self.due_schedule(now))
            .or_else(|| self.old_dead(now))
            .or_else(|| self.old_done(now))
            .or_else(|| self.ended_tokens(now.at));
        *pages -= usize::from(other.is_some());
        other
    }

    /// The ended leases of one page. Pages are examined by their bounds. A page whose leases were extended or answered
    /// since gets a new bound.
    fn ended_leases(
        &self,
        now: Now,
        entropy: Entropy,
        pages: &mut usize,
        seen: &mut Seen,
    ) -> Option<Event<'static>> {
        let mut after = None;
        // During a grace, many pages may be examined without result. Half of the work is reserved for everything else
        // that is due.
        let left = *pages / 2;
        while *pages > left {
            let page = self.log.bound_after(after).filter(|page| page.bound <= now.at)?;
            *pages -= 1;
            let mut tasks = Vec::new();
            for position in self.log.leases_in(page) {
                let (record, entry) = (self.log.record(position)?, self.log.entry(position)?);
                if matches!(entry.phase, Phase::Leased { deadline, .. } if now.is_over(deadline)) {
                    tasks.push((record.id, self.stalled(now, entropy, &entry)));
                }
            }
            if !tasks.is_empty() {
                return Some(Event::Stalled { tasks });
            }
            rare!("no lease of a page has ended at its bound");
            // The bound was too early, or a grace spares these deadlines: continue with the next page.
            seen.pages.push(page.first);
            after = Some(page);
        }
        None
    }

    fn ended_pause(&self, now: Now) -> Option<Event<'static>> {
        self.pauses.over(now.at).map(|gate| Event::Resumed { gate })
    }

    fn due_tasks(&self, now: Now) -> Option<Event<'static>> {
        let due = self.delayed.in_order(now, None).take_while(|(at, _)| *at <= now.at).take(STEP_TASKS);
        let ids: Vec<TaskId> = due.filter_map(|(_, order)| Some(self.locate(order)?.record.id)).collect();
        if ids.len() == STEP_TASKS {
            rare!("as many tasks become ready as one step moves");
        }
        (!ids.is_empty()).then_some(Event::BecameReady { ids, at: now.at })
    }
}

/// The first of some instants. Every write asks, and a chain of iterators would take as long as the rest of the question.
fn first<const N: usize>(instants: [Option<Millis>; N]) -> Option<Millis> {
    let first = instants.map(|at| at.unwrap_or(NEVER)).into_iter().fold(NEVER, Millis::min);
    (first != NEVER).then_some(first)
}
