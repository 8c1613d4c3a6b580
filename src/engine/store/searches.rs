//! Where searches go on that had to stop before the end.

use std::collections::BTreeMap;

use crate::numbers::{GroupNumber, Order};
use crate::task::TaskState;
use crate::time::Millis;

/// The most searches whose places are kept.
const SEARCHES_MAX: usize = 1000;

/// A place among tasks: an instant, or 0 if the tasks are ordered by id, and an order number.
pub(crate) type Place = (Millis, Order);

/// What is searched for: tasks of a state, and of a group if one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sought {
    pub state: TaskState,
    pub group: GroupNumber,
}

/// Where a search stopped; `None` if it came to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    pub(crate) sought: Sought,
    pub(crate) at: Option<Place>,
}

/// The places where searches have stopped because of the number of tasks that one call examines. The same search goes on
/// there, and from the end to the beginning. So a call that is repeated often enough sees every task, and a place that is
/// wrong or forgotten costs time only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Searches(BTreeMap<(&'static str, GroupNumber), Place>);

impl Searches {
    /// The last task that the search examined; `None` if it begins at the first.
    pub fn place(&self, sought: Sought) -> Option<Place> {
        self.0.get(&(sought.state.name(), sought.group)).copied()
    }

    /// Notes where a search stopped.
    pub fn note(&mut self, stopped: Stopped) {
        let Stopped { sought: Sought { state, group }, at } = stopped;
        match at {
            None => _ = self.0.remove(&(state.name(), group)),
            Some(place) => {
                if self.0.len() >= SEARCHES_MAX {
                    self.0.clear();
                }
                self.0.insert((state.name(), group), place);
            }
        }
    }
}
