//! `TASK.SHARDS`: the queues that together carry one logical queue over the slots of a cluster.

use taskslot_node::slots;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The longest name that is cut into shards, so that the names of all 16384 stay below 20 MB.
const NAME_MAX: usize = 1024;

/// Names the shards of a queue. It looks at no key: the names follow from that of the queue, whether it is there or
/// not.
pub struct Shards;

impl Command for Shards {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.SHARDS",
        summary: "Names n shards of a queue, spread evenly over the slots of a cluster; the same ones for ever",
        complexity: "O(n) for n shards",
        since: FIRST,
        arity: -3,
        flags: "readonly",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::integer("n"),
            ArgDoc::word("withslots", "WITHSLOTS").optional(),
        ],
        reply: "an array of n names, with WITHSLOTS of [name, slot]",
        replicates: "nothing",
        errors: errors![UNKNOWN, TWICE, RANGE, TOO_LONG, SHARDED_NAME],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let queue = args.bytes()?;
        let count = args.integer("the number of shards", 1..=i64::from(slots::SLOTS))? as u16;
        let mut with_slots = false;
        while args.option(&["WITHSLOTS"])?.is_some() {
            with_slots = true;
        }
        if queue.len() > NAME_MAX {
            return Err(Error::TooLong("the name of a queue with shards", NAME_MAX));
        }
        // A brace of its own would decide the slot instead of the shard's tag: as a hash tag, as an empty one, or as the
        // beginning of one that ends with ours.
        if queue.contains(&b'{') {
            return Err(Error::Bad("a name with a { in it can't have shards: it has a say in the slot"));
        }
        ctx.reply().array(usize::from(count));
        for nth in 0..count {
            let slot = slots::of_shard(nth);
            if with_slots {
                ctx.reply().array(2);
            }
            ctx.reply().bulk(&[queue, b":{", slots::tag(slot), b"}"].concat());
            if with_slots {
                ctx.reply().integer(i64::from(slot));
            }
        }
        Ok(())
    }
}
