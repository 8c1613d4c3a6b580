//! Replacing the body of a waiting task.

use crate::invalid::{Invalid, ensure};
use crate::state::State;
use crate::store::edits::{is_valid_body, is_waiting};
use crate::task::TaskId;

impl State {
    pub(crate) fn apply_replaced(
        &mut self,
        id: TaskId,
        headers: &[u8],
        payload: &[u8],
    ) -> Result<(), Invalid> {
        let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));
        let found = found.ok_or(Invalid("a waiting task"))?;
        ensure(found.record.options().unique.is_some(), "a task with a token")?;
        let order = found.order;
        ensure(is_valid_body(headers, payload), "a body's size")?;
        self.edits.put_body(order, Some(payload), Some(headers));
        Ok(())
    }
}
