//! What is said of a group, and what keeps one from running.

use serde::{Deserialize, Serialize};

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
    /// Most claims in a span; `Some(None)` for no limit.
    #[serde(with = "said_rate")]
    pub rate: Option<Option<Rate>>,
    /// One at a time, and while its failed or requeued head is delayed, none.
    pub ordered: bool,
}

/// A rate that was said to have no limit is stored as nothing in a list, since MessagePack has one nothing only.
mod said_rate {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Rate;

    pub fn serialize<S: Serializer>(rate: &Option<Option<Rate>>, to: S) -> Result<S::Ok, S::Error> {
        let said: &[Option<Rate>] = rate.as_ref().map_or(&[], std::slice::from_ref);
        said.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Rate>>, D::Error> {
        let said = Vec::<Option<Rate>>::deserialize(from)?;
        match said[..] {
            [] => Ok(None),
            [rate] => Ok(Some(rate)),
            _ => Err(serde::de::Error::custom("one rate")),
        }
    }
}

impl GroupLimits {
    pub(crate) fn are_valid(&self) -> bool {
        self.weight.is_none_or(|weight| (1..=WEIGHT_MAX).contains(&weight))
            && self.concurrency.is_none_or(|limit| (-1..=NUMBER_MAX).contains(&limit))
            && self.rate.flatten().is_none_or(Rate::is_valid)
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
