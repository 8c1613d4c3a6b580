//! `TASK.CONFIG`: changes the settings of a queue.

use std::fmt::Write as _;

use taskslot_engine::{Backoff, Event, Rule, SETTINGS, Setting};
use taskslot_node::{ArgError, Shown, parse_integer};

use super::args::Args;
use super::docs::{FIRST, errors};
use crate::errors::Error;
use crate::txn::{Missing, write};
use taskslot_api::command::{ArgDoc, Command, CommandDoc, KeySpec, key_flags};
use taskslot_api::{Arg, Context};

/// The command `TASK.CONFIG`.
pub struct Config;

impl Command for Config {
    type Error = Error;

    const DOC: &'static CommandDoc = &CommandDoc {
        name: "TASK.CONFIG",
        summary: "Changes the settings of a queue, or resets them to their defaults",
        details: "All named settings change, or none. Settings apply to existing tasks too. SET creates \
            the queue if it does not exist. TASK.INFO key CONFIG shows the settings, and \
            [Operations](operations.md) describes them.",
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
                        .multiple()
                        .about("Sets each named setting"),
                    ArgDoc::block("reset", &[ArgDoc::text("name").multiple().optional()])
                        .after("RESET")
                        .about("Resets each named setting, or all of them if no name is given"),
                ],
            ),
        ],
        reply: "OK",
        replicates: "One TASK._APPLY with the named settings, even if their values stay the same. With RESET: \
            nothing if the queue does not exist",
        errors: errors![
            UNKNOWN,
            NO_VALUE,
            TWICE,
            RANGE,
            SETTING_WORD,
            UNKNOWN_SETTING,
            OUT_OF_MEMORY,
            WRONG_TYPE,
            BROKEN,
            BUSY,
            SCRIPT
        ],
        ..CommandDoc::EMPTY
    };

    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Error> {
        let mut args = Args::new(args);
        let key = args.next()?;
        let resets = args.one_of(&["SET", "RESET"])? == 1;
        let values = if resets { defaults(&mut args)? } else { given(&mut args)? };
        let missing = if resets { Missing::Skip } else { Missing::CreateWithMemory };
        write(ctx, key, missing, |txn| txn.commit(&Event::Configured { values }))?;
        ctx.reply().status(c"OK");
        Ok(())
    }
}

/// The name of a setting, and its new value.
type Value = (&'static str, i64);

/// Reads names and values up to the end, at least one.
fn given(args: &mut Args<'_>) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    while args.left() > 0 {
        let rule = next_rule(args, &values)?;
        let value = parse(rule, args.bytes()?).ok_or_else(|| Error::Setting(bounds(rule)))?;
        values.push((rule.name, value));
    }
    if values.is_empty() { Err(ArgError::NoValue("SET").into()) } else { Ok(values) }
}

/// Reads names up to the end, and returns them with their defaults; all settings if there are no names.
fn defaults(args: &mut Args<'_>) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    while args.left() > 0 {
        let rule = next_rule(args, &values)?;
        values.push((rule.name, rule.default));
    }
    if values.is_empty() {
        values = SETTINGS.iter().map(|rule| (rule.name, rule.default)).collect();
    }
    Ok(values)
}

/// Reads the name of a setting. A name that is already among `values` is an error.
fn next_rule(args: &mut Args<'_>, values: &[Value]) -> Result<&'static Rule, Error> {
    let name = args.bytes()?;
    let rule = Rule::named(name).ok_or_else(|| Error::UnknownSetting(Shown::of(name)))?;
    args.after(rule.name);
    match values.iter().any(|(name, _)| *name == rule.name) {
        true => Err(ArgError::Twice(rule.name).into()),
        false => Ok(rule),
    }
}

/// Reads the value of a setting: a word, or a number with the same syntax as in all other commands.
fn parse(rule: &Rule, text: &[u8]) -> Option<i64> {
    let is_number = parse_integer(text).is_some();
    if is_number || rule.setting == Setting::Backoff { rule.parse(text) } else { None }
}

/// The text of an error that names the values which a setting can have.
fn bounds(rule: &Rule) -> String {
    if rule.setting == Setting::Backoff {
        return format!("{} must be one of {}", rule.name, Backoff::NAMES.join(", "));
    }
    let mut text = format!("{} must be an integer between {} and {}", rule.name, rule.min, rule.max);
    if rule.unlimited {
        let _ = write!(text, ", or -1 for no limit");
    }
    text
}
