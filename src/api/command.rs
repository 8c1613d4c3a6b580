//! Commands: what is told about them, and how they are run. How they are registered is in [`super::registration`].
//!
//! A command is a type with [`Command`]; its [`CommandDoc`] is plain data, from which COMMAND DOCS, HELP and the
//! manuals of people are made. There is one `extern "C"` function per command, made by the compiler from [`Command`]:
//! it checks the number of arguments and runs the command inside the guard.

use std::ffi::c_int;
use std::fmt::Display;

use super::context::Context;
use super::guard::{answering, guard};
use super::raw::{self, RedisModuleCtx, RedisModuleString, api};
use super::string::Arg;

/// A command of the module.
pub trait Command {
    /// What is told about it.
    const DOC: &'static CommandDoc;

    /// Why it did nothing; shown to the client as it is, so it begins with a code word.
    type Error: Display;

    /// Runs it. Either it replies, or it gives back an error, which becomes the reply. `args` begins with the command's
    /// own name; their number fits [`CommandDoc::arity`].
    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Self::Error>;
}

/// A command's manual: all that is told about it.
#[derive(Clone, Copy, Debug)]
pub struct CommandDoc {
    /// `TASK.PUSH`
    pub name: &'static str,
    /// One sentence, without a full stop.
    pub summary: &'static str,
    /// `O(1)`, `O(n) for n handles`
    pub complexity: &'static str,
    /// The module's version that brought it.
    pub since: &'static str,
    /// Arguments, the name among them; -n for at least n.
    pub arity: i32,
    /// Words of the server: `write deny-oom fast`. Words that this server doesn't know are left out.
    pub flags: &'static str,
    /// ACL categories: `write fast`. The module's own is added.
    pub acl: &'static str,
    /// Tips for clients, separated by blanks.
    pub tips: &'static str,
    /// Its keys: the first argument, and maybe more that are counted; empty if it has none.
    pub keys: &'static [KeySpec],
    /// The arguments, the command's name left out.
    pub args: &'static [ArgDoc],
    /// What it replies where nothing goes wrong.
    pub reply: &'static str,
    /// What goes to replicas and the AOF: `nothing`, or what it is and when.
    pub replicates: &'static str,
    /// The errors that it can reply, beside those of the server that any command may get.
    pub errors: &'static [ErrorDoc],
}

/// An error in a command's manual.
#[derive(Clone, Copy, Debug)]
pub struct ErrorDoc {
    /// Its text: a code word, then a phrase. `<word>` stands for what differs.
    pub text: &'static str,
    /// When it comes.
    pub when: &'static str,
}

impl ErrorDoc {
    /// An error and when it comes.
    pub const fn new(text: &'static str, when: &'static str) -> ErrorDoc {
        ErrorDoc { text, when }
    }
}

impl CommandDoc {
    /// A doc to be completed by `CommandDoc { name: …, ..CommandDoc::EMPTY }`: no key, any number of arguments.
    pub const EMPTY: CommandDoc = CommandDoc {
        name: "",
        summary: "",
        complexity: "",
        since: "",
        arity: -1,
        flags: "",
        acl: "",
        tips: "",
        keys: &[],
        args: &[],
        reply: "",
        replicates: "",
        errors: &[],
    };

    /// Whether the manual says all that it must; asked by the compiler.
    const fn check(&self) {
        assert!(!self.name.is_empty(), "a command's doc lacks its name");
        assert!(!self.summary.is_empty(), "a command's doc lacks its summary");
        assert!(!self.complexity.is_empty(), "a command's doc lacks its complexity");
        assert!(!self.since.is_empty(), "a command's doc lacks the version that brought it");
        assert!(!self.reply.is_empty(), "a command's doc lacks what it replies");
        assert!(!self.replicates.is_empty(), "a command's doc lacks what it replicates");
        assert!(!self.flags.is_empty() && !self.acl.is_empty(), "a command's doc lacks its flags");
        assert!(self.args.is_empty() || !self.errors.is_empty(), "a command's doc lacks its errors");
    }

    /// Whether first, last and step don't tell all keys.
    pub(super) const fn has_counted_keys(&self) -> bool {
        let mut left = self.keys;
        while let [spec, rest @ ..] = left {
            if spec.counted {
                return true;
            }
            left = rest;
        }
        false
    }

    /// One line for people: `TASK.PUSH key payload [DELAY ms | AT unix-ms]`.
    pub fn synopsis(&self) -> String {
        let mut line = String::from(self.name);
        for arg in self.args {
            line.push(' ');
            arg.render(&mut line);
        }
        line
    }
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Any bytes.
    Text,
    /// A whole number.
    Integer,
    /// A key's name; the key spec of this index finds it.
    Key(u8),
    /// An instant.
    UnixTime,
    /// A word alone.
    Word,
    /// One of several.
    OneOf,
    /// Several after each other.
    Block,
}

/// What is told about an argument; made by the functions below, as in
/// `ArgDoc::one_of("when", &[ArgDoc::integer("ms").after("DELAY"), …]).optional()`.
#[derive(Clone, Copy, Debug)]
pub struct ArgDoc {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word that stands before it, or that it is.
    pub token: Option<&'static str>,
    /// May be absent.
    pub optional: bool,
    /// May come several times.
    pub multiple: bool,
    /// What a choice or a block is made of.
    pub sub: &'static [ArgDoc],
}

impl ArgDoc {
    const fn new(name: &'static str, kind: ArgKind) -> ArgDoc {
        ArgDoc { name, kind, token: None, optional: false, multiple: false, sub: &[] }
    }

    /// Any bytes.
    pub const fn text(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Text)
    }

    /// A whole number.
    pub const fn integer(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Integer)
    }

    /// An instant.
    pub const fn unix_time(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::UnixTime)
    }

    /// A key's name, found by the key spec of this index.
    pub const fn key(name: &'static str, spec: u8) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Key(spec))
    }

    /// A word alone, e.g. `BACK`.
    pub const fn word(name: &'static str, word: &'static str) -> ArgDoc {
        ArgDoc { token: Some(word), ..ArgDoc::new(name, ArgKind::Word) }
    }

    /// One of several.
    pub const fn one_of(name: &'static str, sub: &'static [ArgDoc]) -> ArgDoc {
        ArgDoc { sub, ..ArgDoc::new(name, ArgKind::OneOf) }
    }

    /// Several after each other.
    pub const fn block(name: &'static str, sub: &'static [ArgDoc]) -> ArgDoc {
        ArgDoc { sub, ..ArgDoc::new(name, ArgKind::Block) }
    }

    /// With this word before it: `DELAY ms`.
    pub const fn after(self, word: &'static str) -> ArgDoc {
        ArgDoc { token: Some(word), ..self }
    }

    /// May be absent.
    pub const fn optional(self) -> ArgDoc {
        ArgDoc { optional: true, ..self }
    }

    /// May come several times.
    pub const fn multiple(self) -> ArgDoc {
        ArgDoc { multiple: true, ..self }
    }

    /// Writes `[DELAY ms | AT unix-ms]` and the like.
    fn render(&self, out: &mut String) {
        if self.optional {
            out.push('[');
        }
        if let Some(token) = self.token {
            out.push_str(token);
            if self.kind != ArgKind::Word {
                out.push(' ');
            }
        }
        // A choice alone in its brackets needs no marks of its own.
        let choice = self.kind == ArgKind::OneOf;
        let marked = choice && (!self.optional || self.token.is_some() || self.multiple);
        if marked {
            out.push('<');
        }
        match self.kind {
            ArgKind::Word => {}
            ArgKind::OneOf | ArgKind::Block => {
                for (index, sub) in self.sub.iter().enumerate() {
                    if index > 0 {
                        out.push_str(if choice { " | " } else { " " });
                    }
                    sub.render(out);
                }
            }
            _ => out.push_str(self.name),
        }
        if marked {
            out.push('>');
        }
        if self.multiple {
            out.push_str(" ...");
        }
        if self.optional {
            out.push(']');
        }
    }
}

/// What a command does with a key (bits of `REDISMODULE_CMD_KEY_*`).
pub mod key_flags {
    use super::raw;

    /// Reads it only.
    pub const RO: u64 = raw::REDISMODULE_CMD_KEY_RO as u64;
    /// Reads and writes it.
    pub const RW: u64 = raw::REDISMODULE_CMD_KEY_RW as u64;
    /// Gives data of it to the client.
    pub const ACCESS: u64 = raw::REDISMODULE_CMD_KEY_ACCESS as u64;
    /// Changes data that is there.
    pub const UPDATE: u64 = raw::REDISMODULE_CMD_KEY_UPDATE as u64;
    /// Adds data, changes none.
    pub const INSERT: u64 = raw::REDISMODULE_CMD_KEY_INSERT as u64;
    /// Removes data.
    pub const DELETE: u64 = raw::REDISMODULE_CMD_KEY_DELETE as u64;
}

/// Where keys stand. Servers check permissions and slots of the keys that they find, so what a command takes for a key
/// must be what they take for one: all places are fixed, and numbers of keys read as strictly as by servers.
///
/// Permissions are checked by the specs (from 7.0 on); where a spec of a command doesn't fit, by no spec of it. Slots
/// are checked by first, last and step alone. Both take our word instead where keys are counted: [`tell_keys`].
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What is done with them: [`key_flags`].
    pub(super) flags: u64,
    /// The argument that it begins at; the command's name is 0.
    pub(super) begin: u16,
    /// The number of keys stands there, and they follow it; else it is the one key.
    pub(super) counted: bool,
}

impl KeySpec {
    /// The first argument, with which the command does this.
    pub const fn first(flags: u64) -> KeySpec {
        KeySpec { flags, begin: 1, counted: false }
    }

    /// As many keys as the argument at `begin` says, after it. The command's arity must count that argument: servers look
    /// at it before they look whether it is there.
    pub const fn counted(flags: u64, begin: u16) -> KeySpec {
        KeySpec { flags, begin, counted: true }
    }

    /// The places of its keys in a command. A number that isn't one is refused by the command and counts for nothing.
    fn places(&self, args: &[Arg<'_>]) -> std::ops::Range<usize> {
        let begin = usize::from(self.begin);
        if !self.counted {
            return begin..(begin + 1).min(args.len());
        }
        let number =
            args.get(begin).and_then(|number| std::str::from_utf8(number.as_bytes()).ok()?.parse().ok());
        begin + 1..number.unwrap_or(0usize).saturating_add(begin + 1).min(args.len())
    }
}

/// A command in the module's table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// What is told about it.
    pub doc: &'static CommandDoc,
    pub(super) run: raw::RedisModuleCmdFunc,
}

impl Entry {
    /// The entry of a command.
    pub const fn of<C: Command>() -> Entry {
        const { C::DOC.check() }
        Entry { doc: C::DOC, run: Some(run::<C>) }
    }
}

unsafe extern "C" fn run<C: Command>(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server gives a context that lives through this call, on its main thread.
    let Some(ctx) = (unsafe { Context::new(ctx) }) else { return raw::ERR };
    // SAFETY: so do the arguments, which the server leaves as they are until we return.
    let args = unsafe { Arg::slice(argv, argc) };
    // SAFETY: the context is this call's.
    if C::DOC.has_counted_keys() && unsafe { api!(RedisModule_IsKeysPositionRequest)(ctx.raw()) } != 0 {
        guard(C::DOC.name, (), || tell_keys(ctx, C::DOC, args));
        return raw::OK;
    }
    answering(C::DOC.name, ctx, || {
        let fits = if C::DOC.arity < 0 { argc >= -C::DOC.arity } else { argc == C::DOC.arity };
        if !fits {
            ctx.reply().wrong_arity();
        } else if let Err(error) = C::run(ctx, args) {
            ctx.reply().error(&error.to_string());
        }
    });
    raw::OK
}

/// Tells the server where the keys are. It asks without a client, so there is nobody to reply to.
fn tell_keys(ctx: Context<'_>, doc: &CommandDoc, args: &[Arg<'_>]) {
    for place in doc.keys.iter().flat_map(|spec| spec.places(args)) {
        if let Ok(place) = c_int::try_from(place) {
            // SAFETY: the server asks where the keys are, so its context takes places; ours are within the arguments.
            unsafe { api!(RedisModule_KeyAtPos)(ctx.raw(), place) };
        }
    }
}
