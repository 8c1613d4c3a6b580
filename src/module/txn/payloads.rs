//! The payloads that are replicated beside an effect.

use std::borrow::Cow;

use taskslot_api::Arg;

/// The payloads of all pushes of a write, in order, as the server's own strings. The payloads of a single push are borrowed;
/// those of several are collected.
#[derive(Default)]
pub(super) struct Payloads<'a>(Cow<'a, [Arg<'a>]>);

impl<'a> Payloads<'a> {
    /// Appends the payloads of another push.
    pub(super) fn add(&mut self, payloads: &'a [Arg<'a>]) {
        if self.0.is_empty() {
            self.0 = Cow::Borrowed(payloads);
        } else {
            self.0.to_mut().extend_from_slice(payloads);
        }
    }

    /// All payloads.
    pub(super) fn as_slice(&self) -> &[Arg<'a>] {
        &self.0
    }
}
