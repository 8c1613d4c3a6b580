//! The limits of a group, and what can keep one from running.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::{NUMBER_MAX, WEIGHT_MAX};
use crate::rate::Rate;

/// The limits that were set for one group. Where none is set, the queue's settings for all groups apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupLimits {
    /// Its share of the claims relative to other groups, 1 to 1,000,000; `None` counts as 1.
    pub weight: Option<u32>,
    /// The most tasks leased at a time, −1 for no limit. `None`: the setting `group-concurrency` applies.
    pub concurrency: Option<i64>,
    /// The most claims in a span.
    pub rate: GroupRate,
    /// Whether its tasks run strictly one after another. While a failed or requeued task is delayed, none runs.
    pub ordered: bool,
}

/// How fast the tasks of one group can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupRate {
    /// The settings `group-rate` and `group-rate-per` apply.
    #[default]
    OfAllGroups,
    /// There is no limit, whatever the settings say.
    Unlimited,
    /// This many claims in a span.
    Limited(Rate),
}

impl GroupRate {
    fn limit(self) -> Option<Rate> {
        match self {
            GroupRate::Limited(rate) => Some(rate),
            GroupRate::OfAllGroups | GroupRate::Unlimited => None,
        }
    }

    /// The rate that applies, given the one for all groups.
    pub(crate) fn or(self, of_all: Option<Rate>) -> Option<Rate> {
        if self == GroupRate::OfAllGroups { of_all } else { self.limit() }
    }
}

// Stored as a list: empty (of all groups), one nil (unlimited) or one rate. MessagePack has only one kind of nil.
impl Serialize for GroupRate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let one = [self.limit()];
        let list = if *self == GroupRate::OfAllGroups { &[][..] } else { &one };
        list.serialize(to)
    }
}

impl<'de> Deserialize<'de> for GroupRate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<GroupRate, D::Error> {
        match Vec::<Option<Rate>>::deserialize(from)?[..] {
            [] => Ok(GroupRate::OfAllGroups),
            [None] => Ok(GroupRate::Unlimited),
            [Some(rate)] => Ok(GroupRate::Limited(rate)),
            _ => Err(serde::de::Error::custom("one rate")),
        }
    }
}

impl GroupLimits {
    /// Whether they allow no claim at all: a concurrency or a rate of 0.
    pub(crate) fn stop(&self) -> bool {
        self.concurrency == Some(0) || self.rate.limit().is_some_and(|rate| rate.claims == 0)
    }

    pub(crate) fn are_valid(&self) -> bool {
        self.weight.is_none_or(|weight| (1..=WEIGHT_MAX).contains(&weight))
            && self.concurrency.is_none_or(|limit| (-1..=NUMBER_MAX).contains(&limit))
            && self.rate.limit().is_none_or(Rate::is_valid)
    }
}

/// What keeps a group, or a queue, from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// The group is paused.
    Pause,
    /// The group is ordered, and a task that was claimed before must come first.
    Order,
    /// As many tasks are leased as `concurrency` allows.
    Concurrency,
    /// The rate is used up.
    Rate,
    /// Of the queue: one of the above keeps every group with ready tasks from running.
    Groups,
}

impl HeldBy {
    /// The word that users read.
    pub fn name(self) -> &'static str {
        match self {
            HeldBy::Pause => "pause",
            HeldBy::Order => "order",
            HeldBy::Concurrency => "concurrency",
            HeldBy::Rate => "rate",
            HeldBy::Groups => "groups",
        }
    }
}
