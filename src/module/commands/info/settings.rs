//! `TASK.INFO key CONFIG`: the queue's settings.

use taskslot_engine::{Backoff, SETTINGS, Setting};

use crate::datatype::TaskQueue;
use taskslot_api::Reply;

pub fn reply(reply: Reply<'_>, value: &TaskQueue) {
    let mut map = reply.map(SETTINGS.len());
    for rule in &SETTINGS {
        let number = value.queue.settings().get(rule.setting);
        match usize::try_from(number).ok().and_then(|at| Backoff::NAMES.get(at)) {
            Some(word) if rule.setting == Setting::Backoff => map.text(rule.name, word),
            _ => map.integer(rule.name, number),
        }
    }
}
