//! How much work there is, and for how many workers.
//!
//! Based on Little's law, L = λ·W (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research
//! 9(3), 1961): in a steady system, the mean number of things inside is their arrival rate times the mean time they
//! stay.
//!
//! The system here is the places of all workers; a place is room for one task (elsewhere: a concurrency slot). Tasks
//! that arrive at λ per second and run for s seconds keep λ·s places busy on average, whatever their distribution. With
//! n places, each is busy for the fraction ρ = λ·s / n of the time. Waiting times grow without bound as ρ approaches 1,
//! so one plans with some capacity to spare.
//!
//! Places are counted instead of workers: a worker with fifty places is far from busy with two tasks.

use crate::store::stats::Figures;

/// The utilisation to plan for: workers keep up with some capacity to spare.
pub const UTILISATION_AIM: f64 = 0.8;
/// A result that differs from a whole number by less than this is that number.
const ROUNDING: f64 = 1e-9;

/// The places that workers have for tasks of a queue: room for one task each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Tasks being worked on, each in a place.
    pub busy: u64,
    /// Places of blocked workers. A claim that waits for fifty tasks has fifty.
    pub free: u64,
    /// How many workers the places belong to. `None` if some of them gave no name.
    pub workers: Option<u64>,
}

impl Places {
    /// Busy and free places together.
    pub fn all(&self) -> u64 {
        self.busy.saturating_add(self.free)
    }

    /// How many workers have this many places, if each has as many as the workers have now on average.
    fn workers_for(&self, needed: u64) -> Option<u64> {
        if needed == 0 {
            return Some(0);
        }
        let workers = self.workers.filter(|_| self.all() > 0)?;
        Some(rounded_up(needed as f64 * workers as f64 / self.all() as f64))
    }
}

/// The load of a queue at its present rates (over the last minute).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// λ: tasks pushed per second.
    pub arrival_rate: f64,
    /// μ: tasks finished per second, by all workers together.
    pub completion_rate: f64,
    /// s: the mean run time of a task, in ms; `None` if none was finished lately.
    pub run_mean_ms: Option<f64>,
    /// The places of the workers, busy and free.
    pub places: Places,
    /// ρ = λ·s / places. Above 1 the queue grows. `None` if s is unknown or there are no places.
    pub utilisation: Option<f64>,
    /// Ready tasks.
    pub backlog: u64,
    /// How long until the backlog is empty, in ms: backlog / (μ − λ). `None` if it isn't shrinking.
    pub drain_ms: Option<u64>,
    /// ⌈λ·s / 0.8⌉: the number of places that keeps up and is busy for 80 % of the time. At least 1 if a task is ready.
    /// `None` if s is unknown and nothing is ready.
    pub places_needed: Option<u64>,
    /// How many workers have that many places, if each has the present mean. `None` if either is not known.
    pub workers_needed: Option<u64>,
}

impl Workload {
    /// Computes the load from recent figures, the workers' places and the number of ready tasks.
    pub fn of(figures: &Figures, places: Places, backlog: u64) -> Workload {
        let (arrival_rate, completion_rate) = (figures.arrivals.one_minute, figures.completions.one_minute);
        // Without arrivals no worker is needed, however long a task runs.
        let idle = (arrival_rate == 0.0).then_some(0.0);
        let kept_busy = figures.run_mean_ms.map(|mean_ms| arrival_rate * mean_ms / 1000.0).or(idle);
        let needed = kept_busy.map(|kept_busy| rounded_up(kept_busy / UTILISATION_AIM));
        // A ready task needs at least one place, even if nothing else is known.
        let places_needed = if backlog > 0 { Some(needed.unwrap_or(0).max(1)) } else { needed };
        let drain_ms = 1000.0 * backlog as f64 / (completion_rate - arrival_rate);
        Workload {
            arrival_rate,
            completion_rate,
            run_mean_ms: figures.run_mean_ms,
            places,
            utilisation: kept_busy
                .filter(|_| places.all() > 0)
                .map(|kept_busy| kept_busy / places.all() as f64),
            backlog,
            drain_ms: match backlog {
                0 => Some(0),
                _ => (completion_rate > arrival_rate).then_some(drain_ms.ceil() as u64),
            },
            places_needed,
            workers_needed: places_needed.and_then(|needed| places.workers_for(needed)),
        }
    }
}

/// Rounds up to a whole number, ignoring rounding errors.
fn rounded_up(number: f64) -> u64 {
    (number - ROUNDING).ceil().max(0.0) as u64
}
