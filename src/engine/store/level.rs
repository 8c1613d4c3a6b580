//! The ready tasks of one priority, and the rotation of its groups.

use std::collections::BTreeMap;

use taskslot_edges::rare;

use crate::bounds::PLAIN_WEIGHT;
use crate::invalid::{Invalid, ensure};
use crate::numbers::GroupNumber;
use crate::store::lane::{Lane, Which};

/// What a level has of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub lane: Lane,
    turn: Option<Turn>,
}

/// A group's turn in the rotation: `ticket` is its position, `left` is what remains of its quantum.
#[derive(Debug, Clone, Copy)]
struct Turn {
    ticket: u64,
    left: u32,
}

/// The ready tasks of one priority: a lane for each group that has any.
///
/// Groups are served by deficit round robin (Shreedhar and Varghese, 1995), in which every task costs one and a group's
/// quantum is its weight. `rotation` contains the groups that can run now, the next one first. A group in turn gives as
/// many tasks as remain of its quantum, then moves to the end with a new quantum. A group at a limit is in no rotation,
/// so it costs the others nothing. Tasks without a group count as one group of weight 1. While no group has tasks here
/// there is no rotation, only one lane.
///
/// A group that has only suspects is in a rotation of its own, `suspects`, with tickets from the same counter. A worker
/// that can get suspects merges both; for any other worker they cost nothing.
#[derive(Debug)]
pub(crate) struct Level {
    pub priority: i8,
    plain: Part,
    grouped: BTreeMap<GroupNumber, Part>,
    /// Bytes that the lanes of groups take. Counted as they change, because every write asks for them.
    lane_bytes: usize,
    rotation: BTreeMap<u64, GroupNumber>,
    /// The groups of the rotation that have only suspects.
    suspects: BTreeMap<u64, GroupNumber>,
    next_ticket: u64,
}

impl Clone for Level {
    fn clone(&self) -> Level {
        let (plain, grouped) = (self.plain.clone(), self.grouped.clone());
        let (rotation, suspects) = (self.rotation.clone(), self.suspects.clone());
        let mut level = Level { plain, grouped, rotation, suspects, lane_bytes: 0, ..*self };
        // A copy has no spare capacity, so it takes fewer bytes than the original.
        level.lane_bytes = level.lane_bytes_anew();
        level
    }
}

impl Level {
    pub fn new(priority: i8) -> Level {
        let (plain, grouped) = (Part::default(), BTreeMap::new());
        let (rotation, suspects) = (BTreeMap::new(), BTreeMap::new());
        Level { priority, plain, grouped, lane_bytes: 0, rotation, suspects, next_ticket: 0 }
    }

    /// Bytes taken from the allocator beyond the struct itself, approximately.
    pub fn memory(&self) -> usize {
        let grouped = self.grouped.len() * (size_of::<Part>() + 8) + self.lane_bytes;
        self.plain.lane.memory() + grouped + (self.rotation.len() + self.suspects.len()) * 16
    }

    fn lane_bytes_anew(&self) -> usize {
        self.grouped.values().map(|part| part.lane.memory()).sum()
    }

    /// Whether groups take turns here.
    pub fn has_groups(&self) -> bool {
        !self.grouped.is_empty()
    }

    /// Whether a task here is in a group that can run, or in none.
    pub fn can_run(&self) -> bool {
        !self.plain.lane.is_empty() || !self.rotation.is_empty() || !self.suspects.is_empty()
    }

    /// The lane of a group; `None` if it has no task here.
    pub fn lane(&self, group: GroupNumber) -> Option<&Lane> {
        let part = if group.is_none() { Some(&self.plain) } else { self.grouped.get(&group) };
        part.map(|part| &part.lane).filter(|lane| !lane.is_empty())
    }

    /// All lanes with tasks.
    pub fn lanes(&self) -> impl Iterator<Item = (GroupNumber, &Lane)> {
        let plain = std::iter::once((GroupNumber::NONE, &self.plain));
        let all = plain.chain(self.grouped.iter().map(|(group, part)| (*group, part)));
        all.map(|(group, part)| (group, &part.lane)).filter(|(_, lane)| !lane.is_empty())
    }

    /// The groups that can run and have such tasks, the next one first, each with the tasks left of its turn. A group
    /// that is alone can give all of its tasks.
    pub fn turns_or_all(&self, which: Which) -> impl Iterator<Item = (GroupNumber, u64)> + '_ {
        let is_alone = self.rotation.len() + self.suspects.len() == 1;
        let turns = self.turns_of(which);
        turns.map(move |(group, left)| (group, if is_alone { u64::MAX } else { left.into() }))
    }

    fn part(&self, group: GroupNumber) -> Option<&Part> {
        if group.is_none() { Some(&self.plain) } else { self.grouped.get(&group) }
    }

    fn part_mut(&mut self, group: GroupNumber) -> Option<&mut Part> {
        if group.is_none() { Some(&mut self.plain) } else { self.grouped.get_mut(&group) }
    }

    /// Adds a task to a group's lane through `put`, and adds the group to the rotation if it can run.
    pub fn put<R>(&mut self, group: GroupNumber, weight: Option<u32>, put: impl FnOnce(&mut Lane) -> R) -> R {
        if group.is_none() && !self.has_groups() {
            return put(&mut self.plain.lane);
        }
        if !group.is_none() && self.grouped.is_empty() && !self.plain.lane.is_empty() {
            // The first group appears: from now on there are turns.
            rare!("the first group comes to tasks without one");
            self.join_at_end(GroupNumber::NONE, PLAIN_WEIGHT);
        }
        let part = if group.is_none() { &mut self.plain } else { self.grouped.entry(group).or_default() };
        let before = part.lane.memory();
        let was_sound = part.lane.has(Which::Sound);
        let result = put(&mut part.lane);
        let is_sound = part.lane.has(Which::Sound);
        if !group.is_none() {
            self.lane_bytes = self.lane_bytes + part.lane.memory() - before;
        }
        let has_turn = part.turn.is_some();
        if let Some(weight) = weight.filter(|_| !has_turn && self.has_groups()) {
            self.join_at_end(group, weight);
        } else if is_sound != was_sound {
            self.change_rotation(group);
        }
        result
    }

    /// Removes a task from a group's lane through `take`. A group without tasks leaves the rotation.
    pub fn take(&mut self, group: GroupNumber, take: impl FnOnce(&mut Lane)) {
        if group.is_none() && !self.has_groups() {
            return take(&mut self.plain.lane);
        }
        let Some(part) = self.part_mut(group) else { return };
        let before = part.lane.memory();
        let was_sound = part.lane.has(Which::Sound);
        take(&mut part.lane);
        let is_sound = part.lane.has(Which::Sound);
        let (after, is_empty) = (part.lane.memory(), part.lane.is_empty());
        if !group.is_none() {
            self.lane_bytes = self.lane_bytes + if is_empty { 0 } else { after } - before;
        }
        if !is_empty {
            if is_sound != was_sound {
                self.change_rotation(group);
            }
            return;
        }
        self.leave(group);
        if !group.is_none() && self.grouped.remove(&group).is_some() && self.grouped.is_empty() {
            // The last group has left: there are no turns any more.
            rare!("the last group leaves");
            self.leave(GroupNumber::NONE);
        }
    }

    /// Charges a group's turn for one claimed task. A turn that is used up moves to the end.
    pub fn charge(&mut self, group: GroupNumber, weight: u32) {
        let Some(turn) = self.part_mut(group).and_then(|part| part.turn.as_mut()) else { return };
        turn.left = turn.left.saturating_sub(1);
        if turn.left == 0 {
            self.leave(group);
            self.join_at_end(group, weight);
        }
    }

    /// A group with tasks here can run again: it joins the end of the rotation.
    pub fn join(&mut self, group: GroupNumber, weight: u32) {
        if self.grouped.get(&group).is_some_and(|part| part.turn.is_none()) {
            self.join_at_end(group, weight);
        }
    }

    fn join_at_end(&mut self, group: GroupNumber, left: u32) {
        let ticket = self.next_ticket;
        if let Some(part) = self.part_mut(group) {
            part.turn = Some(Turn { ticket, left });
            self.change_rotation(group);
            self.next_ticket += 1;
        }
    }

    /// Moves a turn between the two rotations after its group gained or lost its tasks that are not suspects.
    fn change_rotation(&mut self, group: GroupNumber) {
        let Some(part) = self.part(group) else { return };
        let (Some(Turn { ticket, .. }), is_sound) = (part.turn, part.lane.has(Which::Sound)) else { return };
        let (to, from) = match is_sound {
            true => (&mut self.rotation, &mut self.suspects),
            false => {
                rare!("a group has only suspects");
                (&mut self.suspects, &mut self.rotation)
            }
        };
        from.remove(&ticket);
        to.insert(ticket, group);
    }

    /// A group can't run now: it leaves the rotation.
    pub fn leave(&mut self, group: GroupNumber) {
        if let Some(turn) = self.part_mut(group).and_then(|part| part.turn.take()) {
            self.rotation.remove(&turn.ticket);
            self.suspects.remove(&turn.ticket);
        }
    }

    /// Changes a group's weight. What its current turn has already given still counts.
    pub fn reweigh(&mut self, group: GroupNumber, before: u32, weight: u32) {
        let Some(turn) = self.part_mut(group).and_then(|part| part.turn.as_mut()) else { return };
        turn.left = weight.saturating_sub(before.saturating_sub(turn.left));
        if turn.left == 0 {
            rare!("a smaller weight ends a turn");
            self.leave(group);
            self.join_at_end(group, weight);
        }
    }

    /// The rotation: the groups in order, each with what is left of its turn.
    pub fn turns(&self) -> impl Iterator<Item = (GroupNumber, u32)> + '_ {
        self.turns_of(Which::All)
    }

    fn turns_of(&self, which: Which) -> impl Iterator<Item = (GroupNumber, u32)> + '_ {
        let mut sound = self.rotation.iter().peekable();
        let mut suspects = self.suspects.iter().filter(move |_| which == Which::All).peekable();
        let groups = std::iter::from_fn(move || match (sound.peek(), suspects.peek()) {
            (Some((ticket, _)), Some((other, _))) if other < ticket => suspects.next(),
            (Some(_), _) => sound.next(),
            (None, _) => suspects.next(),
        });
        groups.filter_map(|(_, &group)| Some((group, self.part(group)?.turn?.left)))
    }

    /// Moves a group to the end of the rotation with `left` tasks left of its turn; false if it has no turn.
    pub fn restore_turn(&mut self, group: GroupNumber, left: u32) -> bool {
        let is_in = self.part(group).is_some_and(|part| part.turn.is_some());
        if is_in {
            self.leave(group);
            self.join_at_end(group, left);
        }
        is_in
    }

    /// Whether the rotation contains exactly the groups that have tasks and can run. `runs` is the weight of a group
    /// that can.
    pub fn validate(&self, runs: impl Fn(GroupNumber) -> Option<u32>) -> Result<(), Invalid> {
        ensure(self.grouped.values().all(|part| !part.lane.is_empty()), "no lane for a group without tasks")?;
        let all = std::iter::once((GroupNumber::NONE, &self.plain));
        let all = all.chain(self.grouped.iter().map(|(group, part)| (*group, part)));
        let mut members = 0;
        for (group, part) in all {
            let weight = runs(group).filter(|_| !part.lane.is_empty() && !self.grouped.is_empty());
            ensure(part.turn.is_some() == weight.is_some(), "a turn for each group that can run")?;
            let Some((turn, weight)) = part.turn.zip(weight) else { continue };
            members += 1;
            let rotation = if part.lane.has(Which::Sound) { &self.rotation } else { &self.suspects };
            ensure(rotation.get(&turn.ticket) == Some(&group), "each turn in its rotation")?;
            ensure((1..=weight).contains(&turn.left), "no turn longer than its group's weight")?;
        }
        ensure(self.lane_bytes == self.lane_bytes_anew(), "a correct count of the lanes' bytes")?;
        ensure(self.rotation.len() + self.suspects.len() == members, "no other groups in the rotation")?;
        let mut tickets = self.rotation.keys().chain(self.suspects.keys());
        ensure(tickets.all(|&ticket| ticket < self.next_ticket), "tickets below the next one")
    }
}
