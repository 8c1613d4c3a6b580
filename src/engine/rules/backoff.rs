//! From a number of failures to a delay: pure arithmetic.

use crate::settings::{Backoff, Setting, Settings};

/// Delay before the retry after failure `n`, 1-based, in ms: what the backoff says, moved by up to
/// `backoff-jitter` percent either way, at least 1 and at most `backoff-max`. `random` decides how far.
/// Never overflows.
pub(crate) fn delay_ms(settings: &Settings, n: u32, random: u32) -> u64 {
    let delay = steady_ms(settings, n);
    let reach = u128::from(delay) * u128::from(settings.span_ms(Setting::BackoffJitter)) / 100;
    // Evenly from −reach to +reach: random / 2^32 of the way.
    let moved = (u128::from(delay) - reach) + (((2 * reach + 1) * u128::from(random)) >> 32);
    let max = settings.span_ms(Setting::BackoffMax);
    u64::try_from(moved).unwrap_or(max).clamp(1, max)
}

/// Delay after stall `n` of those that are followed by one, 1-based, in ms: anything up to what the backoff says, at
/// least 1, whatever `backoff-jitter` is. Tasks that stalled together, since their worker died, don't come back together.
pub(crate) fn full_jitter_ms(settings: &Settings, n: u32, random: u32) -> u64 {
    let longest = steady_ms(settings, n);
    let drawn = ((u128::from(longest) + 1) * u128::from(random)) >> 32;
    u64::try_from(drawn).unwrap_or(longest).max(1)
}

/// What the backoff says for the n-th delay, without jitter.
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
