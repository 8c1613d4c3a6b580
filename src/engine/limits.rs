//! What is said of a group, and what keeps one from running.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::{NUMBER_MAX, WEIGHT_MAX};
use crate::rate::Rate;

/// What was said of one group; what was not said is as the queue's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupLimits {
    /// Its share beside the other groups', 1 to 1,000,000; 1 where nothing was said.
    pub weight: Option<u32>,
    /// Most leases at a time, −1 for no limit.
    pub concurrency: Option<i64>,
    /// Most claims in a span.
    pub rate: GroupRate,
    /// One at a time, and while its failed or requeued head is delayed, none.
    pub ordered: bool,
}

/// How fast the tasks of one group may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupRate {
    /// As the queue's settings say for all groups.
    #[default]
    OfAllGroups,
    /// As fast as can be.
    Unlimited,
    /// So many claims in a span.
    Limited(Rate),
}

impl GroupRate {
    fn limit(self) -> Option<Rate> {
        match self {
            GroupRate::Limited(rate) => Some(rate),
            GroupRate::OfAllGroups | GroupRate::Unlimited => None,
        }
    }

    /// What holds, where all groups have this rate.
    pub(crate) fn or(self, of_all: Option<Rate>) -> Option<Rate> {
        if self == GroupRate::OfAllGroups { of_all } else { self.limit() }
    }
}

// It is stored as a list: empty, with nothing in it, or with a rate. MessagePack has one nothing only.
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
    pub(crate) fn are_valid(&self) -> bool {
        self.weight.is_none_or(|weight| (1..=WEIGHT_MAX).contains(&weight))
            && self.concurrency.is_none_or(|limit| (-1..=NUMBER_MAX).contains(&limit))
            && self.rate.limit().is_none_or(Rate::is_valid)
    }
}

/// What keeps a group from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A task that comes back is to go first.
    Order,
    /// As many are leased as may be.
    Concurrency,
    /// Its rate is used up.
    Rate,
}

impl Held {
    /// The word that users read.
    pub fn name(self) -> &'static str {
        match self {
            Held::Order => "order",
            Held::Concurrency => "concurrency",
            Held::Rate => "rate",
        }
    }
}
