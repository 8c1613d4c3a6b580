//! The order of ready tasks: levels of priority, the highest first. See `level` for groups, `lane` for one line.

use std::collections::BTreeMap;

use crate::invalid::{Invalid, ensure};
use crate::numbers::{GroupNumber, Order, Rank};
use crate::store::lane::{Lane, LaneTasks};
use crate::store::level::Level;
use crate::store::log::Log;

/// Which lane a task belongs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneKey {
    pub priority: i8,
    pub group: GroupNumber,
}

/// The tasks of each lane as the log knows them.
pub(crate) type ReadyTasks = BTreeMap<LaneKey, LaneTasks>;

/// All levels, the highest priority first. A level that was used stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    levels: Vec<Level>,
    /// The lane of the last fresh task: its last run may be extended over what came between.
    last: Option<LaneKey>,
    ready: u64,
    /// How many of the ready are suspects.
    suspects: u64,
}

impl Lanes {
    /// How many tasks are ready.
    pub fn ready(&self) -> u64 {
        self.ready
    }

    /// How many of them are suspects.
    pub fn suspects(&self) -> u64 {
        self.suspects
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        self.levels.capacity() * size_of::<Level>() + self.levels.iter().map(Level::memory).sum::<usize>()
    }

    /// The levels, the highest priority first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    fn level(&mut self, priority: i8) -> Option<&mut Level> {
        let at = match self.levels.binary_search_by(|level| priority.cmp(&level.priority)) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, Level::new(priority));
                at
            }
        };
        self.levels.get_mut(at)
    }

    /// A task that was just pushed is ready. Numbers only grow. `weight` is its group's, if that may run now.
    pub fn push_fresh(&mut self, key: LaneKey, weight: Option<u32>, order: Order) {
        let extend = self.last == Some(key);
        if let Some(level) = self.level(key.priority) {
            level.put(key.group, weight, |lane| lane.push_fresh(order, extend));
        }
        self.last = Some(key);
        self.ready += 1;
    }

    /// A fresh task is touched or gone: it must still be in the log as fresh, since the log says what a run covers.
    pub fn take_fresh(&mut self, key: LaneKey, order: Order, log: &Log) {
        debug_assert!(self.ready > self.suspects, "ready tasks are counted");
        if let Some(level) = self.level(key.priority) {
            level.take(key.group, |lane| lane.take_fresh(order, log));
        }
        self.ready -= 1;
    }

    /// A task came back; false where another holds its turn.
    pub fn put_returned(
        &mut self,
        key: LaneKey,
        weight: Option<u32>,
        rank: Rank,
        order: Order,
        is_suspect: bool,
    ) -> bool {
        let put = |lane: &mut Lane| lane.put_returned(rank, order, is_suspect);
        let free = self.level(key.priority).is_some_and(|level| level.put(key.group, weight, put));
        self.ready += u64::from(free);
        self.suspects += u64::from(free && is_suspect);
        free
    }

    /// A task that had come back leaves.
    pub fn take_returned(&mut self, key: LaneKey, rank: Rank, is_suspect: bool) {
        debug_assert!(self.ready > 0 && self.suspects >= u64::from(is_suspect), "ready tasks are counted");
        if let Some(level) = self.level(key.priority) {
            level.take(key.group, |lane| lane.take_returned(rank, is_suspect));
        }
        self.ready -= 1;
        self.suspects -= u64::from(is_suspect);
    }

    /// A task of a group was claimed.
    pub fn charge(&mut self, key: LaneKey, weight: u32) {
        if let Some(level) = self.level(key.priority).filter(|level| level.has_groups()) {
            level.charge(key.group, weight);
        }
    }

    /// A group may run, with this weight, or may not.
    pub fn set_running(&mut self, group: GroupNumber, weight: Option<u32>) {
        for level in self.levels.iter_mut().filter(|level| level.has_groups()) {
            match weight {
                Some(weight) => level.join(group, weight),
                None => level.leave(group),
            }
        }
    }

    /// A group's weight is another.
    pub fn reweigh(&mut self, group: GroupNumber, before: u32, weight: u32) {
        self.levels.iter_mut().for_each(|level| level.reweigh(group, before, weight));
    }

    /// Moves a group to the end of a level's rotation: told for each in turn, it makes a stored rotation again.
    pub fn restore_turn(&mut self, key: LaneKey, left: u32) -> bool {
        self.level(key.priority).is_some_and(|level| level.restore_turn(key.group, left))
    }

    /// Every turn of every level, in order.
    pub fn turns(&self) -> impl Iterator<Item = (LaneKey, u32)> + '_ {
        self.levels.iter().flat_map(|level| {
            let priority = level.priority;
            level.turns().map(move |(group, left)| (LaneKey { priority, group }, left))
        })
    }

    /// Whether the lanes hold just the tasks that the log says are ready.
    pub fn validate(
        &self,
        ready: &ReadyTasks,
        runs: impl Fn(GroupNumber) -> Option<u32>,
        log: &Log,
    ) -> Result<(), Invalid> {
        let mut lanes = 0;
        for level in &self.levels {
            level.validate(&runs)?;
            for (group, lane) in level.lanes() {
                lanes += 1;
                let tasks = ready.get(&LaneKey { priority: level.priority, group });
                lane.validate(tasks.ok_or(Invalid("a lane's tasks"))?, log)?;
            }
        }
        let suspects: usize = ready.values().map(|tasks| tasks.suspects.len()).sum();
        let counted: usize = ready.values().map(|tasks| tasks.fresh.len() + tasks.returned.len()).sum();
        ensure(self.ready == (counted + suspects) as u64, "ready tasks are counted")?;
        ensure(self.suspects == suspects as u64, "suspects are counted")?;
        ensure(lanes == ready.len(), "every ready task is in a lane")
    }
}
