//! All that is known of a task, as a map: what GET and LIST show.

use taskslot_engine::{Headers, State, TaskView};

use crate::api::Reply;
use crate::claims::reply_headers;

/// Writes a task as a map. Fields that don't apply are left out.
pub fn reply_task(reply: Reply<'_>, task: &TaskView<'_>, with_payload: bool) {
    let map = reply.pending_map();
    let mut fields = 0;
    let mut text = |name: &str, value: &[u8]| {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
        fields += 1;
    };
    text("id", task.id.to_string().as_bytes());
    text("state", task.state.name().as_bytes());
    if let Some(lease) = task.lease.filter(|lease| !lease.worker.is_empty()) {
        text("worker", lease.worker);
    }
    if !task.options.group.is_empty() {
        text("group", task.options.group);
    }
    if !task.error.is_empty() {
        text("error", task.error);
    }
    if !task.progress.is_empty() {
        text("progress", task.progress);
    }
    if with_payload {
        text("payload", task.payload);
        task.result.into_iter().for_each(|result| text("result", result));
    }
    let mut number = |name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
        fields += 1;
    };
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    number("priority", i64::from(task.options.priority));
    number("enqueued", signed(task.enqueued_at.0));
    number("deliveries", i64::from(task.deliveries));
    number("failures", i64::from(task.failures));
    number("stalls", i64::from(task.stalls));
    if let Some(attempts) = task.options.attempts {
        number("attempts", i64::from(attempts));
    }
    let instant = match task.state {
        State::Ready => "ready-since",
        State::Delayed => "due",
        State::Leased => "deadline",
        State::Dead => "dead-since",
        State::Done => "done-since",
    };
    number(instant, signed(task.instant.0));
    if let Some(until) = task.kept_until {
        number("kept-until", signed(until.0));
    }
    if let Some(retain_ms) = task.options.retain_ms {
        number("retain", signed(retain_ms));
    }
    if let Some(lease) = task.lease {
        number("claimed", signed(lease.claimed_at.0));
        number("lease", signed(lease.number.0));
        number("lease-ms", i64::from(lease.lease_ms));
        number("tied", i64::from(lease.tied));
        number("cancel-asked", i64::from(lease.cancel_asked));
    } else if let Some(lease_ms) = task.options.lease_ms {
        number("lease-ms", i64::from(lease_ms));
    }
    let headers = Headers(task.options.headers).pairs();
    if !headers.is_empty() {
        reply.bulk(b"headers");
        reply_headers(reply, &headers);
        fields += 1;
    }
    map.finish(fields);
}
