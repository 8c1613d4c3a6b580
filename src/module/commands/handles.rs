//! What the commands on handles share: one handle, or many, and an integer for each.

use taskslot_engine::{Event, Handle, Now, Queue, Refusal};

use super::args::OneOrMany;
use crate::api::command::ArgDoc;
use crate::api::{Arg, Context};
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};

/// There is nothing left to work on.
const GONE: i64 = 0;
/// In an array: the task lives on without this lease.
const STALE: i64 = -2;
/// In an array: somebody asked to cancel the task.
const CANCELLED: i64 = -3;

/// `<handle | HANDLES n handle …>`
pub const HANDLES: ArgDoc = ArgDoc::one_of(
    "handles",
    &[
        ArgDoc::text("handle"),
        ArgDoc::block("many", &[ArgDoc::integer("n"), ArgDoc::text("handle").multiple()]).after("HANDLES"),
    ],
);

/// What a command decides for a handle.
type Decide<'d, 'e> = dyn FnMut(&Queue, Now, &Handle) -> Result<Event<'e>, Refusal> + 'd;

/// Decides on each handle in turn, applies what was decided, and replies the integer that `outcome` makes of it. A call
/// that `may_grow` is refused as a whole where the server is out of memory and the data would grow by it.
pub fn work_on<'a, 'e>(
    ctx: Context<'a>,
    key: Arg<'a>,
    handles: &OneOrMany<Handle>,
    may_grow: bool,
    mut decide: impl FnMut(&Queue, Now, &Handle) -> Result<Event<'e>, Refusal>,
    outcome: impl Fn(Now, &Event<'e>) -> i64,
) -> Result<(), Error> {
    let afford = |write: &Txn<'_, '_>, decide: &mut Decide<'_, 'e>| {
        let queue = write.queue();
        let decided = handles.as_slice().iter().filter_map(|handle| decide(queue, write.now, handle).ok());
        write.afford(if may_grow { decided.map(|event| queue.growth(&event)).sum() } else { 0 })
    };
    let one = |write: &mut Txn<'_, '_>, decide: &mut Decide<'_, 'e>, handle: &Handle| match decide(
        write.queue(),
        write.now,
        handle,
    ) {
        Ok(event) => {
            write.commit(&event)?;
            Ok(outcome(write.now, &event))
        }
        Err(Refusal::Gone) => Ok(GONE),
        Err(refusal) => Err(refusal.into()),
    };
    match handles {
        OneOrMany::One(handle) => {
            let answer = write(ctx, key, Missing::Skip, |write| {
                afford(write, &mut decide)?;
                one(write, &mut decide, handle)
            })?;
            ctx.reply().integer(answer.unwrap_or(GONE));
        }
        OneOrMany::Many(handles) => {
            let mut answers = vec![GONE; handles.len()];
            write(ctx, key, Missing::Skip, |write| {
                afford(write, &mut decide)?;
                for (handle, answer) in handles.iter().zip(&mut answers) {
                    *answer = match one(write, &mut decide, handle) {
                        Err(Error::Refused(Refusal::Stale)) => STALE,
                        Err(Error::Refused(Refusal::CancelAsked)) => CANCELLED,
                        result => result?,
                    };
                }
                Ok(())
            })?;
            ctx.reply().array(answers.len());
            answers.into_iter().for_each(|answer| ctx.reply().integer(answer));
        }
    }
    Ok(())
}
