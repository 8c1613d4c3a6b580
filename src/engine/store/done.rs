//! Done tasks that are kept for a while: who is the oldest, whose time is over first, and which of them go.
//!
//! They are bounded by age (each by its own RETAIN), by count (`retain-max`) and by bytes: while the queue holds more
//! than `max-bytes`, and where a push needs the room, the oldest go. So a push is never refused for the bytes or the number of what is done.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::event::Event;
use crate::queue::Queue;
use crate::settings::Setting;
use crate::store::entry::Order;
use crate::task::TaskId;
use crate::time::{Millis, Now};

/// Tasks that one event forgets, so that a step stays far below a millisecond.
const STEP_TASKS: usize = 128;

/// See the head of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// By when they became so.
    by_age: BTreeSet<(Millis, Order)>,
    /// By when their time is over.
    by_end: BTreeSet<(Millis, Order)>,
    /// Bytes of their records; those of their results are counted with the results.
    bytes: u64,
}

impl Done {
    /// How many tasks are done and kept.
    pub fn len(&self) -> u64 {
        self.by_age.len() as u64
    }

    /// Bytes of their records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        (self.by_age.len() + self.by_end.len()) * 24
    }

    /// A task is done since `at` and kept until `until`; its record takes so many bytes.
    pub fn insert(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.insert((at, order));
        self.by_end.insert((until, order));
        self.bytes += bytes as u64;
    }

    /// A task that was inserted so isn't kept any more.
    pub fn remove(&mut self, at: Millis, until: Millis, order: Order, bytes: usize) {
        self.by_age.remove(&(at, order));
        self.by_end.remove(&(until, order));
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// Tasks by when they became done, after the given one or from the first.
    pub fn in_order(&self, after: Option<(Millis, Order)>) -> impl Iterator<Item = (Millis, Order)> + '_ {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_age.range((start, Bound::Unbounded)).copied()
    }

    /// When the first one's time is over.
    fn first_end(&self) -> Option<Millis> {
        self.by_end.first().map(|&(until, _)| until)
    }

    /// Whether it holds just these, each as (since, until, number), and so many bytes. For `check`.
    pub fn holds(&self, done: &[(Millis, Millis, Order)], bytes: u64) -> bool {
        let by_age: BTreeSet<_> = done.iter().map(|&(at, _, order)| (at, order)).collect();
        let by_end: BTreeSet<_> = done.iter().map(|&(_, until, order)| (until, order)).collect();
        self.by_age == by_age && self.by_end == by_end && self.bytes == bytes
    }
}

impl Queue {
    /// When the next done task is to go.
    pub(crate) fn done_due(&self, now: &Now) -> Option<Millis> {
        let is_too_much = self.done.len() > 0 && (self.too_many_done() > 0 || self.bytes_above(0) > 0);
        if is_too_much { Some(now.at) } else { self.done.first_end() }
    }

    /// Done tasks whose time is over, or that are too many or in the way; a bounded number.
    pub(crate) fn old_done(&self, now: Now) -> Option<Event<'static>> {
        let is_over = |&&(until, _): &&(Millis, Order)| until <= now.at;
        let over = self.done.by_end.iter().take_while(is_over).take(STEP_TASKS);
        let ids: Vec<TaskId> = over.filter_map(|&(_, order)| Some(self.locate(order)?.record.id)).collect();
        if !ids.is_empty() {
            return Some(Event::Forgotten { ids });
        }
        let surplus = usize::try_from(self.too_many_done()).unwrap_or(STEP_TASKS);
        self.forget_oldest(surplus, self.bytes_above(0))
    }

    /// What goes before a push that was decided on can be let in: the oldest of the done, a bounded number. To be
    /// applied, and asked again until it is `None`.
    pub fn make_room(&self, push: &Event) -> Option<Event<'static>> {
        let added = match push {
            Event::Pushed { options, payloads, .. } => {
                payloads.iter().map(|payload| (payload.len() + options.headers.len()) as u64).sum()
            }
            Event::Replaced { headers, payload, .. } => (payload.len() + headers.len()) as u64,
            _ => return None,
        };
        self.forget_oldest(0, self.bytes_above(added))
    }

    /// Bytes that would go if no task was kept that is done.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done.bytes() + self.results.bytes()
    }

    /// How far the queue would be above `max-bytes` if it had `added` bytes more.
    fn bytes_above(&self, added: u64) -> u64 {
        let max = self.settings.limit(Setting::MaxBytes);
        max.map_or(0, |max| self.record_bytes().saturating_add(added).saturating_sub(max))
    }

    fn too_many_done(&self) -> u64 {
        let max = self.settings.limit(Setting::RetainMax);
        max.map_or(0, |max| self.done.len().saturating_sub(max))
    }

    /// The oldest of the done: at least so many, and at least so many bytes of them; at most a step's.
    fn forget_oldest(&self, count: usize, bytes: u64) -> Option<Event<'static>> {
        let (mut ids, mut freed) = (Vec::new(), 0u64);
        for (_, order) in self.done.in_order(None).take(STEP_TASKS) {
            if ids.len() >= count && freed >= bytes {
                break;
            }
            let Some(found) = self.locate(order) else { continue };
            freed += (self.task_bytes(found.place, found.order)
                + self.results.get(order).map_or(0, <[u8]>::len)) as u64;
            ids.push(found.record.id);
        }
        (!ids.is_empty()).then_some(Event::Forgotten { ids })
    }
}
