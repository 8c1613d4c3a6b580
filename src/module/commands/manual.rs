//! Writes the manual for users, `docs/commands.md`, from the manuals of all commands.
//!
//! The test here fails if the file differs from what the code says; `BLESS=1 cargo test -p taskslot` rewrites it. The page
//! has three parts that are generated: the table of all commands, the table of shared errors, and a section per command.
//! The text before and between them is written by hand and stays.

use std::{env, fs, io};

use super::TABLE;
use taskslot_api::command::{ArgDoc, CommandDoc, ErrorDoc};

/// The page, seen from the folder of this crate.
const PAGE: &str = "../../docs/commands.md";
/// The heads of the two tables. A table ends with an empty line.
const COMMANDS: &str = "| command | what it does | reply |\n|---|---|---|\n";
const SHARED_ERRORS: &str = "| name | error | when |\n|---|---|---|\n";
/// The prefix of the commands that only servers send. The table of commands leaves them out.
const INTERNAL: &str = "TASK._";

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
    let anchor = doc.name.to_ascii_lowercase().replace('.', "");
    format!("| [{}](#{anchor}) | {}. | {}. |\n", doc.name, doc.summary, doc.reply)
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
    let CommandDoc { name, summary, details, complexity, reply, replicates, .. } = doc;
    let mut text = format!("\n## {name}\n\n```text\n{}\n```\n\n{summary}. {details}", doc.synopsis());
    text.truncate(text.trim_end().len());
    text += "\n\n";
    let arguments = arguments(doc.args, 0);
    if !arguments.is_empty() {
        text += &format!("**Arguments**\n\n{arguments}\n");
    }
    text +=
        &format!("**Reply:** {reply}.\n\n**Complexity:** {complexity}.\n\n**Replicated:** {replicates}.\n");
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

/// A list of the arguments that have a description, with their parts below them.
fn arguments(docs: &[ArgDoc], level: usize) -> String {
    let mut list = String::new();
    for doc in docs {
        let is_described = !doc.about.is_empty();
        if is_described {
            list += &format!("{}- `{}`: {}.\n", "  ".repeat(level), doc.label(), doc.about);
        }
        list += &arguments(doc.sub, level + usize::from(is_described));
    }
    list
}
