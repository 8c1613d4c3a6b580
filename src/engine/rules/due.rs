//! What time does to a queue: leases end, delayed tasks become ready, some nobody claims in
//! time, schedules run, groups may run again, dead and done tasks grow too old, tokens are free.

use crate::bounds::STEP_TASKS;
use crate::event::Event;
use crate::numbers::Order;
use crate::request::Entropy;
use crate::settings::Setting;
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::TaskId;
use crate::time::{Millis, Now};

/// What a look at what is due came across: no change, but a shorter way for the next look.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Pages in which no lease is over, though their bounds said so: by their first numbers.
    pub pages: Vec<Order>,
    /// How far the table of groups was looked through for those behind.
    pub groups: Option<usize>,
}

impl State {
    /// When there is something to do next, on the queue's clock; it may turn out to be nothing.
    pub fn next_due(&self, now: &Now) -> Option<Millis> {
        let lease = self.log.bound_after(None).map(|page| now.lease_due(page.bound));
        let pauses = self.pauses.first_end();
        let dead = match (self.dead.first(), self.settings.limit(Setting::DeadTtl)) {
            _ if self.too_many_dead() > 0 => Some(now.at),
            (Some(&(died_at, _)), Some(ttl_ms)) => Some(died_at.plus(ttl_ms)),
            _ => None,
        };
        let groups = self.groups.first_wake().into_iter().chain(self.rate_due(now));
        let tasks = self.delayed.first_due(now).into_iter().chain(self.schedules.next_due(now));
        let ends = self.tokens.first_end().into_iter().chain(self.expiry.first());
        tasks.chain(lease).chain(dead).chain(ends).chain(self.done_due(now)).chain(pauses).chain(groups).min()
    }

    /// One bounded step of what is due by now, to be applied before the next; `None` where nothing (more) is due or
    /// `pages` is used up. `pages` counts down what was looked at, a page of tasks at a time.
    pub(crate) fn due(
        &self,
        now: Now,
        entropy: Entropy,
        pages: &mut usize,
        seen: &mut Seen,
    ) -> Option<Event<'static>> {
        let ended = self.ended_leases(now, entropy, pages, seen);
        if ended.is_some() || *pages == 0 {
            return ended;
        }
        let other = self
            .ended_pause(now)
            .or_else(|| self.awake_groups(now, seen))
            .or_else(|| self.due_tasks(now))
            .or_else(|| self.expired_tasks(now.at))
            .or_else(|| self.due_schedule(now))
            .or_else(|| self.old_dead(now))
            .or_else(|| self.old_done(now))
            .or_else(|| self.ended_tokens(now.at));
        *pages -= usize::from(other.is_some());
        other
    }

    /// Leases of one page that are over. Pages are looked at by their bounds; one whose leases were extended or
    /// answered since gets a new bound.
    fn ended_leases(
        &self,
        now: Now,
        entropy: Entropy,
        pages: &mut usize,
        seen: &mut Seen,
    ) -> Option<Event<'static>> {
        let mut passed = None;
        // In a grace there may be many pages to look at in vain: half of the work is left for what else is due.
        let left = *pages / 2;
        while *pages > left {
            let page = self.log.bound_after(passed).filter(|page| page.bound <= now.at)?;
            *pages -= 1;
            let mut tasks = Vec::new();
            for place in self.log.leases_in(page) {
                let (record, entry) = (self.log.record(place)?, self.log.entry(place)?);
                if matches!(entry.phase, Phase::Leased { deadline, .. } if now.is_over(deadline)) {
                    tasks.push((record.id, self.stalled(now, entropy, &entry)));
                }
            }
            if !tasks.is_empty() {
                return Some(Event::Stalled { tasks });
            }
            // Bounds may be too early, and in a grace deadlines are spared: on to the pages behind.
            seen.pages.push(page.first);
            passed = Some(page);
        }
        None
    }

    fn ended_pause(&self, now: Now) -> Option<Event<'static>> {
        self.pauses.over(now.at).map(|gate| Event::Resumed { gate })
    }

    fn due_tasks(&self, now: Now) -> Option<Event<'static>> {
        let due = self.delayed.in_order(now, None).take_while(|(at, _)| *at <= now.at).take(STEP_TASKS);
        let ids: Vec<TaskId> = due.filter_map(|(_, order)| Some(self.locate(order)?.record.id)).collect();
        (!ids.is_empty()).then_some(Event::BecameReady { ids, at: now.at })
    }
}
