//! The clients that wait for the end of a task.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

use taskslot_engine::TaskId;

use crate::QueueKey;

/// The clients that wait for one task. `T` is the type of what waits, `E` of how the wait ends.
pub struct Watch<T, E> {
    queue: QueueKey,
    id: TaskId,
    end: OnceCell<E>,
    /// The clients, by their tickets.
    waiters: RefCell<BTreeMap<u64, T>>,
}

impl<T, E> Watch<T, E> {
    /// The queue of the task.
    pub fn queue(&self) -> &QueueKey {
        &self.queue
    }

    /// The id of the task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// How the wait ended; `None` while it lasts.
    pub fn end(&self) -> Option<&E> {
        self.end.get()
    }
}

type Watched<T, E> = BTreeMap<QueueKey, BTreeMap<TaskId, Rc<Watch<T, E>>>>;

/// The tasks that clients wait for, by database, key and id.
///
/// When a task ends, its watch gets the outcome and leaves the table. That takes the same time for one client and for a
/// million. The clients are woken later, one by one.
pub struct Watches<T, E> {
    watched: Watched<T, E>,
    /// The number of tasks in the table.
    tasks: usize,
    /// The number of clients that wait, including those that are about to be woken.
    total: usize,
    last_ticket: u64,
    /// The watches whose task has ended, and whose clients have to be woken.
    ended: VecDeque<Rc<Watch<T, E>>>,
    /// The task that was checked last.
    checked: Option<(QueueKey, TaskId)>,
}

impl<T, E> Watches<T, E> {
    /// An empty table.
    pub const fn new() -> Watches<T, E> {
        Watches {
            watched: BTreeMap::new(),
            tasks: 0,
            total: 0,
            last_ticket: 0,
            ended: VecDeque::new(),
            checked: None,
        }
    }

    /// The number of clients that wait.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether no client waits for any task.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// Whether a client waits for this task.
    pub fn has(&self, queue: &QueueKey, id: TaskId) -> bool {
        self.watched.get(queue).is_some_and(|tasks| tasks.contains_key(&id))
    }

    /// The watch of a task, new or existing, and a ticket for a client that is about to join it.
    pub fn watch(&mut self, queue: QueueKey, id: TaskId) -> (Rc<Watch<T, E>>, u64) {
        let known = self.watched.get(&queue).and_then(|tasks| tasks.get(&id)).cloned();
        let watch = known.unwrap_or_else(|| {
            let (end, waiters) = (OnceCell::new(), RefCell::default());
            Rc::new(Watch { queue, id, end, waiters })
        });
        self.last_ticket += 1;
        (watch, self.last_ticket)
    }

    /// Adds a client to a watch.
    pub fn join(&mut self, watch: &Rc<Watch<T, E>>, ticket: u64, waiter: T) {
        debug_assert!(watch.end.get().is_none(), "a watch is joined before it ends");
        watch.waiters.borrow_mut().insert(ticket, waiter);
        self.total += 1;
        let tasks = self.watched.entry(watch.queue.clone()).or_default();
        self.tasks += usize::from(tasks.insert(watch.id, Rc::clone(watch)).is_none());
    }

    /// Removes a client from a watch. The last one removes the watch from the table.
    pub fn leave(&mut self, watch: &Watch<T, E>, ticket: u64) -> Option<T> {
        let left = watch.waiters.borrow_mut().remove(&ticket)?;
        self.total = self.total.saturating_sub(1);
        if watch.waiters.borrow().is_empty() && watch.end.get().is_none() {
            self.take(&watch.queue, watch.id);
        }
        Some(left)
    }

    /// Ends the wait for a task, if a client waits for it.
    pub fn end(&mut self, queue: &QueueKey, id: TaskId, end: E) {
        if let Some(watch) = self.take(queue, id) {
            let is_first = watch.end.set(end).is_ok();
            debug_assert!(is_first, "a watch leaves the table when it ends");
            self.ended.push_back(watch);
        }
    }

    /// Whether there are clients to wake.
    pub fn some_have_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Removes the next client to wake, and returns it.
    pub fn next_ended(&mut self) -> Option<T> {
        while let Some(watch) = self.ended.front() {
            let next = watch.waiters.borrow_mut().pop_first();
            if let Some((_, waiter)) = next {
                self.total = self.total.saturating_sub(1);
                return Some(waiter);
            }
            self.ended.pop_front();
        }
        None
    }

    /// The next tasks to check, at most `limit`, in the order of the table. After the last task it starts again with the first.
    pub fn next_to_check(&mut self, limit: usize) -> Vec<(QueueKey, Vec<TaskId>)> {
        let last = self.checked.take();
        let mut chosen: Vec<(QueueKey, Vec<TaskId>)> = Vec::new();
        let mut left = limit;
        let start = last.as_ref().map_or(Bound::Unbounded, |(queue, _)| Bound::Included(queue));
        for (queue, tasks) in self.watched.range((start, Bound::Unbounded)) {
            let after = last.as_ref().filter(|(last, _)| last == queue);
            let start = after.map_or(Bound::Unbounded, |(_, id)| Bound::Excluded(*id));
            let ids: Vec<TaskId> =
                tasks.range((start, Bound::Unbounded)).map(|(id, _)| *id).take(left).collect();
            left -= ids.len();
            chosen.push((queue.clone(), ids));
            if left == 0 {
                self.checked = chosen.last().and_then(|(queue, ids)| Some((queue.clone(), *ids.last()?)));
                break;
            }
        }
        chosen
    }

    /// Removes the watch of a task from the table.
    fn take(&mut self, queue: &QueueKey, id: TaskId) -> Option<Rc<Watch<T, E>>> {
        let tasks = self.watched.get_mut(queue)?;
        let watch = tasks.remove(&id)?;
        if tasks.is_empty() {
            self.watched.remove(queue);
        }
        self.tasks = self.tasks.saturating_sub(1);
        Some(watch)
    }
}

impl<T, E> Default for Watches<T, E> {
    fn default() -> Watches<T, E> {
        Watches::new()
    }
}
