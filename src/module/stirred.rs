//! Which groups a write may have made claimable: so that ten thousand workers that wait for as many groups don't
//! change what a push into another group costs.

use std::collections::BTreeSet;

use taskslot_engine::{Event, Queue, Setting};

/// See the head of the file.
pub enum Stirred {
    /// These at most.
    Groups(BTreeSet<Box<[u8]>>),
    /// It isn't known.
    All,
}

impl Stirred {
    /// Nothing has happened yet. A rate fills up without an event.
    pub fn at_first(queue: &Queue) -> Stirred {
        if queue.settings().rate().is_some() { Stirred::All } else { Stirred::Groups(BTreeSet::new()) }
    }

    /// Notes what an event is about to stir.
    pub fn note(&mut self, queue: &Queue, event: &Event) {
        let Stirred::Groups(groups) = self else { return };
        let mut is_all = false;
        let mut add = |name: &[u8]| {
            if !name.is_empty() {
                groups.insert(name.into());
            }
        };
        match event {
            Event::Claimed { .. } | Event::Extended { .. } | Event::Answered { .. } | Event::Term { .. } => {}
            // Nothing could be claimed before what had expired was gone, whatever its group.
            Event::Expired { .. } => is_all = true,
            Event::Pushed { options, .. } => add(options.group),
            Event::Grouped { name, .. } => add(name),
            Event::Rested { names, .. } => names.iter().for_each(|name| add(name)),
            // Whatever ends a lease makes room for tasks of all groups where the queue has a limit.
            event if queue.settings().limit(Setting::Concurrency).is_none() => {
                is_all = event.for_each_task(|id| add(queue.group_of(id))).is_none();
            }
            _ => is_all = true,
        }
        if is_all {
            *self = Stirred::All;
        }
    }
}
