//! The count of a queue's effects.

use crate::invalid::{Invalid, ensure};

/// How many effects a queue has had: each has its number, so that a missing one is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EffectCount {
    /// So many, at most [`EffectCount::MAX`].
    Counted(u64),
    /// An older version stored it or told of it.
    Unknown,
}

impl Default for EffectCount {
    fn default() -> Self {
        EffectCount::Counted(0)
    }
}

impl EffectCount {
    /// A number has six bytes; no server lives to see the last.
    pub const MAX: u64 = (1 << 48) - 1;

    /// The number of the next one. The last is given again, on the primary as on its replicas.
    pub fn next(self) -> u64 {
        match self {
            EffectCount::Counted(last) => (last + 1).min(Self::MAX),
            EffectCount::Unknown => 1,
        }
    }

    /// Counts one more, and gives its number.
    pub fn count(&mut self) -> u64 {
        let number = self.next();
        *self = EffectCount::Counted(number);
        number
    }

    /// Counts one that came with this number, `None` from an older version. Errors: another number than the next.
    pub fn expect(&mut self, number: Option<u64>) -> Result<(), Invalid> {
        let Some(number) = number else {
            *self = EffectCount::Unknown;
            return Ok(());
        };
        let is_next = match self {
            // The last number there is stays, as it does where it is counted.
            EffectCount::Counted(_) => number == self.next(),
            EffectCount::Unknown => number >= 1,
        };
        ensure(is_next, EFFECT_GAP)?;
        *self = EffectCount::Counted(number);
        Ok(())
    }
}

/// What an effect out of turn lacks.
const EFFECT_GAP: &str =
    "the number after the last one's: effects are missing, or the queue was changed here";
