//! What the commands on handles share: one handle, or many, and an integer for each.

use std::slice;

use taskslot_engine::{Event, Handle, Now, Queue, Refusal};

use super::args::OneOrMany;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::ArgDoc;
use taskslot_api::{Arg, Context};

/// There is nothing left to work on.
const GONE: i64 = 0;
/// In an array: the task lives on without this lease.
const STALE: i64 = -2;
/// In an array: somebody asked to cancel the task.
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

/// Decides on each handle in turn, applies what was decided, and replies the integer that `answer` makes of it. A call
/// that `may_grow` is refused as a whole where the server is out of memory and the data would grow by it.
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

/// What a command does with its handles.
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
    /// Refuses the call, before anything is changed, if the server has no memory for it.
    fn afford(&mut self, txn: &Txn<'_, '_>, handles: &[Handle]) -> Result<(), Error> {
        if !self.may_grow {
            return Ok(());
        }
        let queue = &txn.queue();
        let decided = handles.iter().filter_map(|handle| (self.decide)(queue, txn.now, handle).ok());
        txn.afford(decided.map(|event| queue.growth(&event)).sum())
    }

    /// The answer for one handle; STALE and CANCELLED are errors.
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

    /// The answers for many; STALE and CANCELLED are integers among them.
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
