//! `TASK.CONFIG`: the settings of a queue.

use std::fmt::Write as _;

use taskslot_engine::{Backoff, Event, Rule, SETTINGS, Setting};
use taskslot_node::{ArgError, Shown, parse_integer};

use super::FIRST;
use super::args::Args;
use crate::api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use crate::api::{Arg, Context};
use crate::errors::Error;
use crate::txn::{Missing, write};

/// `TASK.CONFIG`
pub struct Config;

impl Command for Config {
    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CONFIG",
        summary: "Sets a queue's settings, or puts some or all back to their defaults; TASK.INFO key CONFIG shows them",
        complexity: "O(n) for n settings",
        since: FIRST,
        arity: -3,
        flags: "write",
        acl: "write",
        keys: &[KeySpec::first(key_flags::RW | key_flags::UPDATE)],
        args: &[
            ArgDoc::key("key", 0),
            ArgDoc::one_of(
                "action",
                &[
                    ArgDoc::block("set", &[ArgDoc::text("name"), ArgDoc::text("value")])
                        .after("SET")
                        .multiple(),
                    ArgDoc::block("reset", &[ArgDoc::text("name").multiple().optional()]).after("RESET"),
                ],
            ),
        ],
        reply: "OK",
        ..CommandDoc::EMPTY
    };

    fn run(ctx: Context<'_>, args: &[Arg<'_>]) {
        if let Err(error) = config(ctx, args) {
            ctx.reply().error(&error);
        }
    }
}

fn config(ctx: Context<'_>, args: &[Arg<'_>]) -> Result<(), String> {
    let mut args = Args::new(args);
    let key = args.next().map_err(text)?;
    let resets = args.one_of(&["SET", "RESET"]).map_err(text)? == 1;
    let mut values: Vec<(&str, i64)> = Vec::new();
    while args.left() > 0 {
        let name = args.bytes().map_err(text)?;
        let rule = Rule::named(name).ok_or_else(|| text(Error::UnknownSetting(Shown::of(name))))?;
        args.after(rule.name);
        if values.iter().any(|(name, _)| *name == rule.name) {
            return Err(text(ArgError::Twice(rule.name)));
        }
        let value = match resets {
            true => rule.default,
            false => parse(rule, args.bytes().map_err(text)?).ok_or_else(|| bounds(rule))?,
        };
        values.push((rule.name, value));
    }
    if values.is_empty() && resets {
        values = SETTINGS.iter().map(|rule| (rule.name, rule.default)).collect();
    }
    if values.is_empty() {
        return Err(text(ArgError::NoValue("SET")));
    }
    let missing = if resets { Missing::Skip } else { Missing::CreateWithMemory };
    write(ctx, key, missing, |write| write.commit(&Event::Configured { values })).map_err(text)?;
    ctx.reply().status(c"OK");
    Ok(())
}

fn text(error: impl Into<Error>) -> String {
    error.into().to_string()
}

/// Reads a setting's value: a word, or a number as it is written everywhere else.
fn parse(rule: &Rule, text: &[u8]) -> Option<i64> {
    let is_number = parse_integer(text).is_some();
    if is_number || rule.setting == Setting::Backoff { rule.parse(text) } else { None }
}

/// What a setting can be, as an error.
fn bounds(rule: &Rule) -> String {
    if rule.setting == Setting::Backoff {
        return format!("ERR {} must be one of {}", rule.name, Backoff::NAMES.join(", "));
    }
    let mut text = format!("ERR {} must be an integer between {} and {}", rule.name, rule.min, rule.max);
    if rule.unlimited {
        let _ = write!(text, ", or -1 for no limit");
    }
    text
}
