//! How much work there is for how many workers.
//!
//! Little's law, L = λ·W (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9(3), 1961):
//! in any steady system, the mean number of things inside is their arrival rate times the mean time they stay. The
//! system here is the workers: tasks that arrive at λ a second and run for s seconds keep λ·s of them busy on average,
//! however they arrive and whatever they do. With n workers each is busy for ρ = λ·s / n of its time. As ρ comes near
//! to 1 waits grow without bound, so capacity is planned with some of it left over.

use crate::stats::Figures;

/// How busy workers should be: what "keeps up" means.
pub const UTILISATION_AIM: f64 = 0.8;
/// A need that is a whole number but for rounding is that number.
const ROUNDING: f64 = 1e-9;

/// The load of a queue, of present rates (over the last minute).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// λ: tasks pushed, each second.
    pub arrival_rate: f64,
    /// μ: tasks finished, each second, by all workers together.
    pub completion_rate: f64,
    /// s: the mean run time of a finished task, in ms; `None` where none was finished lately.
    pub run_mean_ms: Option<f64>,
    /// Tasks being worked on. A worker that holds ten leases counts as ten.
    pub busy: u64,
    /// Workers that wait for a task.
    pub waiting: u64,
    /// ρ = λ·s / (busy + waiting): above 1 the queue grows. `None` where s is unknown or there are no workers.
    pub utilisation: Option<f64>,
    /// Ready tasks.
    pub backlog: u64,
    /// How long until none of them is left, in ms: backlog / (μ − λ). `None` where it doesn't shrink.
    pub drain_ms: Option<u64>,
    /// ⌈λ·s / 0.8⌉: how many workers keep up and are busy for 80 % of their time. `None` where s is unknown.
    pub workers_needed: Option<u64>,
}

impl Load {
    /// Of figures and of what is counted now.
    pub fn of(figures: &Figures, busy: u64, waiting: u64, backlog: u64) -> Load {
        let (arrival_rate, completion_rate) = (figures.arrivals.one_minute, figures.completions.one_minute);
        // Nothing arrives: nobody is needed, however long a task runs.
        let idle = (arrival_rate == 0.0).then_some(0.0);
        let kept_busy = figures.run_mean_ms.map(|mean_ms| arrival_rate * mean_ms / 1000.0).or(idle);
        let workers = (busy + waiting) as f64;
        let drain_ms = 1000.0 * backlog as f64 / (completion_rate - arrival_rate);
        Load {
            arrival_rate,
            completion_rate,
            run_mean_ms: figures.run_mean_ms,
            busy,
            waiting,
            utilisation: kept_busy.filter(|_| workers > 0.0).map(|kept_busy| kept_busy / workers),
            backlog,
            drain_ms: match backlog {
                0 => Some(0),
                _ => (completion_rate > arrival_rate).then_some(drain_ms.ceil() as u64),
            },
            workers_needed: kept_busy
                .map(|kept_busy| (kept_busy / UTILISATION_AIM - ROUNDING).ceil().max(0.0) as u64),
        }
    }
}
