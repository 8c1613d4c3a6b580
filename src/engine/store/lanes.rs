//! The order of ready tasks: all priorities and groups. See `level` for one priority, `lane` for one group of it.

use std::collections::BTreeMap;

use crate::invalid::{Invalid, ensure};
use crate::numbers::{GroupNumber, Order, Rank};
use crate::store::lane::{Lane, LaneTasks};
use crate::store::level::Level;
use crate::store::log::{Log, Position};

/// The lane of a task: its priority and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneKey {
    pub priority: i8,
    pub group: GroupNumber,
}

/// The tasks of each lane, according to the log. For `check`.
pub(crate) type ReadyTasks = BTreeMap<LaneKey, LaneTasks>;

/// All ready tasks of a queue, as one level per priority, the highest first.
///
/// A level stays after its last task has left. Finding one is a binary search over at most 256 priorities.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    levels: Vec<Level>,
    /// The lane of the last fresh task. If the next one has the same lane, its last run is extended.
    last: Option<LaneKey>,
    ready: u64,
    /// How many ready tasks are suspects.
    suspects: u64,
}

impl Lanes {
    /// How many tasks are ready.
    pub fn ready(&self) -> u64 {
        self.ready
    }

    /// How many ready tasks are suspects.
    pub fn suspects(&self) -> u64 {
        self.suspects
    }

    /// Whether tasks are ready, and the group of each is kept from running.
    pub fn are_held(&self) -> bool {
        self.ready > 0 && !self.levels.iter().any(Level::can_run)
    }

    /// Bytes taken from the allocator, approximately.
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

    /// Adds a task that was just pushed; order numbers only grow. `weight` is its group's, or `None` if the group can't
    /// run.
    pub fn push_fresh(&mut self, key: LaneKey, weight: Option<u32>, order: Order) {
        let extend = self.last == Some(key);
        if let Some(level) = self.level(key.priority) {
            level.put(key.group, weight, |lane| lane.push_fresh(order, extend));
        }
        self.last = Some(key);
        self.ready += 1;
    }

    /// Removes a fresh task that is touched or removed. The log must still list it as fresh: it decides what a run
    /// covers.
    pub fn take_fresh(&mut self, key: LaneKey, order: Order, position: Position, log: &Log) {
        debug_assert!(self.ready > self.suspects, "ready tasks are counted");
        if let Some(level) = self.level(key.priority) {
            level.take(key.group, |lane| lane.take_fresh(order, position, log));
        }
        self.ready -= 1;
    }

    /// Adds a task that came back; false if another task has this rank.
    pub fn put_returned(
        &mut self,
        key: LaneKey,
        weight: Option<u32>,
        rank: Rank,
        order: Order,
        is_suspect: bool,
    ) -> bool {
        let put = |lane: &mut Lane| lane.put_returned(rank, order, is_suspect);
        let is_free = self.level(key.priority).is_some_and(|level| level.put(key.group, weight, put));
        self.ready += u64::from(is_free);
        self.suspects += u64::from(is_free && is_suspect);
        is_free
    }

    /// Removes a task that had come back.
    pub fn take_returned(&mut self, key: LaneKey, rank: Rank, is_suspect: bool) {
        debug_assert!(self.ready > 0 && self.suspects >= u64::from(is_suspect), "ready tasks are counted");
        if let Some(level) = self.level(key.priority) {
            level.take(key.group, |lane| lane.take_returned(rank, is_suspect));
        }
        self.ready -= 1;
        self.suspects -= u64::from(is_suspect);
    }

    /// Charges a group for one claimed task.
    pub fn charge(&mut self, key: LaneKey, weight: u32) {
        if let Some(level) = self.level(key.priority).filter(|level| level.has_groups()) {
            level.charge(key.group, weight);
        }
    }

    /// Adds a group to the rotations with this weight, or takes it out of them.
    pub fn set_running(&mut self, group: GroupNumber, weight: Option<u32>) {
        for level in self.levels.iter_mut().filter(|level| level.has_groups()) {
            match weight {
                Some(weight) => level.join(group, weight),
                None => level.leave(group),
            }
        }
    }

    /// Changes the weight of a group.
    pub fn reweigh(&mut self, group: GroupNumber, before: u32, weight: u32) {
        self.levels.iter_mut().for_each(|level| level.reweigh(group, before, weight));
    }

    /// Moves a group to the end of its level's rotation. Calling it for each group in turn rebuilds a stored rotation.
    pub fn restore_turn(&mut self, key: LaneKey, left: u32) -> bool {
        self.level(key.priority).is_some_and(|level| level.restore_turn(key.group, left))
    }

    /// The turns of all levels, in order, each with the tasks that it has left.
    pub fn turns(&self) -> impl Iterator<Item = (LaneKey, u32)> + '_ {
        self.levels.iter().flat_map(|level| {
            let priority = level.priority;
            level.turns().map(move |(group, left)| (LaneKey { priority, group }, left))
        })
    }

    /// Whether the lanes contain exactly the tasks that the log lists as ready.
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
        ensure(self.ready == (counted + suspects) as u64, "a correct count of ready tasks")?;
        ensure(self.suspects == suspects as u64, "a correct count of suspects")?;
        ensure(lanes == ready.len(), "every ready task in a lane")
    }
}
