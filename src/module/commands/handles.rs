//! The common part of the commands on handles (ACK, FAIL, REQUEUE, EXTEND): one handle or several, and an integer for each.

use std::slice;

use taskslot_engine::{Event, Handle, Now, Queue, Refusal};

use super::args::OneOrMany;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::ArgDoc;
use taskslot_api::{Arg, Context};

/// The task no longer exists, or is finished.
const GONE: i64 = 0;
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
    match handles {
        OneOrMany::One(handle) => {
            let answer = write(ctx, key, Missing::Skip, |txn| {
                work.afford(txn, slice::from_ref(handle))?;
                work.on(txn, handle)
            })?;
            ctx.reply().integer(answer.unwrap_or(GONE));
        }
        OneOrMany::Many(handles) => {
            let mut answers = vec![GONE; handles.len()];
            write(ctx, key, Missing::Skip, |txn| {
                work.afford(txn, handles)?;
                work.on_each(txn, handles, &mut answers)
            })?;
            ctx.reply().array(answers.len());
            answers.into_iter().for_each(|answer| ctx.reply().integer(answer));
        }
    }
    Ok(())
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
        match (self.decide)(txn.queue(), txn.now, handle) {
            Ok(event) => {
                txn.commit(&event)?;
                Ok((self.answer)(txn.now, &event))
            }
            Err(Refusal::Gone) => Ok(GONE),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Works on several handles, and returns their integers. STALE and CANCELLED are among the integers.
    fn on_each(
        &mut self,
        txn: &mut Txn<'_, '_>,
        handles: &[Handle],
        answers: &mut [i64],
    ) -> Result<(), Error> {
        for (handle, answer) in handles.iter().zip(answers) {
            *answer = match self.on(txn, handle) {
                Err(Error::Refused(Refusal::Stale)) => STALE,
                Err(Error::Refused(Refusal::CancelAsked)) => CANCELLED,
                answered => answered?,
            };
        }
        Ok(())
    }
}
