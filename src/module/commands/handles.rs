//! The common part of the commands on handles (ACK, FAIL, REQUEUE, EXTEND): one handle or several, and an integer for
//! each.

use taskslot_engine::{Event, Handle, Now, Queue, Refusal};

use super::args::OneOrMany;
use crate::claims::reply_answers;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::ArgDoc;
use taskslot_api::{Arg, Context};

/// The task no longer exists, or is finished.
pub const GONE: i64 = 0;
/// In an array: the lease has ended, but the task still exists.
const STALE: i64 = -2;
/// In an array: TASK.CANCEL asked the worker to stop.
const CANCELLED: i64 = -3;

/// The argument `<handle | HANDLES n handle ...>`.
pub const HANDLES: ArgDoc = ArgDoc::one_of(
    "handles",
    &[
        ArgDoc::text("handle").about("The handle that a claim returned"),
        ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("handle").multiple()])
            .after("HANDLES")
            .about("1 to 1000 handles. They are processed in order, independently of each other"),
    ],
);

/// For each handle in turn: decides, applies the event, and replies the integer that `answer` makes of it.
///
/// With `may_grow`, the whole call is refused if the data would grow and the server is out of memory.
pub fn work_on<'a, 'e, D, A>(
    ctx: Context<'a>,
    key: Arg<'a>,
    handles: &OneOrMany<Handle>,
    may_grow: bool,
    decide: D,
    answer: A,
) -> Result<(), Error>
where
    D: FnMut(&Queue, Now, &Handle) -> Result<Event<'e>, Refusal>,
    A: Fn(Now, &Event<'e>) -> i64,
{
    let mut work = Work { may_grow, decide, answer };
    let answers = write(ctx, key, Missing::Skip, |txn| {
        work.afford(txn, handles.as_slice())?;
        match handles {
            OneOrMany::One(handle) => work.on(txn, handle).map(OneOrMany::One),
            OneOrMany::Many(handles) => work.on_each(txn, handles).map(OneOrMany::Many),
        }
    })?;
    reply_answers(ctx.reply(), &answers.unwrap_or_else(|| all_gone(handles)));
    Ok(())
}

/// The same within a write that goes on: returns the integers, and STALE and CANCELLED are among them, also for one
/// handle.
pub fn answer_all<'e, D, A>(
    txn: &mut Txn<'_, '_>,
    handles: &OneOrMany<Handle>,
    may_grow: bool,
    decide: D,
    answer: A,
) -> Result<OneOrMany<i64>, Error>
where
    D: FnMut(&Queue, Now, &Handle) -> Result<Event<'e>, Refusal>,
    A: Fn(Now, &Event<'e>) -> i64,
{
    let mut work = Work { may_grow, decide, answer };
    work.afford(txn, handles.as_slice())?;
    match handles {
        OneOrMany::One(handle) => work.integer(txn, handle).map(OneOrMany::One),
        OneOrMany::Many(handles) => work.on_each(txn, handles).map(OneOrMany::Many),
    }
}

/// The integers if there is no queue.
pub fn all_gone(handles: &OneOrMany<Handle>) -> OneOrMany<i64> {
    match handles {
        OneOrMany::One(_) => OneOrMany::One(GONE),
        OneOrMany::Many(handles) => OneOrMany::Many(vec![GONE; handles.len()]),
    }
}

/// The work of a command on its handles.
struct Work<D, A> {
    may_grow: bool,
    decide: D,
    answer: A,
}

impl<'e, D, A> Work<D, A>
where
    D: FnMut(&Queue, Now, &Handle) -> Result<Event<'e>, Refusal>,
    A: Fn(Now, &Event<'e>) -> i64,
{
    /// Checks, before anything changes, that the server has memory for the call.
    fn afford(&mut self, txn: &Txn<'_, '_>, handles: &[Handle]) -> Result<(), Error> {
        if !self.may_grow {
            return Ok(());
        }
        let queue = &txn.queue();
        let decided = handles.iter().filter_map(|handle| (self.decide)(queue, txn.now, handle).ok());
        txn.afford(decided.map(|event| queue.growth(&event)).sum())
    }

    /// Works on one handle, and returns its integer. STALE and CANCELLED are errors.
    fn on(&mut self, txn: &mut Txn<'_, '_>, handle: &Handle) -> Result<i64, Error> {
        // Borrowed: an event is too large to be moved for nothing.
        match &(self.decide)(txn.queue(), txn.now, handle) {
            Ok(event) => {
                txn.commit(event)?;
                Ok((self.answer)(txn.now, event))
            }
            &Err(refusal) => {
                // Perhaps the same answer came before.
                txn.refer_back();
                if refusal == Refusal::Gone { Ok(GONE) } else { Err(refusal.into()) }
            }
        }
    }

    /// Works on one handle, and returns its integer. STALE and CANCELLED are integers too.
    fn integer(&mut self, txn: &mut Txn<'_, '_>, handle: &Handle) -> Result<i64, Error> {
        match self.on(txn, handle) {
            Err(Error::Refused(Refusal::Stale)) => Ok(STALE),
            Err(Error::Refused(Refusal::CancelAsked)) => Ok(CANCELLED),
            answered => answered,
        }
    }

    /// Works on several handles, and returns their integers.
    fn on_each(&mut self, txn: &mut Txn<'_, '_>, handles: &[Handle]) -> Result<Vec<i64>, Error> {
        handles.iter().map(|handle| self.integer(txn, handle)).collect()
    }
}
