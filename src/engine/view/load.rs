//! How much work there is for how many workers.
//!
//! Little's law, L = λ·W (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9(3), 1961):
//! in any steady system, the mean number of things inside is their arrival rate times the mean time they stay. The
//! system here is the workers' places: tasks that arrive at λ a second and run for s seconds keep λ·s of them busy on
//! average, however they arrive and whatever they do. With n places each is busy for ρ = λ·s / n of its time. As ρ comes near
//! to 1 waits grow without bound, so capacity is planned with some of it left over.
//!
//! Places are counted, not workers: one worker may have fifty places, and is far from busy with two tasks.

use crate::store::stats::Figures;

/// How busy places should be: what "keeps up" means.
pub const UTILISATION_AIM: f64 = 0.8;
/// A need that is a whole number but for rounding is that number.
const ROUNDING: f64 = 1e-9;

/// The places that workers have for tasks of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Tasks being worked on: each has a place.
    pub busy: u64,
    /// Places of workers that wait for a task. One that waits for fifty at a time has fifty.
    pub free: u64,
    /// How many workers have them. `None` where some gave no name, so that nobody can say.
    pub workers: Option<u64>,
}

impl Places {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.busy.saturating_add(self.free)
    }

    /// How many workers have so many, if each has the present mean.
    fn workers_for(&self, needed: u64) -> Option<u64> {
        if needed == 0 {
            return Some(0);
        }
        let workers = self.workers.filter(|_| self.all() > 0)?;
        Some(rounded_up(needed as f64 * workers as f64 / self.all() as f64))
    }
}

/// The load of a queue, of present rates (over the last minute).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// λ: tasks pushed, each second.
    pub arrival_rate: f64,
    /// μ: tasks finished, each second, by all workers together.
    pub completion_rate: f64,
    /// s: the mean run time of a finished task, in ms; `None` where none was finished lately.
    pub run_mean_ms: Option<f64>,
    /// Places of workers, busy ones and free ones.
    pub places: Places,
    /// ρ = λ·s / places: above 1 the queue grows. `None` where s is unknown or there are no places.
    pub utilisation: Option<f64>,
    /// Ready tasks.
    pub backlog: u64,
    /// How long until none of them is left, in ms: backlog / (μ − λ). `None` where it doesn't shrink.
    pub drain_ms: Option<u64>,
    /// ⌈λ·s / 0.8⌉: how many places keep up and are busy for 80 % of their time; at least 1 where a task is ready.
    /// `None` where s is unknown and nothing is ready.
    pub places_needed: Option<u64>,
    /// How many workers have so many places, if each has the present mean. `None` where either isn't known.
    pub workers_needed: Option<u64>,
}

impl Workload {
    /// Of figures and of what is counted now.
    pub fn of(figures: &Figures, places: Places, backlog: u64) -> Workload {
        let (arrival_rate, completion_rate) = (figures.arrivals.one_minute, figures.completions.one_minute);
        // Nothing arrives: nobody is needed, however long a task runs.
        let idle = (arrival_rate == 0.0).then_some(0.0);
        let kept_busy = figures.run_mean_ms.map(|mean_ms| arrival_rate * mean_ms / 1000.0).or(idle);
        let needed = kept_busy.map(|kept_busy| rounded_up(kept_busy / UTILISATION_AIM));
        // What is ready needs somebody, whatever is known of it.
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

/// The least whole number that is no smaller, but for rounding.
fn rounded_up(number: f64) -> u64 {
    (number - ROUNDING).ceil().max(0.0) as u64
}
