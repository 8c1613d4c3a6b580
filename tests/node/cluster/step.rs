//! The steps of a history. A step is a verb and the seed of its dice, so it does the same kind of thing whatever was done
//! before, and a history can be shortened.

use crate::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    // Clients
    Push,
    Claim,
    Ack,
    Fail,
    Requeue,
    Extend,
    Unclaim,
    OpenBatch,
    CloseBatch,
    DeleteBatch,
    Cancel,
    Retry,
    Purge,
    Set,
    Configure,
    Pause,
    Resume,
    Group,
    PauseGroup,
    ResumeGroup,
    Schedule,
    Unschedule,
    RunSchedule,
    Disconnect,
    // Faults, and what ends them
    Pass,
    Promote,
    Demote,
    Kill,
    CutPower,
    Start,
    CutLink,
    HealLink,
    SlowLink,
    Sleep,
    PauseWrites,
    SetWall,
    Rewrite,
    Move,
    CrashLoop,
    Check,
}

/// How often each verb comes, among all of them.
const VERBS: [(Verb, u64); 40] = [
    (Verb::Push, 160),
    (Verb::Claim, 170),
    (Verb::Ack, 90),
    (Verb::Fail, 30),
    (Verb::Requeue, 20),
    (Verb::Extend, 30),
    (Verb::Unclaim, 5),
    (Verb::OpenBatch, 20),
    (Verb::CloseBatch, 15),
    (Verb::DeleteBatch, 2),
    (Verb::Cancel, 10),
    (Verb::Retry, 10),
    (Verb::Purge, 5),
    (Verb::Set, 15),
    (Verb::Configure, 8),
    (Verb::Pause, 3),
    (Verb::Resume, 4),
    (Verb::Group, 5),
    (Verb::PauseGroup, 3),
    (Verb::ResumeGroup, 3),
    (Verb::Schedule, 6),
    (Verb::Unschedule, 3),
    (Verb::RunSchedule, 3),
    (Verb::Disconnect, 5),
    (Verb::Pass, 200),
    (Verb::Promote, 15),
    (Verb::Demote, 30),
    (Verb::Kill, 10),
    (Verb::CutPower, 8),
    (Verb::Start, 60),
    (Verb::CutLink, 10),
    (Verb::HealLink, 20),
    (Verb::SlowLink, 8),
    (Verb::Sleep, 5),
    (Verb::PauseWrites, 4),
    (Verb::SetWall, 15),
    (Verb::Rewrite, 10),
    (Verb::Move, 12),
    (Verb::CrashLoop, 4),
    (Verb::Check, 40),
];

#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub verb: Verb,
    pub seed: u64,
}

/// The steps that a seed makes.
pub fn steps(seed: u64, length: usize) -> Vec<Step> {
    let mut dice = Dice(seed);
    let all: u64 = VERBS.iter().map(|(_, weight)| weight).sum();
    let verb = |mut at: u64| {
        let found = VERBS.iter().find(|(_, weight)| {
            let is_here = at < *weight;
            at = at.saturating_sub(*weight);
            is_here
        });
        found.map_or(Verb::Pass, |(verb, _)| *verb)
    };
    (0..length).map(|_| Step { verb: verb(dice.below(all)), seed: dice.roll() }).collect()
}
