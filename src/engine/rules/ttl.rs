//! Removing ready tasks whose time to live has passed.

use crate::bounds::STEP_TASKS;
use crate::event::Event;
use crate::numbers::Order;
use crate::state::State;
use crate::task::TaskId;
use crate::time::Millis;

impl State {
    /// Whether ready tasks have expired by `at` and are not removed yet. Nothing can be claimed until they are.
    pub fn is_behind(&self, at: Millis) -> bool {
        self.expiry.is_behind(at)
    }

    /// Removes ready tasks that have expired, at most as many as one step allows.
    pub(crate) fn expired_tasks(&self, at: Millis) -> Option<Event<'static>> {
        let expired = self.expiry.over(at).take(STEP_TASKS);
        let id = |order: Order| Some(self.log.record(self.log.locate(order)?)?.id);
        let ids: Vec<TaskId> = expired.filter_map(id).collect();
        (!ids.is_empty()).then_some(Event::Expired { at, ids })
    }
}
