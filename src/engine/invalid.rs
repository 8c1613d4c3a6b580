//! What is wrong with an event or a stored form, where something is.

/// Why an event doesn't fit the queue it was given to, or a stored form is refused: what should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

pub(crate) type Applied = Result<(), Invalid>;

/// Refuses what doesn't hold.
pub(crate) fn ensure(holds: bool, what: &'static str) -> Applied {
    if holds { Ok(()) } else { Err(Invalid(what)) }
}
