//! The settings of a queue: one table of names, defaults and bounds.
//!
//! Settings are read when they are needed and never copied into a task, so a change applies to existing tasks too.

use crate::bounds::{
    ATTEMPTS_MAX, ERRORS_KEPT_MAX, LEASE_MAX_MS, NAMES_MAX, NUMBER_MAX, RATE_MAX, SPAN_MAX_MS,
};
use crate::rate::Rate;

/// How the delay grows with each failure. `base` is `backoff-base`, `n` the number of failures.
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

/// The settings, by their index in [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The length of a lease in ms, unless the claim or the task gives one.
    Lease,
    /// After how many failures a task is dead; −1 = no limit.
    Attempts,
    /// After how many stalls a task is dead; −1 = no limit.
    Stalls,
    /// A [`Backoff`], by its index in [`Backoff::NAMES`].
    Backoff,
    /// The first delay after a failure, in ms.
    BackoffBase,
    /// The longest delay, in ms.
    BackoffMax,
    /// By how much a delay is changed at random in either direction, in percent.
    BackoffJitter,
    /// The most ready, delayed, held and leased tasks together; −1 = no limit.
    MaxLen,
    /// The most bytes of all tasks; −1 = no limit.
    MaxBytes,
    /// The most dead tasks, the oldest are removed; −1 = no limit.
    DeadMax,
    /// How long a dead task is kept, in ms; −1 = no limit.
    DeadTtl,
    /// How long a lease can last with all of its extensions, in ms; −1 = no limit.
    RunMax,
    /// How long a done task is retained, in ms; 0 = not at all.
    Retain,
    /// The most retained done tasks, the oldest are removed; −1 = no limit.
    RetainMax,
    /// The most tasks leased at a time; −1 = no limit.
    Concurrency,
    /// The most claims in each `rate-per`; −1 = no limit.
    Rate,
    /// The span of `rate`, in ms.
    RatePer,
    /// The most tasks of one group leased at a time; −1 = no limit.
    GroupConcurrency,
    /// The most claims of one group in each `group-rate-per`; −1 = no limit.
    GroupRate,
    /// The span of `group-rate`, in ms.
    GroupRatePer,
    /// The most groups.
    GroupsMax,
    /// The most UNIQUE tokens held at a time.
    TokensMax,
    /// How many of the last errors of a task are kept.
    ErrorsKept,
}

/// The definition of one setting.
#[derive(Debug)]
pub struct Rule {
    /// Which setting it is.
    pub setting: Setting,
    /// Its name, as users type it.
    pub name: &'static str,
    /// Its default value.
    pub default: i64,
    /// Its smallest value, besides −1 for "no limit".
    pub min: i64,
    /// Its largest value.
    pub max: i64,
    /// Whether −1 is allowed, meaning "no limit".
    pub unlimited: bool,
}

/// The largest `run-max`, 30 days: spans of a lease are stored in 32 bits.
const RUN_MAX_MS: i64 = 30 * 86_400_000;

const fn rule(setting: Setting, name: &'static str, default: i64, min: i64, max: i64) -> Rule {
    Rule { setting, name, default, min, max, unlimited: false }
}

const fn or_unlimited(rule: Rule) -> Rule {
    Rule { unlimited: true, ..rule }
}

/// All settings, in the order in which they are shown. The index of a setting is its value in [`Setting`].
pub const SETTINGS: [Rule; 23] = [
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
    rule(Setting::ErrorsKept, "errors-kept", 1, 1, ERRORS_KEPT_MAX as i64),
];

impl Rule {
    /// The definition of a setting by its name, in any case.
    pub fn named(name: &[u8]) -> Option<&'static Rule> {
        SETTINGS.iter().find(|rule| rule.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the setting can have this value.
    pub fn allows(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value) || (self.unlimited && value == -1)
    }

    /// Parses a value as users write it: a number, or the word for a backoff. `None` if it isn't allowed.
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

/// The values of all settings of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings([i64; SETTINGS.len()]);

impl Default for Settings {
    fn default() -> Self {
        Settings(SETTINGS.map(|rule| rule.default))
    }
}

impl Settings {
    /// The value as a number; −1 means "no limit".
    pub fn get(&self, setting: Setting) -> i64 {
        self.0.get(setting as usize).copied().unwrap_or_default()
    }

    /// Sets a value. Returns false, without a change, if the definition does not allow it.
    pub(crate) fn set(&mut self, rule: &Rule, value: i64) -> bool {
        match self.0.get_mut(rule.setting as usize) {
            Some(slot) if rule.allows(value) => {
                *slot = value;
                true
            }
            _ => false,
        }
    }

    /// The value as a limit; `None` for no limit.
    pub fn limit(&self, setting: Setting) -> Option<u64> {
        u64::try_from(self.get(setting)).ok()
    }

    /// The value of a setting that can't be "no limit".
    pub fn span_ms(&self, setting: Setting) -> u64 {
        self.limit(setting).unwrap_or_default()
    }

    /// The rate limit of the queue; `None` for no limit.
    pub fn rate(&self) -> Option<Rate> {
        self.rate_of(Setting::Rate, Setting::RatePer)
    }

    /// The rate limit of each group without one of its own; `None` for no limit.
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
