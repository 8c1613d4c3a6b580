//! `TASK.HELP`: describes the commands.

use std::convert::Infallible;

use super::docs::FIRST;
use taskslot_api::command::{Command, CommandDoc};
use taskslot_api::registration::registered;
use taskslot_api::{Arg, Context};

/// The command `TASK.HELP`: a line with the version, then three lines per command: its synopsis, its effect and its reply.
/// Internal commands are left out.
pub struct Help;

impl Command for Help {
    type Error = Infallible;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.HELP",
        summary: "Returns a short description of each command",
        complexity: "O(1)",
        since: FIRST,
        arity: 1,
        flags: "readonly fast",
        acl: "fast",
        reply: "An array of lines",
        replicates: "Nothing",
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, _args: &'a [Arg<'a>]) -> Result<(), Infallible> {
        let shown = registered().map(|entry| entry.doc).filter(|doc| !doc.name.starts_with("TASK._"));
        let first = format!("taskslot {}: task queues with leases", env!("CARGO_PKG_VERSION"));
        let commands = shown.flat_map(|doc| {
            [doc.synopsis(), format!("    {}.", doc.summary), format!("    -> {}.", doc.reply)]
        });
        let lines: Vec<String> = std::iter::once(first).chain(commands).collect();
        ctx.reply().array(lines.len());
        lines.iter().for_each(|line| ctx.reply().line(line));
        Ok(())
    }
}
