//! The next step of a task: `TASK.ACK … PUSH payload [options of TASK.PUSH]`.
//!
//! The task is finished and the next one is pushed in one effect. Everything is decided before the first change, so
//! that a refused push leaves the task as it was.

use taskslot_engine::{Answer, Event, Handle, Now, Queue, Refusal, TaskId};
use taskslot_node::ArgError;

use super::args::Args;
use super::ending::{Ending, FINISHED};
use super::handles::GONE;
use super::push::{self, PAYLOAD, PUSH};
use super::push_options::{AFTER, BATCH, PushOptions, REQUEST, WHEN, push_args};
use super::unique::UNIQUE;
use crate::errors::Error;
use crate::txn::{Missing, Txn, write};
use taskslot_api::command::ArgDoc;
use taskslot_api::user::User;
use taskslot_api::{Arg, Context};

/// The option of an ACK.
pub const STEP: ArgDoc = ArgDoc::block(
    "push",
    push_args!(ArgDoc::text("payload").about(PAYLOAD), WHEN; UNIQUE; BATCH, AFTER, REQUEST),
)
.after("PUSH")
.optional()
.about(
    "Pushes the next task if this one is finished by the call. It comes last: what follows are options of TASK.PUSH. \
        Cannot be combined with HANDLES",
);

/// The task to push.
pub struct Step<'a> {
    /// Its payload, as the server's own string: one argument.
    payload: &'a [Arg<'a>],
    options: PushOptions<'a>,
}

/// What the push is going to do.
enum Decided<'e> {
    /// It adds a task.
    Added(Event<'e>),
    /// This task holds its token, and is changed by this event, if any.
    Found(TaskId, Option<Event<'e>>),
}

/// The task that was pushed or found, and whether it is new.
type Pushed = (TaskId, bool);

impl<'a> Step<'a> {
    /// Reads the payload and the options up to the end. Errors: those of a push.
    pub fn read(args: &mut Args<'a>) -> Result<Step<'a>, Error> {
        let payload = args.take(1)?;
        args.begin_options();
        let mut options = PushOptions::default();
        push::read(args, PUSH, &mut options).map_err(with_hint)?;
        payload.iter().try_for_each(|payload| push::check_length(payload.as_bytes()))?;
        Ok(Step { payload, options })
    }

    /// Finishes the task and pushes this one, and replies.
    pub fn run(
        &self,
        ctx: Context<'a>,
        key: Arg<'a>,
        handle: &Handle,
        ending: &Ending<'a>,
    ) -> Result<(), Error> {
        // The server has checked only the permission to run TASK.ACK.
        let user = User::of_caller(ctx);
        if user.is_some_and(|user| !user.may(ctx.selected_db(), &[b"TASK.PUSH", key.as_bytes(), b""])) {
            return Err(Error::NoPush);
        }
        let done = write(ctx, key, Missing::Skip, |txn| self.follow(txn, handle, ending))?.flatten();
        let has_token = done.is_some() && self.options.unique.is_some();
        let reply = ctx.reply();
        reply.array(if has_token { 3 } else { 2 });
        match done {
            None => {
                reply.integer(GONE);
                reply.null();
            }
            Some((id, is_new)) => {
                reply.integer(FINISHED);
                reply.bulk(&id.text());
                if has_token {
                    reply.integer(is_new.into());
                }
            }
        }
        Ok(())
    }

    /// `None` if there is nothing left to finish. If that is so because this command was sent before, with the same
    /// REQUEST, the answer is the same again.
    fn follow(
        &self,
        txn: &mut Txn<'a, '_>,
        handle: &Handle,
        ending: &Ending<'a>,
    ) -> Result<Option<Pushed>, Error> {
        let (token, now) = (self.options.request, txn.now);
        let earlier = token.and_then(|token| txn.queue().recall_push(now, token));
        let earlier = earlier.map(|(id, count)| (id, count > 0));
        if earlier.is_some() {
            txn.count_duplicate();
        }
        let acked = match ending.decide(txn.queue(), now, handle) {
            Ok(acked) => acked,
            Err(refusal) => {
                // Perhaps the same answer came before.
                txn.refer_back();
                return if refusal == Refusal::Gone { Ok(earlier) } else { Err(refusal.into()) };
            }
        };
        if earlier.is_some() {
            txn.afford(txn.queue().growth(&acked))?;
            txn.commit(&acked)?;
            return Ok(earlier);
        }
        let payload: &[u8] = self.payload.first().map_or(&[], |payload| payload.as_bytes());
        let payloads = [payload];
        let decided = self.decide(txn.queue(), now, &payloads, &acked);
        let decided = decided.inspect_err(|refusal| txn.count_refused(refusal))?;
        let (event, pushed) = match &decided {
            Decided::Added(event) => (Some(event), (first_of(event)?, true)),
            Decided::Found(id, event) => (event.as_ref(), (*id, false)),
        };
        let growth = event
            .map_or_else(|| txn.queue().growth(&acked), |event| txn.queue().growth_of_step(&acked, event));
        txn.afford(growth)?;
        txn.commit(&acked)?;
        if let Some(event) = event {
            txn.commit_push(event, self.payload)?;
        }
        if !pushed.1 {
            push::postpone(txn, pushed.0, &self.options)?;
            txn.count_found();
        }
        if let Some(token) = token {
            let answer = Answer::Pushed { first: pushed.0, count: pushed.1.into() };
            let event = txn.queue().answered(now, token, answer);
            txn.commit(&event)?;
        }
        Ok(Some(pushed))
    }

    /// Decides the push, before the task is finished. Errors: those of a push.
    fn decide<'e>(
        &'e self,
        queue: &Queue,
        now: Now,
        payloads: &'e [&'e [u8]],
        acked: &Event,
    ) -> Result<Decided<'e>, Refusal> {
        match (push::decide(queue, now, &self.options, payloads, Some(acked)), payloads) {
            (Err(Refusal::Held(id)), [payload]) if self.options.unique.replace => {
                let body = (&self.options.headers[..], *payload);
                Ok(Decided::Found(id, queue.replace_next(now, id, body, acked)?))
            }
            (Err(Refusal::Held(id)), _) => Ok(Decided::Found(id, None)),
            (pushed, _) => pushed.map(Decided::Added),
        }
    }
}

/// Adds to the error of a RESULT that comes too late where it belongs.
fn with_hint(error: Error) -> Error {
    match error {
        Error::Argument(ArgError::Unknown(word, expected))
            if word.to_string().eq_ignore_ascii_case("RESULT") =>
        {
            Error::Hint(ArgError::Unknown(word, expected), "RESULT comes before PUSH")
        }
        error => error,
    }
}

fn first_of(pushed: &Event) -> Result<TaskId, Error> {
    match pushed {
        Event::Pushed { first, .. } | Event::PushedAfter { first, .. } => Ok(*first),
        _ => Err(Refusal::Exhausted.into()),
    }
}
