//! `TASK.INFO key CONFIG`: the queue's settings.

use taskslot_engine::{Backoff, SETTINGS, Setting};

use crate::api::Reply;
use crate::datatype::TaskQueue;

pub fn reply(reply: Reply<'_>, value: &TaskQueue) {
    reply.map(SETTINGS.len());
    for rule in &SETTINGS {
        reply.bulk(rule.name.as_bytes());
        let number = value.queue.settings().get(rule.setting);
        match usize::try_from(number).ok().and_then(|at| Backoff::NAMES.get(at)) {
            Some(word) if rule.setting == Setting::Backoff => reply.bulk(word.as_bytes()),
            _ => reply.integer(number),
        }
    }
}
