//! Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371), which stores one instant per limit and needs no
//! counters.

use serde::{Deserialize, Serialize};

use crate::bounds::{RATE_MAX, SPAN_MAX_MS};
use crate::time::Millis;

/// A rate limit: `claims` per `per_ms`, all of which can come at once. With 0 claims nothing can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The number of claims, 0 to 1,000,000.
    pub claims: u32,
    /// The span in ms, 1 ms to 100 years.
    pub per_ms: u64,
}

impl Rate {
    pub(crate) fn is_valid(self) -> bool {
        i64::from(self.claims) <= RATE_MAX && (1..=SPAN_MAX_MS as u64).contains(&self.per_ms)
    }
}

/// How much of a rate is used: GCRA's theoretical arrival time, the instant at which nothing is used any more.
///
/// The instant is `ms` and `part` fractions of a millisecond. A millisecond has as many fractions as the rate has
/// claims, so nothing is ever rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Spent {
    ms: u64,
    part: u32,
}

impl Spent {
    /// When nothing is used any more.
    pub fn is_over_at(self) -> Millis {
        Millis(self.ms.saturating_add(u64::from(self.part > 0))).min(Millis::MAX)
    }

    /// Whether this can be the use of the given rate.
    pub fn is_valid(self, rate: Option<Rate>) -> bool {
        let parts = rate.map_or(1, |rate| rate.claims.max(1));
        self.part < parts && self.ms <= Millis::MAX.0
    }

    /// How far the instant is after `at`, in fractions of a millisecond.
    fn ahead(self, at: Millis, rate: Rate) -> u128 {
        let whole = u128::from(self.ms) * u128::from(rate.claims) + u128::from(self.part);
        whole.saturating_sub(u128::from(at.0) * u128::from(rate.claims))
    }

    /// How many claims the rate allows at `at`.
    pub fn left(self, at: Millis, rate: Rate) -> u64 {
        let (claims, per) = (u64::from(rate.claims), u128::from(rate.per_ms));
        let used = self.ahead(at, rate).div_ceil(per);
        claims.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX))
    }

    /// When the rate allows the next claim; `None` if it never does.
    pub fn next_at(self, rate: Rate) -> Option<Millis> {
        let last = u128::from(rate.claims.checked_sub(1)?) * u128::from(rate.per_ms);
        let whole = u128::from(self.ms) * u128::from(rate.claims) + u128::from(self.part);
        let at = whole.saturating_sub(last).div_ceil(u128::from(rate.claims));
        Some(Millis(u64::try_from(at).unwrap_or(u64::MAX)).min(Millis::MAX))
    }

    /// Counts one claim at `at`.
    pub fn spend(&mut self, at: Millis, rate: Rate) {
        if rate.claims == 0 {
            return;
        }
        let claims = u128::from(rate.claims);
        let whole = u128::from(at.0) * claims + self.ahead(at, rate) + u128::from(rate.per_ms);
        let ms = u64::try_from(whole / claims).unwrap_or(u64::MAX);
        *self = if ms < Millis::MAX.0 {
            Spent { ms, part: (whole % claims) as u32 }
        } else {
            Spent { ms: Millis::MAX.0, part: 0 }
        };
    }
}
