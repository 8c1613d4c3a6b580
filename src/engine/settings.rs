//! What a queue is told about itself: one table of names, defaults and bounds.
//!
//! Settings are read when they are needed, never frozen into a task.

use crate::bounds::{ATTEMPTS_MAX, LEASE_MAX_MS, NAMES_MAX, NUMBER_MAX, RATE_MAX, SPAN_MAX_MS};
use crate::rate::Rate;

/// How the delay grows with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// base · 2^(n−1)
    Exponential,
    /// base · n
    Linear,
    /// base
    Fixed,
}

impl Backoff {
    /// The words users type, by value.
    pub const NAMES: [&'static str; 3] = ["exponential", "linear", "fixed"];
}

/// The settings, by their place in [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Length of a lease where neither claim nor task says, in ms.
    Lease,
    /// Failures until a task is dead; −1 = no limit.
    Attempts,
    /// Stalls until a task is dead; −1 = no limit.
    Stalls,
    /// A [`Backoff`], as its place in [`Backoff::NAMES`].
    Backoff,
    /// The first delay, in ms.
    BackoffBase,
    /// The longest delay, in ms.
    BackoffMax,
    /// How far a delay is moved at random, in percent either way.
    BackoffJitter,
    /// Most tasks ready, delayed and leased; −1 = no limit.
    MaxLen,
    /// Most bytes of all tasks; −1 = no limit.
    MaxBytes,
    /// Most dead tasks; the oldest go.
    DeadMax,
    /// How long a dead task is kept, in ms; −1 = no limit.
    DeadTtl,
    /// How long a lease can be held with all its extensions, in ms; −1 = no limit.
    RunMax,
    /// How long a task is kept when it is done, in ms; 0 = not at all.
    Retain,
    /// Most tasks kept when they are done; the oldest go.
    RetainMax,
    /// Most leases at a time; −1 = no limit.
    Concurrency,
    /// Most claims in each `rate-per`; −1 = no limit.
    Rate,
    /// The span of `rate`, in ms.
    RatePer,
    /// Most leases at a time of each group; −1 = no limit.
    GroupConcurrency,
    /// Most claims of each group in each `group-rate-per`; −1 = no limit.
    GroupRate,
    /// The span of `group-rate`, in ms.
    GroupRatePer,
    /// Most groups.
    GroupsMax,
    /// Most UNIQUE tokens held.
    TokensMax,
}

/// One row of the table.
#[derive(Debug)]
pub struct Rule {
    /// The setting.
    pub setting: Setting,
    /// Its name.
    pub name: &'static str,
    /// Its value where nobody set one.
    pub default: i64,
    /// Its smallest value, where it isn't −1 for "no limit".
    pub min: i64,
    /// Its largest value.
    pub max: i64,
    /// Whether −1 means "no limit".
    pub unlimited: bool,
}

/// The largest `run-max`: spans of a lease are stored in 32 bits.
const RUN_MAX_MS: i64 = 30 * 86_400_000;

const fn rule(setting: Setting, name: &'static str, default: i64, min: i64, max: i64) -> Rule {
    Rule { setting, name, default, min, max, unlimited: false }
}

const fn or_unlimited(rule: Rule) -> Rule {
    Rule { unlimited: true, ..rule }
}

/// All settings, in the order in which they are shown; a setting's place is its number.
pub const SETTINGS: [Rule; 22] = [
    rule(Setting::Lease, "lease", 30_000, 1, LEASE_MAX_MS as i64),
    or_unlimited(rule(Setting::Attempts, "attempts", 25, 1, ATTEMPTS_MAX)),
    or_unlimited(rule(Setting::Stalls, "stalls", 5, 1, ATTEMPTS_MAX)),
    rule(Setting::Backoff, "backoff", 0, 0, 2),
    rule(Setting::BackoffBase, "backoff-base", 1000, 1, SPAN_MAX_MS),
    rule(Setting::BackoffMax, "backoff-max", 3_600_000, 1, SPAN_MAX_MS),
    rule(Setting::BackoffJitter, "backoff-jitter", 10, 0, 100),
    or_unlimited(rule(Setting::MaxLen, "max-len", -1, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::MaxBytes, "max-bytes", -1, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::DeadMax, "dead-max", 100_000, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::DeadTtl, "dead-ttl", -1, 0, SPAN_MAX_MS)),
    or_unlimited(rule(Setting::RunMax, "run-max", -1, 1, RUN_MAX_MS)),
    rule(Setting::Retain, "retain", 0, 0, SPAN_MAX_MS),
    or_unlimited(rule(Setting::RetainMax, "retain-max", 10_000, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::Concurrency, "concurrency", -1, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::Rate, "rate", -1, 0, RATE_MAX)),
    rule(Setting::RatePer, "rate-per", 1000, 1, SPAN_MAX_MS),
    or_unlimited(rule(Setting::GroupConcurrency, "group-concurrency", -1, 0, NUMBER_MAX)),
    or_unlimited(rule(Setting::GroupRate, "group-rate", -1, 0, RATE_MAX)),
    rule(Setting::GroupRatePer, "group-rate-per", 1000, 1, SPAN_MAX_MS),
    rule(Setting::GroupsMax, "groups-max", 1_000_000, 0, NAMES_MAX),
    rule(Setting::TokensMax, "tokens-max", 1_000_000, 0, NAMES_MAX),
];

impl Rule {
    /// The rule of a setting named without regard to case.
    pub fn named(name: &[u8]) -> Option<&'static Rule> {
        SETTINGS.iter().find(|rule| rule.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the setting can have this value.
    pub fn allows(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value) || (self.unlimited && value == -1)
    }

    /// Reads a value as users write it: a number, or the word of a backoff.
    pub fn parse(&self, text: &[u8]) -> Option<i64> {
        let value = match self.setting {
            Setting::Backoff => {
                Backoff::NAMES.iter().position(|word| word.as_bytes().eq_ignore_ascii_case(text))? as i64
            }
            _ => std::str::from_utf8(text).ok()?.parse().ok()?,
        };
        self.allows(value).then_some(value)
    }
}

/// The values of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings([i64; SETTINGS.len()]);

impl Default for Settings {
    fn default() -> Self {
        Settings(SETTINGS.map(|rule| rule.default))
    }
}

impl Settings {
    /// The value as a number, −1 for "no limit".
    pub fn get(&self, setting: Setting) -> i64 {
        self.0.get(setting as usize).copied().unwrap_or_default()
    }

    /// Gives a setting a value that its rule allows; false (and no change) for any other.
    pub(crate) fn set(&mut self, rule: &Rule, value: i64) -> bool {
        match self.0.get_mut(rule.setting as usize) {
            Some(place) if rule.allows(value) => {
                *place = value;
                true
            }
            _ => false,
        }
    }

    /// The value as a limit: `None` where there is none.
    pub fn limit(&self, setting: Setting) -> Option<u64> {
        u64::try_from(self.get(setting)).ok()
    }

    /// The value of a setting that is never "no limit".
    pub fn span_ms(&self, setting: Setting) -> u64 {
        self.limit(setting).unwrap_or_default()
    }

    /// The queue's own rate; `None` where there is none.
    pub fn rate(&self) -> Option<Rate> {
        self.rate_of(Setting::Rate, Setting::RatePer)
    }

    /// The rate of each group that has none of its own.
    pub fn group_rate(&self) -> Option<Rate> {
        self.rate_of(Setting::GroupRate, Setting::GroupRatePer)
    }

    fn rate_of(&self, claims: Setting, per: Setting) -> Option<Rate> {
        let claims = u32::try_from(self.get(claims)).ok()?;
        Some(Rate { claims, per_ms: self.span_ms(per) })
    }

    /// How delays grow.
    pub fn backoff(&self) -> Backoff {
        match self.get(Setting::Backoff) {
            1 => Backoff::Linear,
            2 => Backoff::Fixed,
            _ => Backoff::Exponential,
        }
    }
}
