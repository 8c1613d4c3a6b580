//! Writes the manual for users, `docs/commands.md`, from the manuals of all commands.
//!
//! The test here fails if the file differs from what the code says; `BLESS=1 cargo test -p taskslot` rewrites it. The
//! page has three parts that are generated: the table of all commands, the table of shared errors, and a section per
//! command. The text before and between them is written by hand and stays.

use std::{env, fs, io};

use super::TABLE;
use taskslot_api::command::{ArgDoc, ArgKind, CommandDoc, ErrorDoc};

/// The page, seen from the folder of this crate.
const PAGE: &str = "../../docs/commands.md";
/// The heads of the two tables. A table ends with an empty line.
const COMMANDS: &str = "| command | what it does |\n|---|---|\n";
const SHARED_ERRORS: &str = "| name | error | when |\n|---|---|---|\n";
/// The prefix of the commands that only servers send. The table of commands leaves them out.
const INTERNAL: &str = "TASK._";
/// Commands with the options of another command. Options that are the same are described there only.
const SAME_OPTIONS: &[(&str, &str)] = &[
    ("TASK.MPUSH", "TASK.PUSH"),
    ("TASK.CRON", "TASK.PUSH"),
    ("TASK.MCLAIM", "TASK.CLAIM"),
    ("TASK.NEXT", "TASK.ACK"),
    ("TASK.NEXT", "TASK.CLAIM"),
];
/// The chapters that explain each command. `TASK.HELP` needs none.
const CHAPTERS: &[(&str, &str)] = &[
    (
        "TASK.PUSH",
        "[Order](concepts.md#order), [Delays](concepts.md#delays), [Tasks that expire](concepts.md#tasks-that-expire), \
            [Requests sent again](concepts.md#requests-sent-again), [Unique tasks](unique-tasks.md), [Groups](groups.md), \
            [Tasks that wait for tasks](dependencies.md), [Batches](batches.md)",
    ),
    (
        "TASK.MPUSH",
        "[Order](concepts.md#order), [Requests sent again](concepts.md#requests-sent-again), [Tasks that wait for \
            tasks](dependencies.md), [Batches](batches.md)",
    ),
    (
        "TASK.CLAIM",
        "[Leases](concepts.md#leases), [Waiting](concepts.md#waiting), [At most once](concepts.md#at-most-once), [Poison \
            tasks](concepts.md#poison-tasks), [The worker protocol](worker-protocol.md#claiming)",
    ),
    ("TASK.MCLAIM", "[Several queues](several-queues.md)"),
    ("TASK.NEXT", "[Finishing and claiming at once](worker-protocol.md#finishing-and-claiming-at-once)"),
    ("TASK.ACK", "[Handles](concepts.md#handles), [Late acks](concepts.md#late-acks), [Results](results.md)"),
    ("TASK.REQUEUE", "[Giving a task back](concepts.md#giving-a-task-back)"),
    (
        "TASK.EXTEND",
        "[Leases](concepts.md#leases), [Progress](results.md#progress), [Heartbeats](worker-protocol.md#heartbeats)",
    ),
    ("TASK.FAIL", "[Failures](concepts.md#failures)"),
    ("TASK.RESULT", "[Results](results.md)"),
    ("TASK.GET", "[States](concepts.md#states), [Fields of a task](observability.md#fields-of-a-task)"),
    ("TASK.LIST", "[States](concepts.md#states), [Fields of a task](observability.md#fields-of-a-task)"),
    ("TASK.LEN", "[States](concepts.md#states)"),
    ("TASK.INFO", "[Observability](observability.md)"),
    (
        "TASK.SHARDS",
        "[Shards](cluster.md#shards), [The rule for shards](worker-protocol.md#the-rule-for-shards)",
    ),
    ("TASK.SET", "[Changing a task that waits](concepts.md#changing-a-task-that-waits)"),
    ("TASK.CANCEL", "[Cancel](concepts.md#cancel)"),
    ("TASK.RETRY", "[Retry and purge](concepts.md#retry-and-purge)"),
    (
        "TASK.CONFIG",
        "[Settings of a queue](operations.md#settings-of-a-queue), [What bounds \
            what](concepts.md#what-bounds-what)",
    ),
    ("TASK.GROUP", "[Groups](groups.md)"),
    ("TASK.CRON", "[Schedules](schedules.md)"),
    ("TASK.BATCH", "[Batches](batches.md)"),
    ("TASK.PAUSE", "[Pause](concepts.md#pause)"),
    ("TASK.RESUME", "[Pause](concepts.md#pause)"),
    ("TASK.PURGE", "[Retry and purge](concepts.md#retry-and-purge)"),
    ("TASK._APPLY", "[Replication](guarantees.md#replication), [Broken queues](operations.md#broken-queues)"),
    (
        "TASK._LOAD",
        "[Damaged files](guarantees.md#damaged-files), [Broken queues](operations.md#broken-queues)",
    ),
    ("TASK._CLOCK", "[Time](guarantees.md#time)"),
];

#[test]
fn the_page_of_all_commands_says_what_the_code_says() -> io::Result<()> {
    let path = format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path)?;
    let generated =
        generate(&text).ok_or_else(|| io::Error::other("docs/commands.md has no place for a table"))?;
    if env::var_os("BLESS").is_some() {
        return fs::write(path, generated);
    }
    assert!(text == generated, "docs/commands.md is out of date: BLESS=1 cargo test -p taskslot rewrites it");
    Ok(())
}

#[test]
fn no_manual_names_an_error_twice() {
    for doc in TABLE.iter().map(|entry| entry.doc) {
        for (at, error) in doc.errors.iter().enumerate() {
            let is_new = doc.errors.iter().take(at).all(|before| before.text != error.text);
            assert!(is_new, "{}: {}", doc.name, error.text);
        }
    }
}

#[test]
fn every_command_has_a_chapter_and_describes_its_arguments() {
    for doc in TABLE.iter().map(|entry| entry.doc) {
        let has_chapter = of(CHAPTERS, doc.name).is_some();
        assert!(has_chapter || doc.name == "TASK.HELP", "{} links to no chapter: CHAPTERS", doc.name);
        for arg in flat(doc.args) {
            let is_key = matches!(arg.kind, ArgKind::Key(_));
            assert!(is_key || !arg.about.is_empty(), "{} does not describe {}", doc.name, arg.label());
        }
    }
}

/// The page with its generated parts replaced. `None` if the head of a table is missing.
fn generate(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(COMMANDS)?;
    let (_, rest) = rest.split_once("\n\n")?;
    let (between, _) = rest.split_once(SHARED_ERRORS)?;
    let commands = TABLE.iter().map(|entry| entry.doc);
    let rows: String = commands.clone().filter(|doc| !doc.name.starts_with(INTERNAL)).map(row).collect();
    let errors: String = shared_errors().into_iter().map(error_row).collect();
    let sections: String = commands.map(section).collect();
    Some(format!("{before}{COMMANDS}{rows}\n{between}{SHARED_ERRORS}{errors}{sections}"))
}

fn row(doc: &CommandDoc) -> String {
    format!("| {} | {}. |\n", link(doc.name), doc.summary)
}

/// The manual of the command with this name.
fn doc_of(name: &str) -> Option<&'static CommandDoc> {
    TABLE.iter().map(|entry| entry.doc).find(|doc| doc.name == name)
}

/// A link to the section of a command.
fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_ascii_lowercase().replace('.', ""))
}

/// What a table has for a command.
fn of<'t>(table: &[(&str, &'t str)], name: &str) -> Option<&'t str> {
    table.iter().find(|(command, _)| *command == name).map(|(_, value)| *value)
}

/// The errors with a shared name, in the order in which commands name them first.
fn shared_errors() -> Vec<&'static ErrorDoc> {
    let mut shared: Vec<&ErrorDoc> = Vec::new();
    for error in TABLE.iter().flat_map(|entry| entry.doc.errors).filter(|error| !error.shared_name.is_empty())
    {
        if shared.iter().all(|other| other.shared_name != error.shared_name) {
            shared.push(error);
        }
    }
    shared
}

fn error_row(error: &ErrorDoc) -> String {
    format!("| {} | `{}` | {}. |\n", error.shared_name, error.text, error.when)
}

fn section(doc: &CommandDoc) -> String {
    let CommandDoc { name, summary, details, complexity, reply, replicates, since, .. } = doc;
    let mut text = format!("\n## {name}\n\n```text\n{}\n```\n\n{summary}. {details}", doc.synopsis());
    text.truncate(text.trim_end().len());
    text += "\n\n";
    if let Some(chapters) = of(CHAPTERS, name) {
        text += &format!("**Explained in:** {chapters}.\n\n");
    }
    let others = SAME_OPTIONS.iter().filter(|(command, _)| command == name).map(|(_, other)| *other);
    let others: Vec<&CommandDoc> = others.filter_map(doc_of).collect();
    let arguments = arguments(doc.args, 0, &others);
    if !arguments.is_empty() {
        text += &format!("**Arguments**\n\n{arguments}\n");
    }
    let (acl, flags) = (words(doc.acl, "@"), words(doc.flags, ""));
    text += &format!(
        "**Reply:** {reply}.\n\n**Complexity:** {complexity}.\n\n**Replicated:** {replicates}.\n\n\
            **Since:** {since}. **ACL categories:** {acl}. **Flags:** {flags}.\n"
    );
    let (own, shared): (Vec<&ErrorDoc>, Vec<&ErrorDoc>) =
        doc.errors.iter().partition(|error| error.shared_name.is_empty());
    if !own.is_empty() {
        text += "\n**Errors**\n\n";
        own.iter().for_each(|error| text += &format!("- `{}`: {}.\n", error.text, error.when));
    }
    if !shared.is_empty() {
        let names: Vec<_> = shared.iter().map(|error| error.shared_name).collect();
        text += &format!("\n**[Shared errors](#shared-errors):** {}.\n", names.join(", "));
    }
    text
}

/// Words as code, each with this sign in front.
fn words(text: &str, sign: &str) -> String {
    text.split_whitespace().map(|word| format!("`{sign}{word}`")).collect::<Vec<_>>().join(", ")
}

/// A list of the arguments that have a description, with their parts below them. The last items name those that are
/// the same as for the `others`.
fn arguments(docs: &[ArgDoc], level: usize, others: &[&CommandDoc]) -> String {
    let indent = "  ".repeat(level);
    let is_same = |doc: &ArgDoc| others.iter().any(|other| has(other.args, doc));
    let described = flat(docs).into_iter().filter(|doc| !doc.about.is_empty());
    let (same, own): (Vec<&ArgDoc>, Vec<&ArgDoc>) = described.partition(|doc| is_same(doc));
    let mut list = String::new();
    for doc in own {
        list += &format!("{indent}- `{}`: {}.\n", doc.label(), doc.about);
        list += &arguments(doc.sub, level + 1, others);
    }
    for other in others {
        let theirs = same.iter().filter(|doc| has(other.args, doc));
        let labels: Vec<_> = theirs.map(|doc| format!("`{}`", doc.label())).collect();
        if !labels.is_empty() {
            list += &format!("{indent}- {}: as for {}.\n", labels.join(", "), link(other.name));
        }
    }
    list
}

/// The arguments, with the parts of those that have no description in their place.
fn flat(docs: &[ArgDoc]) -> Vec<&ArgDoc> {
    docs.iter()
        .flat_map(|doc| match doc {
            ArgDoc { about: "", sub: sub @ [_, ..], .. } => flat(sub),
            doc => vec![doc],
        })
        .collect()
}

/// Whether an argument with the same description is among these or their parts.
fn has(docs: &[ArgDoc], wanted: &ArgDoc) -> bool {
    let is_it = |doc: &ArgDoc| doc.about == wanted.about && doc.label() == wanted.label();
    docs.iter().any(|doc| is_it(doc) || has(doc.sub, wanted))
}
