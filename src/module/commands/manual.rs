//! The manual for people, made of the docs of all commands: `docs/commands.md`, and the table in the README. A test holds
//! both against the code; `BLESS=1 cargo test -p taskslot` writes them.

use std::{env, fs, io};

use super::TABLE;
use taskslot_api::command::CommandDoc;

/// The heading of the README's table.
const HEADING: &str = "| command | what it does | replies |\n|---|---|---|\n";
/// Commands of servers among themselves, which HELP and the README leave out.
const INTERNAL: &str = "TASK._";

#[test]
fn the_manual_says_what_the_docs_of_the_commands_say() -> io::Result<()> {
    let manual = TABLE.iter().map(|entry| section(entry.doc)).collect::<String>();
    // What stands above the first command is written by hand.
    holds("docs/commands.md", |text| Some(text.split_once("\n## ")?.0.to_owned() + &manual))
}

#[test]
fn the_readme_has_a_row_for_each_command() -> io::Result<()> {
    let shown = TABLE.iter().map(|entry| entry.doc).filter(|doc| !doc.name.starts_with(INTERNAL));
    let rows = shown.map(row).collect::<String>();
    holds("README.md", |text| {
        let (before, table) = text.split_once(HEADING)?;
        let (_, after) = table.split_once("\n\n")?;
        Some(format!("{before}{HEADING}{rows}\n{after}"))
    })
}

/// Whether a file is as `make` makes it of itself; writes it if it isn't and BLESS is set.
fn holds(name: &str, make: impl Fn(&str) -> Option<String>) -> io::Result<()> {
    let path = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    let is = fs::read_to_string(&path)?;
    let made = make(&is).ok_or_else(|| io::Error::other(format!("{name} lacks the place for commands")))?;
    if env::var_os("BLESS").is_some() {
        return fs::write(path, made);
    }
    assert!(is == made, "{name} isn't what the commands' docs say: BLESS=1 cargo test -p taskslot writes it");
    Ok(())
}

fn row(doc: &CommandDoc) -> String {
    format!("| `{}` | {}. | {} |\n", doc.synopsis().replace('|', "\\|"), doc.summary, doc.reply)
}

fn section(doc: &CommandDoc) -> String {
    let CommandDoc { name, summary, complexity, reply, replicates, .. } = doc;
    let mut text = format!("\n## {name}\n\n```\n{}\n```\n\n{summary}. {complexity}.\n\n", doc.synopsis());
    text += &format!("- **Replies** {reply}.\n- **Replicates** {replicates}.\n");
    if !doc.errors.is_empty() {
        text += "- **Errors**\n";
    }
    doc.errors.iter().for_each(|error| text += &format!("  - `{}`: {}.\n", error.text, error.when));
    text
}
