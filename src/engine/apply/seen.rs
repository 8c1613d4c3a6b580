//! Noting what a search for due work found out.

use crate::rules::due::Seen;
use crate::state::State;

impl State {
    /// Makes the next search shorter. Nothing that is stored changes.
    pub(crate) fn apply_seen(&mut self, seen: &Seen) {
        seen.pages.iter().for_each(|&first| self.log.tighten(first));
        seen.groups.into_iter().for_each(|number| self.groups.look_on_from(number));
    }
}
