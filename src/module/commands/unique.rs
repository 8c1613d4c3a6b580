//! The token of a push: `UNIQUE token [UNTIL START | FOR ms [KEEP]] [REPLACE [POSTPONE [UNTIL ms]]]`.

use taskslot_engine::{Hold, Millis, SPAN_MAX_MS, Unique};

use super::args::Args;
use crate::errors::Error;
use taskslot_api::command::ArgDoc;

const HOLD: ArgDoc = ArgDoc::one_of(
    "hold",
    &[
        ArgDoc::block("until", &[ArgDoc::word("start", "START")])
            .after("UNTIL")
            .about("The token is free again at the first claim of the task"),
        ArgDoc::block("time", &[ArgDoc::integer("ms"), ArgDoc::word("keep", "KEEP").optional()])
            .after("FOR")
            .about(
                "The token is free again after this time at the latest, 1 ms to 100 years. With KEEP exactly then, even \
                    if the task has ended before",
            ),
    ],
)
.optional();

/// The option as an argument of a push.
pub const UNIQUE: ArgDoc = ArgDoc::block("unique", &[ArgDoc::text("token"), HOLD, REPLACE])
    .after("UNIQUE")
    .optional()
    .about(
        "Adds nothing if a task of the queue holds this token, 1 to 256 bytes. A task holds its token until it is done, \
            dead or removed",
    );

const REPLACE: ArgDoc = ArgDoc::block("replace", &[POSTPONE]).after("REPLACE").optional().about(
    "If the task that holds the token is ready, delayed or held, it gets this payload and these headers",
);

const POSTPONE: ArgDoc = ArgDoc::block("postpone", &[POSTPONE_UNTIL]).after("POSTPONE").optional().about(
    "That task is also due as DELAY or AT of this push say, counted from now: so it runs once the pushes have stopped. If \
        it is held, they count from the end of its wait",
);

const POSTPONE_UNTIL: ArgDoc = ArgDoc::integer("until-ms")
    .after("UNTIL")
    .optional()
    .about("But at most this many milliseconds after it was first pushed, 1 ms to 100 years. Does not bound a held task. Comes \
        directly after POSTPONE");

/// The option as an argument of a schedule. Each run is a push of its own, so there is nothing to replace.
pub const UNIQUE_RUNS: ArgDoc =
    ArgDoc::block("unique", &[ArgDoc::text("token"), HOLD]).after("UNIQUE").optional().about(
        "A run adds nothing, and counts as skipped, if a task of the queue holds this token, 1 to 256 bytes",
    );

/// The options of the token that were read so far. They can come anywhere among the options of a push.
#[derive(Clone, Copy, Default)]
pub struct UniqueOptions<'a> {
    token: Option<&'a [u8]>,
    until_start: bool,
    for_ms: Option<u64>,
    keep: bool,
    /// Whether a waiting task that holds the token gets the payload of this push.
    pub replace: bool,
    /// Whether that task is due as this push says.
    pub postpone: bool,
    /// How many ms after its push it is due at the latest.
    pub postpone_until_ms: Option<u64>,
}

impl<'a> UniqueOptions<'a> {
    /// Reads the value of an option. Returns false if it is not an option of the token.
    pub fn accept(&mut self, option: &str, args: &mut Args<'a>) -> Result<bool, Error> {
        match option {
            "UNIQUE" => self.token = Some(args.name("UNIQUE")?),
            "UNTIL" => {
                args.one_of(&["START"])?;
                self.until_start = true;
            }
            "FOR" => self.for_ms = Some(args.unsigned("FOR", 1..=SPAN_MAX_MS)?),
            "KEEP" => self.keep = true,
            "REPLACE" => self.replace = true,
            "POSTPONE" => {
                self.postpone = true;
                self.postpone_until_ms = postpone_until(args)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks that the options fit together. Errors: UNTIL, FOR, REPLACE or POSTPONE without a token, UNTIL with FOR,
    /// KEEP without FOR, POSTPONE without REPLACE.
    pub fn check(&self) -> Result<(), Error> {
        let has_span = self.for_ms.is_some();
        let given = [
            (self.until_start, "UNTIL"),
            (has_span, "FOR"),
            (self.keep, "KEEP"),
            (self.replace, "REPLACE"),
            (self.postpone, "POSTPONE"),
        ];
        match given.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) if self.token.is_none() => Err(Error::Requires(option, "UNIQUE")),
            _ if self.until_start && has_span => Err(Error::Clash("UNTIL", "FOR")),
            _ if self.keep && !has_span => Err(Error::Requires("KEEP", "FOR")),
            _ if self.postpone && !self.replace => Err(Error::Requires("POSTPONE", "REPLACE")),
            _ => Ok(()),
        }
    }

    /// Whether a token is given.
    pub fn is_some(&self) -> bool {
        self.token.is_some()
    }

    /// The token, and until when it is held by a task that is pushed at `at`.
    pub fn at(&self, at: Millis) -> Option<Unique<'a>> {
        let hold = match self.for_ms.map(|ms| at.plus(ms)) {
            Some(until) if self.keep => Hold::Exactly(until),
            Some(until) => Hold::AtMost(until),
            None if self.until_start => Hold::Start,
            None => Hold::End,
        };
        self.token.map(|token| Unique { token, hold })
    }
}

/// Reads the UNTIL of a POSTPONE, if it comes next. `UNTIL START` belongs to the token instead.
fn postpone_until(args: &mut Args<'_>) -> Result<Option<u64>, Error> {
    let mut ahead = args.clone();
    if !ahead.word("UNTIL") || ahead.word("START") {
        return Ok(None);
    }
    args.word("UNTIL");
    Ok(Some(args.unsigned("UNTIL", 1..=SPAN_MAX_MS)?))
}
