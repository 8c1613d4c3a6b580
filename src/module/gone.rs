//! The hints of queues that were freed and are still on the agenda. They are removed from it in steps, so that nothing is
//! left of a queue that had something to do in years.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use taskslot_edges::edge;
use taskslot_node::{Agenda, HintId, Noted};

/// The number of hints that are removed in one step.
const STEP: usize = edge(32, 2);
/// The longest list of hints whose memory is kept for the next ones.
const KEPT: usize = edge(1024, 2);

static GONE: Mutex<Vec<HintId>> = Mutex::new(Vec::new());

/// What a queue has noted of its hint. When the queue is freed, in whichever way that ends and on whichever thread, the
/// hint is to be removed.
#[derive(Debug, Default)]
pub struct NotedUntilFreed(Noted);

impl Deref for NotedUntilFreed {
    type Target = Noted;

    fn deref(&self) -> &Noted {
        &self.0
    }
}

impl Drop for NotedUntilFreed {
    fn drop(&mut self) {
        if let Some(id) = self.0.take() {
            gone().push(id);
        }
    }
}

/// Removes some of the hints. Returns whether there are more.
pub fn remove_some(agenda: &mut Agenda) -> bool {
    let (some, more) = {
        let mut gone = gone();
        let from = gone.len().saturating_sub(STEP);
        let some = gone.split_off(from);
        if gone.is_empty() {
            gone.shrink_to(KEPT);
        }
        (some, !gone.is_empty())
    };
    some.into_iter().for_each(|id| agenda.remove(id));
    more
}

fn gone() -> MutexGuard<'static, Vec<HintId>> {
    // Each change of the list is complete, even if a thread panicked later.
    GONE.lock().unwrap_or_else(PoisonError::into_inner)
}
