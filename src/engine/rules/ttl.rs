//! Ready tasks that nobody claimed in time.

use crate::bounds::STEP_TASKS;
use crate::event::Event;
use crate::numbers::Order;
use crate::state::State;
use crate::task::TaskId;
use crate::time::Millis;

impl State {
    /// Whether there are ready tasks whose time to live is over and that nobody has removed yet. Nothing is claimed before
    /// they are.
    pub fn is_behind(&self, at: Millis) -> bool {
        self.expiry.is_behind(at)
    }

    /// Ready tasks whose time to live is over, at most as many as one step removes.
    pub(crate) fn expired_tasks(&self, at: Millis) -> Option<Event<'static>> {
        let expired = self.expiry.over(at).take(STEP_TASKS);
        let id = |order: Order| Some(self.log.record(self.log.locate(order)?)?.id);
        let ids: Vec<TaskId> = expired.filter_map(id).collect();
        (!ids.is_empty()).then_some(Event::Expired { at, ids })
    }
}
