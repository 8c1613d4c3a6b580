//! The request of a worker, and the tasks that it gets.

use taskslot_engine::{Claim, Handle, Headers, Holder, InlineStr, Millis, Queue, TaskView};
use taskslot_node::OneOrMany;

use taskslot_api::Reply;

/// A claim, with the parts that the engine needn't know.
#[derive(Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The part that the engine decides on.
    pub claim: Claim<'a>,
    /// The worker's connection, if the leases end with it (TIED).
    pub connection: Option<Holder>,
    /// The token of REQUEST, by which a claim that is sent again is recognised.
    pub token: Option<&'a [u8]>,
    /// Whether each task comes with a map (WITHMETA).
    pub with_meta: bool,
    /// What the reply has before the tasks.
    pub head: Head<&'a OneOrMany<i64>>,
}

/// What the reply to a claim has before its tasks.
#[derive(Clone, Copy)]
pub enum Head<A> {
    /// Nothing: the reply is the array of tasks.
    Nothing,
    /// The key of the queue, because the claim named several (MCLAIM).
    Key,
    /// The answers to the handles that the same command has finished (NEXT).
    Answers(A),
}

impl Head<OneOrMany<i64>> {
    /// The same, borrowed.
    pub fn as_ref(&self) -> Head<&OneOrMany<i64>> {
        match self {
            Head::Nothing => Head::Nothing,
            Head::Key => Head::Key,
            Head::Answers(answers) => Head::Answers(answers),
        }
    }
}

impl Head<&OneOrMany<i64>> {
    /// A copy for a worker that waits.
    pub fn into_owned(self) -> Head<OneOrMany<i64>> {
        match self {
            Head::Nothing => Head::Nothing,
            Head::Key => Head::Key,
            Head::Answers(answers) => Head::Answers(answers.clone()),
        }
    }
}

impl ClaimRequest<'_> {
    /// Begins the reply. After it, this many tasks of the queue follow, at least one.
    pub fn begin_reply(&self, reply: Reply<'_>, key: &[u8], tasks: usize) {
        match self.head {
            Head::Nothing => {}
            Head::Key => {
                reply.array(2);
                reply.bulk(key);
            }
            Head::Answers(answers) => {
                reply.array(2);
                reply_answers(reply, answers);
            }
        }
        reply.array(tasks);
    }

    /// Replies that there are no tasks. No queue gave any, so the reply has no key.
    pub fn reply_nothing(&self, reply: Reply<'_>) {
        match self.head {
            Head::Answers(_) => self.begin_reply(reply, &[], 0),
            Head::Nothing | Head::Key => reply.array(0),
        }
    }
}

/// Replies the integer of one handle, or an array with those of several.
pub fn reply_answers(reply: Reply<'_>, answers: &OneOrMany<i64>) {
    match answers {
        OneOrMany::One(answer) => reply.integer(*answer),
        OneOrMany::Many(answers) => {
            reply.array(answers.len());
            answers.iter().for_each(|answer| reply.integer(*answer));
        }
    }
}

/// A task on its way to a worker.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The handle; of a NOACK claim, the id.
    name: InlineStr,
    payload: &'a [u8],
    headers: Headers<'a>,
    group: &'a [u8],
    meta: Meta,
}

#[derive(Clone, Copy)]
struct Meta {
    deliveries: u32,
    lease: u64,
    priority: i8,
    enqueued: Millis,
    deadline: Option<Millis>,
    failures: u16,
    stalls: u16,
    /// How long the task is kept once it is done, in ms, unless the ack gives another time.
    retain_ms: Option<u64>,
}

impl<'a> Delivery<'a> {
    /// A leased task.
    pub fn leased(queue: &Queue, task: &TaskView<'a>, handle: Handle) -> Delivery<'a> {
        let retain_ms = queue.retain_ms(&task.options);
        let meta = Meta { lease: handle.lease.0, deadline: Some(task.instant), retain_ms, ..Meta::of(task) };
        Delivery { name: handle.text(), meta, ..Delivery::of(task) }
    }

    /// A task claimed with NOACK, which is finished by it. Its last delivery is not counted in the queue yet, so it is
    /// added here.
    pub fn taken(task: &TaskView<'a>) -> Delivery<'a> {
        let deliveries = task.deliveries.saturating_add(1);
        Delivery { meta: Meta { deliveries, ..Meta::of(task) }, ..Delivery::of(task) }
    }

    fn of(task: &TaskView<'a>) -> Delivery<'a> {
        let (name, headers) = (task.id.text(), Headers(task.options.headers));
        let (payload, group) = (task.payload, task.options.group);
        Delivery { name, payload, headers, group, meta: Meta::of(task) }
    }

    /// The bytes of payload, headers and group.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.headers.0.len() + self.group.len()
    }

    /// Replies `[handle, payload, deliveries]`, with a map as the fourth element for WITHMETA.
    pub fn reply(&self, reply: Reply<'_>, with_meta: bool) {
        reply.array(if with_meta { 4 } else { 3 });
        reply.bulk(&self.name);
        reply.bulk(self.payload);
        reply.integer(i64::from(self.meta.deliveries));
        if with_meta {
            self.reply_meta(reply);
        }
    }

    fn reply_meta(&self, reply: Reply<'_>) {
        let meta = &self.meta;
        let mut map = reply.map(9);
        map.number("lease", meta.lease);
        map.integer("priority", meta.priority);
        map.text("group", self.group);
        reply_headers(map.field("headers"), &self.headers.pairs());
        map.number("enqueued", meta.enqueued.0);
        map.number("deadline", meta.deadline.map_or(0, |deadline| deadline.0));
        map.integer("failures", meta.failures);
        map.integer("stalls", meta.stalls);
        match meta.retain_ms {
            Some(retain_ms) => map.number("retain", retain_ms),
            None => map.field("retain").null(),
        }
    }
}

impl Meta {
    fn of(task: &TaskView<'_>) -> Meta {
        Meta {
            deliveries: task.deliveries,
            lease: 0,
            priority: task.options.priority,
            enqueued: task.enqueued_at,
            deadline: None,
            failures: task.failures,
            stalls: task.stalls,
            retain_ms: None,
        }
    }
}

/// Replies headers as a map.
pub fn reply_headers(reply: Reply<'_>, headers: &[(&[u8], &[u8])]) {
    let mut map = reply.map(headers.len());
    headers.iter().for_each(|(name, value)| map.text(name, value));
}

/// A copy of a delivery, kept until it can be sent to a client that was blocked.
pub struct OwnedDelivery {
    name: InlineStr,
    payload: Box<[u8]>,
    headers: Box<[u8]>,
    group: Box<[u8]>,
    meta: Meta,
}

impl OwnedDelivery {
    /// Copies a delivery.
    pub fn of(task: &Delivery<'_>) -> OwnedDelivery {
        let (payload, headers, group) = (task.payload.into(), task.headers.0.into(), task.group.into());
        OwnedDelivery { name: task.name, payload, headers, group, meta: task.meta }
    }

    /// Borrows it as a delivery.
    pub fn as_delivery(&self) -> Delivery<'_> {
        let (payload, headers, group) = (&*self.payload, Headers(&self.headers), &*self.group);
        Delivery { name: self.name, payload, headers, group, meta: self.meta }
    }
}
