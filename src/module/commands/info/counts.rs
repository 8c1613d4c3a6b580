//! `TASK.INFO key`: counts, totals, rates, times, load.
//!
//! Instants are told as spans from now, −1 where there is none, so that nobody has to know the server's clock. What
//! isn't known is −1, too. Fractions are texts with three decimals, alike in both protocols and on all servers.

use taskslot_engine::{Figures, Gate, Held, Load, Now, Pause, Percentiles, Places, Queue, State, Totals};

use crate::api::reply::Pending;
use crate::api::{Arg, Reply};
use crate::datatype::TaskQueue;
use crate::waiters;

/// To tell how many workers there are, so many names of those who wait are looked at.
const LOOKED_AT: usize = 1000;

/// A map that counts its fields.
struct Fields<'a> {
    reply: Reply<'a>,
    map: Pending<'a>,
    count: usize,
}

impl<'a> Fields<'a> {
    fn new(reply: Reply<'a>) -> Fields<'a> {
        Fields { reply, map: reply.pending_map(), count: 0 }
    }

    fn name(&mut self, name: &str) -> Reply<'a> {
        self.count += 1;
        self.reply.bulk(name.as_bytes());
        self.reply
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name).integer(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// −1 for none.
    fn span(&mut self, name: &str, ms: Option<u64>) {
        self.name(name).integer(ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)));
    }

    /// −1 for none.
    fn fraction(&mut self, name: &str, value: Option<f64>) {
        let text = value.map_or("-1".to_owned(), |value| format!("{value:.3}"));
        self.name(name).bulk(text.as_bytes());
    }

    fn finish(self) {
        self.map.finish(self.count);
    }
}

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, db: i32, key: Arg<'_>) {
    let queue = &value.queue;
    let demand = waiters::demand(db, key.as_bytes());
    let mut fields = Fields::new(reply);
    State::ALL.iter().for_each(|&state| fields.number(state.name(), queue.count(state)));
    let totals = Totals::NAMES.into_iter().zip(queue.totals().values());
    totals.for_each(|(name, total)| fields.number(name, total));
    fields.number("duplicate", value.duplicate);
    fields.number("found", value.found);
    fields.number("refused", value.refused);
    fields.number("bytes", queue.bytes());
    fields.number("memory", queue.memory() as u64);
    fields.number("tokens", queue.tokens());
    fields.number("groups", queue.groups() as u64);
    fields.number("blocked-workers", demand.claims);
    fields.span("oldest-ready-ms", queue.oldest_ready().map(|since| now.at.since(since)));
    fields.span("next-delayed-ms", queue.next_delayed(&now).map(|due| due.since(now.at)));
    for (name, gate) in [("paused-in", Gate::In), ("paused-out", Gate::Out)] {
        match queue.paused(now.at, gate) {
            Pause::Open => fields.number(name, 0),
            pause => fields.span(name, pause.end().map(|until| until.since(now.at))),
        }
    }
    fields.name("held-by").bulk(queue.held_by(now.at).map_or("", Held::name).as_bytes());
    let figures = queue.figures(now.at);
    reply_figures(&mut fields, &figures);
    let workers = workers(queue, db, key);
    let places = Places { busy: queue.count(State::Leased), free: demand.tasks, workers };
    let load = Load::of(&figures, places, queue.count(State::Ready));
    reply_load(fields.name("load"), &load);
    fields.name("broken").bulk(value.health.text().as_bytes());
    fields.finish();
}

/// How many workers hold leases or wait, by their names; `None` where some gave none, or too many wait to be counted.
fn workers(queue: &Queue, db: i32, key: Arg<'_>) -> Option<u64> {
    let waiting = waiters::count_names(db, key.as_bytes(), LOOKED_AT, |name| !queue.knows_worker(name))?;
    queue.all_are_named().then_some(waiting + queue.workers_busy() as u64)
}

fn reply_figures(fields: &mut Fields<'_>, figures: &Figures) {
    for (names, rates) in [
        (["in-per-second-1m", "in-per-second-5m"], figures.arrivals),
        (["out-per-second-1m", "out-per-second-5m"], figures.completions),
    ] {
        let rates = [rates.one_minute, rates.five_minutes];
        names.into_iter().zip(rates).for_each(|(name, rate)| fields.fraction(name, Some(rate)));
    }
    for (names, known) in [
        (["wait-p50-ms", "wait-p95-ms", "wait-p99-ms"], figures.wait),
        (["run-p50-ms", "run-p95-ms", "run-p99-ms"], figures.run),
    ] {
        let told = known.map(|Percentiles { p50, p95, p99 }| [p50, p95, p99]);
        let told = told.map_or([None; 3], |told| told.map(Some));
        names.into_iter().zip(told).for_each(|(name, ms)| fields.span(name, ms));
    }
}

fn reply_load(reply: Reply<'_>, load: &Load) {
    let mut fields = Fields::new(reply);
    fields.fraction("arrival-rate", Some(load.arrival_rate));
    fields.fraction("completion-rate", Some(load.completion_rate));
    fields.fraction("run-mean-ms", load.run_mean_ms);
    fields.number("places-busy", load.places.busy);
    fields.number("places-free", load.places.free);
    fields.fraction("utilisation", load.utilisation);
    fields.number("backlog", load.backlog);
    fields.span("drain-ms", load.drain_ms);
    fields.span("places-needed", load.places_needed);
    fields.span("workers-needed", load.workers_needed);
    fields.finish();
}
