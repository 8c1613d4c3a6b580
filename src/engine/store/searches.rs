//! Where searches go on that had to stop before the end.

use std::collections::BTreeMap;

use taskslot_edges::{edge, rare};

use crate::numbers::{GroupNumber, Order};
use crate::task::TaskState;
use crate::time::Millis;

/// The most searches whose places are kept. Beyond that, the place that was noted first is forgotten.
pub const SEARCHES_MAX: usize = edge(1000, 2);

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
pub(crate) struct Searches {
    /// Each with the number of its last note.
    places: BTreeMap<(&'static str, GroupNumber), (u64, Place)>,
    notes: u64,
}

impl Searches {
    /// The last task that the search examined; `None` if it begins at the first.
    pub fn place(&self, sought: Sought) -> Option<Place> {
        self.places.get(&(sought.state.name(), sought.group)).map(|(_, place)| *place)
    }

    /// Notes where a search stopped.
    pub fn note(&mut self, stopped: Stopped) {
        let Stopped { sought: Sought { state, group }, at } = stopped;
        let search = (state.name(), group);
        let Some(place) = at else {
            self.places.remove(&search);
            return;
        };
        self.notes += 1;
        self.places.insert(search, (self.notes, place));
        if self.places.len() > SEARCHES_MAX {
            rare!("the place of the oldest search is forgotten");
            let oldest = self.places.iter().min_by_key(|(_, (note, _))| *note);
            let oldest = oldest.map(|(search, _)| *search);
            oldest.into_iter().for_each(|search| _ = self.places.remove(&search));
        }
    }
}
