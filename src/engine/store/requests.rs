//! Remembered replies to requests with a token (REQUEST).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskslot_edges::{edge, rare};

use crate::bounds::{BATCH_MAX, NAME_MAX_BYTES};
use crate::request::Answer;
use crate::task::{Handle, TaskId};
use crate::time::Millis;

/// The most tokens that a queue remembers.
pub const REQUESTS_MAX: usize = edge(10_000, 16);
/// The most bytes that a queue uses for remembered requests, approximately. That is enough for 10,000 pushes with
/// tokens of any length, or for the replies to 250 claims of a thousand tasks.
pub const REQUESTS_MAX_BYTES: u64 = edge(8 << 20, 64 << 10);
/// How long a reply is remembered, in ms: five minutes. That of a claim is kept longer if its leases last longer.
pub const REQUEST_KEPT_MS: u64 = 300_000;

/// One remembered request, in its stored form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    #[serde(with = "serde_bytes")]
    pub token: Box<[u8]>,
    pub kept_until: Millis,
    pub answer: Answer,
}

impl Request {
    /// Whether the fields are within bounds. For what a file or a peer sent.
    pub(crate) fn is_valid(&self) -> bool {
        let answer = match &self.answer {
            Answer::Pushed { first, count } => {
                *count as usize <= BATCH_MAX && first.nth(u64::from(*count)).is_some()
            }
            Answer::Claimed { handles } => handles.len() <= BATCH_MAX,
        };
        answer && self.token.len() <= NAME_MAX_BYTES && self.kept_until <= Millis::MAX
    }

    fn name(&self) -> Box<[u8]> {
        name(if matches!(self.answer, Answer::Pushed { .. }) { PUSH } else { CLAIM }, &self.token)
    }
}

/// Replies to requests with a token, so that a request sent again gets the same reply.
///
/// A queue remembers at most [`REQUESTS_MAX`] tokens and [`REQUESTS_MAX_BYTES`], because the reply to a claim lists all
/// of its leases. The oldest are forgotten first. A reply is kept for five minutes, and that of a claim at least until
/// its leases end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    answers: BTreeMap<Box<[u8]>, (u64, Millis, Answer)>,
    /// Names by age; the key is the first number in `answers`.
    oldest: BTreeMap<u64, Box<[u8]>>,
    next: u64,
    /// Bytes that the replies take, approximately.
    bytes: usize,
}

/// The key of a request: the kind of command and the token. A push and a claim can have the same token.
fn name(kind: u8, token: &[u8]) -> Box<[u8]> {
    [&[kind], token].concat().into()
}

/// Bytes that a remembered reply takes, approximately. Its name is stored twice.
fn size(name: &[u8], answer: &Answer) -> usize {
    let handles = if let Answer::Claimed { handles } = answer { handles.len() } else { 0 };
    2 * name.len() + 190 + handles * size_of::<Handle>()
}

const PUSH: u8 = b'p';
const CLAIM: u8 = b'c';

impl Requests {
    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Bytes that they take, approximately.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Whether a reply to such a request is in the table, expired or not.
    pub fn holds(&self, request: &Request) -> bool {
        self.answers.contains_key(&request.name())
    }

    /// The reply to a push with this token, if it is still remembered: the first id and the number of tasks.
    pub fn push(&self, now: Millis, token: &[u8]) -> Option<(TaskId, u32)> {
        match self.recall(now, &name(PUSH, token))? {
            Answer::Pushed { first, count } => Some((*first, *count)),
            Answer::Claimed { .. } => None,
        }
    }

    /// The reply to a claim with this token, if it is still remembered: the handles.
    pub fn claim(&self, now: Millis, token: &[u8]) -> Option<&[Handle]> {
        match self.recall(now, &name(CLAIM, token))? {
            Answer::Claimed { handles } => Some(handles),
            Answer::Pushed { .. } => None,
        }
    }

    fn recall(&self, now: Millis, name: &[u8]) -> Option<&Answer> {
        self.answers.get(name).filter(|(_, kept_until, _)| *kept_until > now).map(|(_, _, answer)| answer)
    }

    /// Remembers a reply given at `now`. Forgets what has expired and, beyond the bounds, the oldest.
    pub fn remember(&mut self, now: Millis, request: Request) {
        let name = request.name();
        let Request { kept_until, answer, .. } = request;
        let came = self.next;
        self.next += 1;
        self.bytes += size(&name, &answer);
        if let Some((before, _, answer)) = self.answers.insert(name.clone(), (came, kept_until, answer)) {
            rare!("a request is remembered again");
            self.bytes -= size(&name, &answer);
            self.oldest.remove(&before);
        }
        self.oldest.insert(came, name);
        while let Some(oldest) = self.oldest.first_entry() {
            let is_over = self.answers.get(oldest.get()).is_none_or(|(_, kept_until, _)| *kept_until <= now);
            let is_too_much = self.answers.len() > REQUESTS_MAX || self.bytes as u64 > REQUESTS_MAX_BYTES;
            if !is_over && !is_too_much {
                break;
            }
            if is_over {
                rare!("a request is forgotten because its time is over");
            } else if self.answers.len() > REQUESTS_MAX {
                rare!("a request is forgotten because there are too many");
            } else {
                rare!("a request is forgotten because they take too many bytes");
            }
            let name = oldest.remove();
            if let Some((_, _, answer)) = self.answers.remove(&name) {
                self.bytes -= size(&name, &answer);
            }
        }
    }

    /// The remembered requests, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Request> + '_ {
        self.oldest.values().filter_map(|name| {
            let (_, kept_until, answer) = self.answers.get(name)?;
            Some(Request { token: name.get(1..)?.into(), kept_until: *kept_until, answer: answer.clone() })
        })
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        self.bytes
    }
}
