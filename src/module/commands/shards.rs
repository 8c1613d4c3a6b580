//! `TASK.SHARDS`: names the queues that together form one logical queue, spread over the slots of a cluster.

use taskslot_node::slots;

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The longest name of a sharded queue, in bytes. It keeps the names of all 16384 shards below 20 MB.
const NAME_MAX: usize = 1024;

/// The command `TASK.SHARDS`. It opens no key, because the names follow from the name of the queue.
pub struct Shards;

impl Command for Shards {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.SHARDS",
        summary: "Returns the names of the first n shards of a queue, spread evenly over the slots of a \
            cluster",
        details: "The names follow from the queue's name alone, and never change: a larger n adds names to \
            the list. No key is read. The queue's name has at most 1024 bytes, and no '{'.",
        complexity: "O(n) for n shards",
        since: FIRST,
        arity: -3,
        flags: "readonly",
        acl: "read",
        keys: &[KeySpec::first(key_flags::RO)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::integer("n").about("The number of shards, 1 to 16,384"),
            ArgDoc::word("withslots", "WITHSLOTS").optional().about("Returns the slot of each shard too"),
        ],
        reply: "An array of n names. With WITHSLOTS: an array of [name, slot]",
        replicates: "Nothing",
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
            return Err(Error::TooLong("the name of a sharded queue", NAME_MAX));
        }
        // An opening brace in the name would begin a hash tag before the shard's own tag, and so change the slot.
        if queue.contains(&b'{') {
            return Err(Error::Bad("a queue name that contains '{' cannot be sharded"));
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
