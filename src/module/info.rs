//! The module's section of INFO: what this node has done since it started, and its present state.

use std::ffi::CString;

use taskslot_engine::Totals;

use crate::{clock, metrics, results, waiters, warnings, zones};
use taskslot_api::info::InfoWriter;

/// Writes the section. Its time does not depend on the number of queues.
pub fn write(out: &mut InfoWriter<'_>) {
    if !out.section(c"") {
        return;
    }
    let stamp = clock::stamp();
    let (counters, gauges) = (metrics::counters(), metrics::gauges());
    out.text(c"version", env!("CARGO_PKG_VERSION"));
    out.text(c"time_zones", zones::version());
    out.text(c"time_zones_from", &zones::source());
    out.u64(c"blocked_workers", waiters::total() as u64);
    out.u64(c"result_waiters", results::total() as u64);
    out.u64(c"queues", gauges.queues as u64);
    out.u64(c"queues_memory", gauges.bytes as u64);
    out.u64(c"broken_queues", gauges.broken as u64);
    for (name, total) in Totals::NAMES.iter().zip(counters.totals()) {
        if let Ok(field) = CString::new(format!("total_{name}")) {
            out.u64(&field, total);
        }
    }
    out.u64(c"due_lag_ms", counters.lag_ms(stamp.at()));
    out.u64(c"slow_ticks", counters.slow_ticks());
    out.i64(c"clock_skew_ms", stamp.skew_ms());
    let warnings = warnings::all();
    out.u64(c"warnings", warnings.len() as u64);
    warnings.iter().for_each(|(field, text)| out.text(field, text));
}
