//! `TASK.INFO key`: counts, totals, rates, times and load.
//!
//! Times are given as spans from now, so that a client needn't know the server's clock. −1 means that there is no such
//! time, or that a figure isn't known. Fractions are texts with three decimals, the same in both protocols and on all
//! servers.

use taskslot_edges::edge;
use taskslot_engine::{
    Figures, Gate, HeldBy, Now, Pause, Percentiles, Places, Queue, TaskState, Totals, Workload,
};

use crate::datatype::TaskQueue;
use crate::waiters;
use taskslot_api::reply::Map;
use taskslot_api::{Arg, Reply};

/// The most names of waiting workers that are counted.
const COUNTED: usize = edge(1000, 2);

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, db: i32, key: Arg<'_>) {
    let queue = &value.queue;
    let demand = waiters::demand(db, key.as_bytes());
    let mut map = reply.open_map();
    TaskState::ALL.iter().for_each(|&state| map.number(state.name(), queue.count(state)));
    let totals = Totals::NAMES.into_iter().zip(queue.totals().values());
    totals.for_each(|(name, total)| map.number(name, total));
    map.number("duplicate", value.duplicate);
    map.number("found", value.found);
    map.number("refused", value.refused);
    map.number("bytes", queue.bytes());
    map.number("memory", queue.memory() as u64);
    map.number("tokens", queue.tokens());
    map.number("groups", queue.groups() as u64);
    map.number("groups-paused", queue.groups_paused() as u64);
    map.number("groups-stopped", queue.groups_stopped() as u64);
    let (open, closed) = queue.batches();
    map.number("batches-open", open as u64);
    map.number("batches-closed", closed as u64);
    map.number("blocked-workers", demand.claims);
    map.number_or_none("oldest-ready-ms", queue.oldest_ready().map(|since| now.at.since(since)));
    map.number_or_none("next-delayed-ms", queue.next_delayed(&now).map(|due| due.since(now.at)));
    for (name, gate) in [("paused-in", Gate::In), ("paused-out", Gate::Out)] {
        match queue.paused(now.at, gate) {
            Pause::Open => map.number(name, 0),
            pause => map.number_or_none(name, pause.end().map(|until| until.since(now.at))),
        }
    }
    map.text("held-by", queue.held_by(now.at).map_or("", HeldBy::name));
    let figures = queue.figures(now.at);
    reply_figures(&mut map, &figures);
    let workers = workers(queue, db, key);
    let places = Places { busy: queue.count(TaskState::Leased), free: demand.tasks, workers };
    let load = Workload::of(&figures, places, queue.count(TaskState::Ready));
    reply_load(map.field("load"), &load);
    map.text("broken", value.health.text());
}

/// The number of workers that hold leases or wait, by their names. `None` if some have no name, or if too many wait to
/// be counted.
fn workers(queue: &Queue, db: i32, key: Arg<'_>) -> Option<u64> {
    let waiting = waiters::count_names(db, key.as_bytes(), COUNTED, |name| !queue.knows_worker(name))?;
    queue.all_are_named().then_some(waiting + queue.workers_busy() as u64)
}

fn reply_figures(map: &mut Map<'_>, figures: &Figures) {
    for (names, rates) in [
        (["in-per-second-1m", "in-per-second-5m"], figures.arrivals),
        (["out-per-second-1m", "out-per-second-5m"], figures.completions),
    ] {
        let rates = [rates.one_minute, rates.five_minutes];
        names.into_iter().zip(rates).for_each(|(name, rate)| fraction(map, name, Some(rate)));
    }
    for (names, known) in [
        (["wait-p50-ms", "wait-p95-ms", "wait-p99-ms"], figures.wait),
        (["run-p50-ms", "run-p95-ms", "run-p99-ms"], figures.run),
    ] {
        let values = known.map(|Percentiles { p50, p95, p99 }| [p50, p95, p99]);
        let values = values.map_or([None; 3], |values| values.map(Some));
        names.into_iter().zip(values).for_each(|(name, ms)| map.number_or_none(name, ms));
    }
}

/// Writes a fraction as a text with three decimals, or −1 for `None`.
fn fraction(map: &mut Map<'_>, name: &str, value: Option<f64>) {
    map.text(name, value.map_or("-1".to_owned(), |value| format!("{value:.3}")));
}

fn reply_load(reply: Reply<'_>, load: &Workload) {
    let mut map = reply.open_map();
    fraction(&mut map, "arrival-rate", Some(load.arrival_rate));
    fraction(&mut map, "completion-rate", Some(load.completion_rate));
    fraction(&mut map, "run-mean-ms", load.run_mean_ms);
    map.number("places-busy", load.places.busy);
    map.number("places-free", load.places.free);
    fraction(&mut map, "utilisation", load.utilisation);
    map.number("backlog", load.backlog);
    map.number_or_none("drain-ms", load.drain_ms);
    map.number_or_none("places-needed", load.places_needed);
    map.number_or_none("workers-needed", load.workers_needed);
}
