//! The map of a task that GET and LIST return.

use std::num::NonZeroU64;

use taskslot_engine::{Headers, TaskError, TaskState, TaskView, When};

use crate::claims::reply_headers;
use crate::relations::{Reader, reply_relations};
use taskslot_api::Reply;
use taskslot_api::reply::Map;

/// About the most bytes of tasks in one reply, if BYTES is not given. A thousand large tasks would block the server for
/// seconds, and take as much memory again.
pub const REPLY_BYTES: u64 = 16 << 20;

/// Replies a task as a map. Fields that don't apply to it are left out.
pub fn reply_task(reply: Reply<'_>, task: &TaskView<'_>, with_payload: bool) {
    let mut map = reply.open_map();
    reply_texts(&mut map, task, with_payload);
    reply_attempts(&mut map, task);
    reply_times(&mut map, task);
    reply_lease(&mut map, task);
    reply_relations(&mut map, &task.relations, Reader::Observer);
    let headers = Headers(task.options.headers).pairs();
    if !headers.is_empty() {
        reply_headers(map.field("headers"), &headers);
    }
    if with_payload && !task.errors.is_empty() {
        let list = map.field("errors");
        list.array(task.errors.len());
        task.errors.iter().for_each(|error| reply_error(list, &error));
    }
}

/// Replies an error as a map, without what is not known of it.
fn reply_error(reply: Reply<'_>, error: &TaskError<'_>) {
    let mut map = reply.open_map();
    if error.attempt > 0 {
        map.integer("attempt", error.attempt);
    }
    if error.at.0 > 0 {
        map.number("at", error.at.0);
    }
    for (name, text) in [("worker", error.worker), ("error", error.text)] {
        if !text.is_empty() {
            map.text(name, text);
        }
    }
}

fn reply_texts(map: &mut Map<'_>, task: &TaskView<'_>, with_payload: bool) {
    let mut text = |name, value: &[u8]| {
        if !value.is_empty() {
            map.text(name, value);
        }
    };
    text("id", &task.id.text());
    text("state", task.state.name().as_bytes());
    text("worker", task.worker());
    text("group", task.options.group);
    text("error", task.error());
    text("progress", task.progress);
    if with_payload {
        map.text("payload", task.payload);
        task.result.into_iter().for_each(|result| map.text("result", result));
    }
    if let Some(unique) = task.options.unique {
        map.text("unique", unique.token);
    }
}

fn reply_attempts(map: &mut Map<'_>, task: &TaskView<'_>) {
    map.integer("priority", task.options.priority);
    map.number("enqueued", task.enqueued_at.0);
    map.integer("deliveries", task.deliveries);
    map.integer("failures", task.failures);
    map.integer("stalls", task.stalls);
    if let Some(attempts) = task.options.attempts {
        map.integer("attempts", attempts);
    }
}

/// Replies since or until when the task is in its state, and how long it will be kept.
fn reply_times(map: &mut Map<'_>, task: &TaskView<'_>) {
    let mut number = |name, value| {
        if let Some(value) = value {
            map.number(name, value);
        }
    };
    let instant = match task.state {
        TaskState::Ready => "ready-since",
        TaskState::Delayed => "due",
        TaskState::Held => "held-since",
        TaskState::Leased => "deadline",
        TaskState::Dead => "dead-since",
        TaskState::Done => "done-since",
    };
    number(instant, Some(task.instant.0));
    match task.when {
        When::Now => {}
        When::After(ms) => number("delay-ms", Some(ms)),
        When::At(at) => number("at", Some(at.0)),
    }
    number("kept-until", task.kept_until.map(|until| until.0));
    number("retain", task.options.retain_ms);
    if let Some(unique) = task.options.unique {
        number("unique-held", Some(u64::from(task.holds_token)));
        number("unique-until", unique.hold.until().map(|until| until.0));
    }
    number("ttl-ms", task.options.ttl_ms.map(NonZeroU64::get));
    number("expires", task.expires.map(|at| at.0));
}

fn reply_lease(map: &mut Map<'_>, task: &TaskView<'_>) {
    if let Some(claimed_at) = task.claimed_at() {
        map.number("claimed", claimed_at.0);
    }
    if let Some(last) = task.last {
        map.number("run-ms", last.run_ms);
    }
    if let Some(lease) = task.lease {
        map.number("lease", lease.number.0);
        map.integer("lease-ms", lease.lease_ms);
        map.integer("tied", lease.tied);
        map.integer("cancel-asked", lease.cancel_asked);
    } else if let Some(lease_ms) = task.options.lease_ms {
        map.integer("lease-ms", lease_ms);
    }
}
