//! What travels beside an effect.

use std::borrow::Cow;

use taskslot_api::Arg;

/// The payloads of a write's pushes, in their order, as the server's own strings. One push borrows its own; several are
/// put together.
#[derive(Default)]
pub(super) struct Payloads<'a>(Cow<'a, [Arg<'a>]>);

impl<'a> Payloads<'a> {
    /// Appends those of one push more.
    pub(super) fn add(&mut self, payloads: &'a [Arg<'a>]) {
        if self.0.is_empty() {
            self.0 = Cow::Borrowed(payloads);
        } else {
            self.0.to_mut().extend_from_slice(payloads);
        }
    }

    /// All of them.
    pub(super) fn as_slice(&self) -> &[Arg<'a>] {
        &self.0
    }
}
