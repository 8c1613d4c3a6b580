//! Pauses: the two gates of a queue, and whether they are closed.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// What a pause closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    /// Nothing can be pushed.
    #[serde(rename = "in")]
    In,
    /// Nothing can be claimed.
    #[serde(rename = "out")]
    Out,
    /// Neither.
    #[serde(rename = "all")]
    All,
}

impl Gate {
    /// Whether this gate is the other or holds it.
    pub fn covers(self, other: Gate) -> bool {
        self == Gate::All || self == other
    }
}

/// Whether a gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pause {
    /// It is open.
    #[default]
    Open,
    /// It is closed until this instant.
    Until(Millis),
    /// It is closed until somebody opens it.
    UntilResume,
}

impl Pause {
    /// Of a gate that is closed: until an instant, or with none until somebody opens it.
    pub(crate) fn of(until: Option<Millis>) -> Pause {
        until.map_or(Pause::UntilResume, Pause::Until)
    }

    /// Whether the gate is open.
    pub fn is_open(self) -> bool {
        self == Pause::Open
    }

    /// When it ends by itself.
    pub fn end(self) -> Option<Millis> {
        match self {
            Pause::Until(until) => Some(until),
            Pause::Open | Pause::UntilResume => None,
        }
    }

    /// What is left of it now.
    fn at(self, now: Millis) -> Pause {
        match self {
            Pause::Until(until) if until <= now => Pause::Open,
            pause => pause,
        }
    }
}

/// The pauses of both gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pauses {
    pub inward: Pause,
    pub outward: Pause,
}

impl Pauses {
    pub fn set(&mut self, gate: Gate, pause: Pause) {
        if gate.covers(Gate::In) {
            self.inward = pause;
        }
        if gate.covers(Gate::Out) {
            self.outward = pause;
        }
    }

    /// How a gate is closed now; both, only where both are.
    pub fn of(&self, gate: Gate, now: Millis) -> Pause {
        match gate {
            Gate::In => self.inward.at(now),
            Gate::Out => self.outward.at(now),
            Gate::All if self.inward.at(now).is_open() => Pause::Open,
            Gate::All => self.outward.at(now),
        }
    }

    /// When a pause ends by itself, the first.
    pub fn first_end(&self) -> Option<Millis> {
        self.inward.end().into_iter().chain(self.outward.end()).min()
    }

    /// A gate whose pause is over by now.
    pub fn over(&self, now: Millis) -> Option<Gate> {
        let is_over = |pause: Pause| pause.end().is_some_and(|until| until <= now);
        match () {
            () if is_over(self.inward) => Some(Gate::In),
            () if is_over(self.outward) => Some(Gate::Out),
            () => None,
        }
    }
}
