//! From a number of failures to a delay: pure arithmetic.

use crate::settings::{Backoff, Setting, Settings};

/// Delay before the retry after failure (or stall) `n`, 1-based, in ms: what the backoff says, moved by up to
/// `backoff-jitter` percent either way, at least 1 and at most `backoff-max`. `random` decides how far.
/// Never overflows.
pub(crate) fn delay_ms(settings: &Settings, n: u32, random: u32) -> u64 {
    let base = settings.span_ms(Setting::BackoffBase);
    let max = settings.span_ms(Setting::BackoffMax);
    let doublings = n.saturating_sub(1).min(63);
    let delay = match settings.backoff() {
        Backoff::Exponential => base.saturating_mul(1 << doublings),
        Backoff::Linear => base.saturating_mul(u64::from(n.max(1))),
        Backoff::Fixed => base,
    };
    let delay = delay.min(max);
    let reach = u128::from(delay) * u128::from(settings.span_ms(Setting::BackoffJitter)) / 100;
    // Evenly from −reach to +reach: random / 2^32 of the way.
    let moved = (u128::from(delay) - reach) + (((2 * reach + 1) * u128::from(random)) >> 32);
    u64::try_from(moved).unwrap_or(max).clamp(1, max)
}
