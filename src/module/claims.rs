//! The request of a worker, and the tasks that it gets.

use taskslot_engine::{Claim, Given, Handle, Headers, Holder, InlineStr, TaskId};
use taskslot_node::OneOrMany;

use crate::relations::{OwnedRelations, Reader, count_for_worker, reply_relations};
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
    /// How long it waits for more tasks after its first task was ready (GATHER), in ms.
    pub gather_ms: Option<u64>,
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
pub struct Delivery<'a> {
    name: Name,
    task: Given<'a>,
}

/// How the worker names the task.
#[derive(Clone, Copy)]
enum Name {
    Handle(Handle),
    /// By its id, after a claim with NOACK.
    Id(TaskId),
}

impl Name {
    fn text(self) -> InlineStr {
        match self {
            Name::Handle(handle) => handle.text(),
            Name::Id(id) => id.text(),
        }
    }

    fn id(self) -> TaskId {
        match self {
            Name::Handle(handle) => handle.id,
            Name::Id(id) => id,
        }
    }

    /// The number of the lease; 0 if there is none.
    fn lease(self) -> u64 {
        match self {
            Name::Handle(handle) => handle.lease.0,
            Name::Id(_) => 0,
        }
    }
}

impl<'a> Delivery<'a> {
    /// A leased task.
    pub fn leased(task: Given<'a>, handle: Handle) -> Delivery<'a> {
        Delivery { name: Name::Handle(handle), task }
    }

    /// A task claimed with NOACK, which is finished by it. Its last delivery is not counted in the queue yet, so it is
    /// added here.
    pub fn taken(task: Given<'a>, id: TaskId) -> Delivery<'a> {
        let deliveries = task.deliveries.saturating_add(1);
        Delivery { name: Name::Id(id), task: Given { deliveries, retain_ms: None, ..task } }
    }

    /// The bytes of payload, headers, group, progress and relations.
    pub fn bytes(&self) -> usize {
        let Given { payload, headers, group, progress, relations, .. } = &self.task;
        let texts = [payload, headers, group, progress].into_iter().map(|part| part.len());
        texts.sum::<usize>() + relations.as_ref().map_or(0, |relations| relations.shown_bytes())
    }

    /// Replies `[handle, payload, deliveries]`, with a map as the fourth element for WITHMETA.
    pub fn reply(&self, reply: Reply<'_>, with_meta: bool) {
        reply.array(if with_meta { 4 } else { 3 });
        reply.bulk(&self.name.text());
        reply.bulk(self.task.payload);
        reply.integer(i64::from(self.task.deliveries));
        if with_meta {
            self.reply_meta(reply);
        }
    }

    fn reply_meta(&self, reply: Reply<'_>) {
        let task = &self.task;
        let has_progress = !task.progress.is_empty();
        let relations = task.relations.as_deref();
        let mut map = reply.map(9 + usize::from(has_progress) + relations.map_or(0, count_for_worker));
        map.number("lease", self.name.lease());
        map.integer("priority", task.priority);
        map.text("group", task.group);
        reply_headers(map.field("headers"), &Headers(task.headers).pairs());
        map.number("enqueued", self.name.id().ms);
        map.number("deadline", task.deadline.map_or(0, |deadline| deadline.0));
        map.integer("failures", task.failures);
        map.integer("stalls", task.stalls);
        match task.retain_ms {
            Some(retain_ms) => map.number("retain", retain_ms),
            None => map.field("retain").null(),
        }
        if has_progress {
            map.text("progress", task.progress);
        }
        if let Some(relations) = relations {
            reply_relations(&mut map, relations, Reader::Worker);
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
    name: Name,
    payload: Box<[u8]>,
    headers: Box<[u8]>,
    group: Box<[u8]>,
    progress: Box<[u8]>,
    relations: Option<Box<OwnedRelations>>,
    /// The task without these five.
    task: Given<'static>,
}

impl OwnedDelivery {
    /// Copies a delivery.
    pub fn of(delivery: &Delivery<'_>) -> OwnedDelivery {
        let Delivery { name, task } = delivery;
        OwnedDelivery {
            name: *name,
            payload: task.payload.into(),
            headers: task.headers.into(),
            group: task.group.into(),
            progress: task.progress.into(),
            relations: task.relations.as_deref().and_then(OwnedRelations::of),
            task: without_texts(task),
        }
    }

    /// Borrows it as a delivery.
    pub fn as_delivery(&self) -> Delivery<'_> {
        let (payload, headers, group) = (&*self.payload, &*self.headers, &*self.group);
        let relations = self.relations.as_ref().map(|relations| Box::new(relations.as_relations()));
        let Given { priority, deliveries, failures, stalls, deadline, retain_ms, .. } = self.task;
        let task = Given {
            payload,
            headers,
            group,
            priority,
            deliveries,
            failures,
            stalls,
            deadline,
            retain_ms,
            progress: &self.progress,
            relations,
        };
        Delivery { name: self.name, task }
    }
}

/// A task without what it borrows.
fn without_texts(task: &Given<'_>) -> Given<'static> {
    let Given { priority, deliveries, failures, stalls, deadline, retain_ms, .. } = *task;
    Given { priority, deliveries, failures, stalls, deadline, retain_ms, ..Given::default() }
}
