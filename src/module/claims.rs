//! What a worker asks for, and what it gets.

use taskslot_engine::{Claim, Handle, Headers, Millis, TaskView};

use crate::api::Reply;

/// A claim with what only the server's side of it knows.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    /// What the queue is asked.
    pub claim: Claim<'a>,
    /// The client's token, if it may send the claim again.
    pub request: Option<&'a [u8]>,
    /// Whether each task comes with all that is known of it.
    pub with_meta: bool,
}

/// A task on its way to a worker.
pub struct Delivery<'a> {
    /// The handle; of a NOACK claim, the id.
    handle: String,
    payload: &'a [u8],
    deliveries: u32,
    meta: Meta<'a>,
}

struct Meta<'a> {
    lease: u64,
    priority: i8,
    headers: Vec<(&'a [u8], &'a [u8])>,
    enqueued: Millis,
    deadline: Option<Millis>,
    failures: u16,
    stalls: u16,
}

impl<'a> Delivery<'a> {
    /// A task under a lease.
    pub fn leased(task: TaskView<'a>, handle: Handle) -> Delivery<'a> {
        let (meta, deliveries) = (Meta::of(&task, handle.lease.0, Some(task.instant)), task.deliveries);
        Delivery { handle: handle.to_string(), payload: task.payload, deliveries, meta }
    }

    /// A task that is given away for good: this is its one delivery more.
    pub fn taken(task: &TaskView<'a>) -> Delivery<'a> {
        let deliveries = task.deliveries.saturating_add(1);
        let meta = Meta::of(task, 0, None);
        Delivery { handle: task.id.to_string(), payload: task.payload, deliveries, meta }
    }

    /// `[handle, payload, deliveries]`, and a map with WITHMETA.
    pub fn reply(&self, reply: Reply<'_>, with_meta: bool) {
        reply.array(if with_meta { 4 } else { 3 });
        reply.bulk(self.handle.as_bytes());
        reply.bulk(self.payload);
        reply.integer(i64::from(self.deliveries));
        if with_meta {
            self.meta.reply(reply);
        }
    }

    /// A copy that outlives the call.
    pub fn kept(&self) -> Kept {
        let headers = self.meta.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
        Kept {
            handle: self.handle.clone(),
            payload: self.payload.into(),
            deliveries: self.deliveries,
            headers: headers.collect(),
            meta: Meta { headers: Vec::new(), ..self.meta },
        }
    }
}

impl<'a> Meta<'a> {
    fn of(task: &TaskView<'a>, lease: u64, deadline: Option<Millis>) -> Meta<'a> {
        Meta {
            lease,
            priority: task.options.priority,
            headers: Headers(task.options.headers).pairs(),
            enqueued: task.enqueued_at,
            deadline,
            failures: task.failures,
            stalls: task.stalls,
        }
    }

    fn reply(&self, reply: Reply<'_>) {
        let number = |name: &[u8], value: i64| {
            reply.bulk(name);
            reply.integer(value);
        };
        reply.map(7);
        number(b"lease", signed(self.lease));
        number(b"priority", i64::from(self.priority));
        reply.bulk(b"headers");
        reply_headers(reply, &self.headers);
        number(b"enqueued", signed(self.enqueued.0));
        number(b"deadline", self.deadline.map_or(0, |deadline| signed(deadline.0)));
        number(b"failures", i64::from(self.failures));
        number(b"stalls", i64::from(self.stalls));
    }
}

/// Headers as a map.
pub fn reply_headers(reply: Reply<'_>, headers: &[(&[u8], &[u8])]) {
    reply.map(headers.len());
    for (name, value) in headers {
        reply.bulk(name);
        reply.bulk(value);
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A delivery that waits to be written to a client that was blocked.
pub struct Kept {
    handle: String,
    payload: Box<[u8]>,
    deliveries: u32,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    meta: Meta<'static>,
}

impl Kept {
    /// As [`Delivery::reply`].
    pub fn reply(&self, reply: Reply<'_>, with_meta: bool) {
        let headers = self.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let meta = Meta { headers, ..self.meta };
        let (handle, payload) = (self.handle.clone(), &*self.payload);
        Delivery { handle, payload, deliveries: self.deliveries, meta }.reply(reply, with_meta);
    }
}
