//! The module's part of INFO.

use crate::api::info::InfoWriter;
use crate::{results, waiters};

/// Writes it.
pub fn write(out: &mut InfoWriter<'_>) {
    if out.section(c"") {
        out.text(c"version", env!("CARGO_PKG_VERSION"));
        out.u64(c"blocked_workers", waiters::total() as u64);
        out.u64(c"result_waiters", results::total() as u64);
    }
}
