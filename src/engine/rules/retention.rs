//! When finished tasks are removed: dead ones that are too old or too many, and done ones, also to make room.

use taskslot_edges::rare;

use crate::bounds::STEP_TASKS;
use crate::event::Event;
use crate::settings::Setting;
use crate::state::State;
use crate::task::{Options, TaskId};
use crate::time::{Millis, Now};

impl State {
    /// When the next done task must be removed; `None` if there is none.
    pub(crate) fn done_due(&self, now: &Now) -> Option<Millis> {
        let is_too_much = self.done.len() > 0 && (self.too_many_done() > 0 || self.bytes_above(0) > 0);
        if is_too_much { Some(now.at) } else { self.done.first_end() }
    }

    /// Removes done tasks whose retention has ended, or that exceed `retain-max` or `max-bytes`; a bounded number.
    pub(crate) fn old_done(&self, now: Now) -> Option<Event<'static>> {
        let over = self.done.over(now.at).take(STEP_TASKS);
        let ids: Vec<TaskId> = over.filter_map(|order| Some(self.locate(order)?.record.id)).collect();
        if ids.len() == STEP_TASKS {
            rare!("as many done tasks are over as one step removes");
        }
        if !ids.is_empty() {
            return Some(Event::Forgotten { ids });
        }
        let surplus = usize::try_from(self.too_many_done()).unwrap_or(STEP_TASKS);
        self.forget_oldest(surplus, self.bytes_above(0))
    }

    /// Removes the oldest done tasks to make room for a push or an edit that was decided; a bounded number. Apply the event and
    /// ask again until it returns `None`.
    pub fn make_room(&self, push: &Event) -> Option<Event<'static>> {
        let tasks = |options: &Options, payloads: &[&[u8]]| {
            payloads.iter().map(|payload| (payload.len() + options.headers.len()) as u64).sum()
        };
        let added = match push {
            Event::Pushed { options, payloads, .. } => tasks(options, payloads),
            Event::PushedAfter { options, payloads, .. } | Event::BatchOpened { options, payloads, .. } => {
                tasks(options, payloads)
            }
            Event::Edited { ids, headers, payload, .. } => {
                let growth = ids.iter().map(|&id| self.edit_growth(id, *payload, *headers)).sum::<i64>();
                growth.max(0).unsigned_abs()
            }
            Event::Replaced { id, headers, payload } => {
                self.edit_growth(*id, Some(payload), Some(headers)).max(0).unsigned_abs()
            }
            _ => return None,
        };
        self.forget_oldest(0, self.bytes_above(added))
    }

    /// The bytes that would be free without any done tasks.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done.bytes() + self.results.bytes()
    }

    /// By how many bytes the queue would exceed `max-bytes` if `added` bytes came.
    fn bytes_above(&self, added: u64) -> u64 {
        let max = self.settings.limit(Setting::MaxBytes);
        max.map_or(0, |max| self.record_bytes().saturating_add(added).saturating_sub(max))
    }

    fn too_many_done(&self) -> u64 {
        let max = self.settings.limit(Setting::RetainMax);
        max.map_or(0, |max| self.done.len().saturating_sub(max))
    }

    /// The oldest done tasks: at least `count`, and enough for `bytes`, but no more than one step removes.
    fn forget_oldest(&self, count: usize, bytes: u64) -> Option<Event<'static>> {
        if self.done.len() == 0 {
            return None;
        }
        let (mut ids, mut freed) = (Vec::new(), 0u64);
        for (_, order) in self.done.in_order(None).take(STEP_TASKS) {
            if ids.len() >= count && freed >= bytes {
                break;
            }
            let Some(found) = self.locate(order) else { continue };
            freed += (self.task_bytes(found.position, found.order)
                + self.results.get(order).map_or(0, <[u8]>::len)) as u64;
            ids.push(found.record.id);
        }
        if ids.len() == STEP_TASKS {
            rare!("one step does not make enough room for a push");
        }
        (!ids.is_empty()).then_some(Event::Forgotten { ids })
    }

    /// Removes dead tasks that are older than `dead-ttl` or exceed `dead-max`; a bounded number.
    pub(crate) fn old_dead(&self, now: Now) -> Option<Event<'static>> {
        let too_old = self.settings.limit(Setting::DeadTtl).map_or(0, |ttl_ms| {
            self.dead
                .iter()
                .take(STEP_TASKS)
                .take_while(|(died_at, _)| died_at.plus(ttl_ms) <= now.at)
                .count()
        });
        let count = usize::try_from(self.too_many_dead()).unwrap_or(STEP_TASKS).min(STEP_TASKS).max(too_old);
        let ids: Vec<TaskId> = self.oldest_dead(count).collect();
        if ids.len() == STEP_TASKS {
            rare!("as many dead tasks are dropped as one step drops");
        }
        (!ids.is_empty()).then_some(Event::Dropped { ids })
    }

    pub(crate) fn too_many_dead(&self) -> u64 {
        let max = self.settings.limit(Setting::DeadMax);
        max.map_or(0, |max| (self.dead.len() as u64).saturating_sub(max))
    }

    /// The tasks that have been dead for the longest time, at most `count`.
    fn oldest_dead(&self, count: usize) -> impl Iterator<Item = TaskId> + '_ {
        self.dead.iter().take(count).filter_map(|&(_, order)| Some(self.locate(order)?.record.id))
    }
}
