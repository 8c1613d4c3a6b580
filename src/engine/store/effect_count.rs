//! The number of the last effect of a queue.

use crate::invalid::{Invalid, ensure};

/// How many effects a queue has had. Each effect carries its number, so a replica notices when one is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EffectCount {
    /// This many, at most [`EffectCount::MAX`].
    Counted(u64),
    /// The number is not known: an older version stored the queue or sent the last effect.
    Unknown,
}

impl Default for EffectCount {
    fn default() -> Self {
        EffectCount::Counted(0)
    }
}

impl EffectCount {
    /// Numbers have six bytes. No server runs long enough to reach the last one.
    pub const MAX: u64 = (1 << 48) - 1;

    /// The number of the next effect. The maximum repeats, on the primary and on its replicas alike.
    pub fn next(self) -> u64 {
        match self {
            EffectCount::Counted(last) => (last + 1).min(Self::MAX),
            EffectCount::Unknown => 1,
        }
    }

    /// Counts one effect and returns its number.
    pub fn count(&mut self) -> u64 {
        let number = self.next();
        *self = EffectCount::Counted(number);
        number
    }

    /// Counts an effect that arrived with this number; `None` if an older version sent it. Errors: it is not the next
    /// number.
    pub fn expect(&mut self, number: Option<u64>) -> Result<(), Invalid> {
        let Some(number) = number else {
            *self = EffectCount::Unknown;
            return Ok(());
        };
        let is_next = match self {
            // At the maximum the number repeats, as in `next`.
            EffectCount::Counted(_) => number == self.next(),
            EffectCount::Unknown => number >= 1,
        };
        ensure(is_next, EFFECT_GAP)?;
        *self = EffectCount::Counted(number);
        Ok(())
    }
}

/// What an effect with the wrong number lacks.
const EFFECT_GAP: &str =
    "the number after the last effect's: effects are missing, or the queue was changed on this node";
