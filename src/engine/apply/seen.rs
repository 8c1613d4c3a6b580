//! What a look at what is due came across.

use crate::rules::due::Seen;
use crate::state::State;

impl State {
    /// Makes the next look shorter. Nothing changes that is stored.
    pub(crate) fn apply_seen(&mut self, seen: &Seen) {
        seen.pages.iter().for_each(|&first| self.log.tighten(first));
        seen.groups.into_iter().for_each(|place| self.groups.look_on_from(place));
    }
}
