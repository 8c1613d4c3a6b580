//! Why an event or a stored form is refused.

/// Why an event doesn't fit its queue, or a stored form is refused. The text names what was expected, such as "a lease
/// to extend", to be read after "should have".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

pub(crate) type Applied = Result<(), Invalid>;

/// Returns an error that names `what` unless the condition holds.
pub(crate) fn ensure(holds: bool, what: &'static str) -> Applied {
    if holds { Ok(()) } else { Err(Invalid(what)) }
}
