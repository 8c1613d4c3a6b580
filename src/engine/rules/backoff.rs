//! Delays after failures and stalls: pure arithmetic.

use crate::settings::{Backoff, Setting, Settings};

/// The delay before the retry after failure `n` (1-based), in ms: the queue's backoff, moved by up to `backoff-jitter`
/// percent in either direction, at least 1 and at most `backoff-max`. `random` chooses the point in this range. Never
/// overflows.
pub(crate) fn delay_ms(settings: &Settings, n: u32, random: u32) -> u64 {
    let delay = steady_ms(settings, n);
    let reach = u128::from(delay) * u128::from(settings.span_ms(Setting::BackoffJitter)) / 100;
    // Evenly distributed from −reach to +reach: random / 2^32 of the range.
    let moved = (u128::from(delay) - reach) + (((2 * reach + 1) * u128::from(random)) >> 32);
    let max = settings.span_ms(Setting::BackoffMax);
    u64::try_from(moved).unwrap_or(max).clamp(1, max)
}

/// The delay after stall `n` + 1, in ms (the first stall has none): random, at least 1 and at most the queue's backoff
/// for `n`, whatever `backoff-jitter` is. Tasks that stalled together because their worker died do not come back
/// together.
pub(crate) fn full_jitter_ms(settings: &Settings, n: u32, random: u32) -> u64 {
    let longest = steady_ms(settings, n);
    let drawn = ((u128::from(longest) + 1) * u128::from(random)) >> 32;
    u64::try_from(drawn).unwrap_or(longest).max(1)
}

/// The queue's backoff for the n-th delay, without jitter.
fn steady_ms(settings: &Settings, n: u32) -> u64 {
    let base = settings.span_ms(Setting::BackoffBase);
    let doublings = n.saturating_sub(1).min(63);
    let delay = match settings.backoff() {
        Backoff::Exponential => base.saturating_mul(1 << doublings),
        Backoff::Linear => base.saturating_mul(u64::from(n.max(1))),
        Backoff::Fixed => base,
    };
    delay.min(settings.span_ms(Setting::BackoffMax))
}
