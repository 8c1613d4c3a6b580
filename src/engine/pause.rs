//! Pauses: the two gates of a queue and when they are closed.

use serde::{Deserialize, Serialize};

use crate::time::{Millis, earlier};

/// A gate of a queue, which a pause closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    /// Pushes are refused while it is closed.
    #[serde(rename = "in")]
    In,
    /// Claims are refused while it is closed.
    #[serde(rename = "out")]
    Out,
    /// Both gates.
    #[serde(rename = "all")]
    All,
}

impl Gate {
    /// Whether closing this gate also closes the other.
    pub fn covers(self, other: Gate) -> bool {
        self == Gate::All || self == other
    }
}

/// Whether a gate is closed, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pause {
    /// The gate is open.
    #[default]
    Open,
    /// It is closed until this instant.
    Until(Millis),
    /// It is closed until RESUME.
    UntilResume,
}

impl Pause {
    /// A closed gate: until an instant, or until RESUME.
    pub(crate) fn of(until: Option<Millis>) -> Pause {
        until.map_or(Pause::UntilResume, Pause::Until)
    }

    /// Whether the gate is open.
    pub fn is_open(self) -> bool {
        self == Pause::Open
    }

    /// When the pause ends by itself; `None` if it doesn't.
    pub fn end(self) -> Option<Millis> {
        match self {
            Pause::Until(until) => Some(until),
            Pause::Open | Pause::UntilResume => None,
        }
    }

    /// The pause as of now: open if its end has passed.
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

    /// The pause of a gate as of now. [`Gate::All`] is closed only if both are.
    pub fn of(&self, gate: Gate, now: Millis) -> Pause {
        match gate {
            Gate::In => self.inward.at(now),
            Gate::Out => self.outward.at(now),
            Gate::All if self.inward.at(now).is_open() => Pause::Open,
            Gate::All => self.outward.at(now),
        }
    }

    /// When the first pause ends by itself; `None` if none does.
    pub fn first_end(&self) -> Option<Millis> {
        earlier(self.inward.end(), self.outward.end())
    }

    /// A gate whose pause has ended by now.
    pub fn over(&self, now: Millis) -> Option<Gate> {
        let is_over = |pause: Pause| pause.end().is_some_and(|until| until <= now);
        match () {
            () if is_over(self.inward) => Some(Gate::In),
            () if is_over(self.outward) => Some(Gate::Out),
            () => None,
        }
    }
}
