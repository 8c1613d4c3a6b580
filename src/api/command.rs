//! Commands: their manuals, and how they are run. [`super::registration`] registers them with the server.
//!
//! A command is a type that implements [`Command`]. Its [`CommandDoc`] is plain data, from which COMMAND DOCS, HELP and
//! the manual for users are generated. The compiler makes one `extern "C"` function per command: it checks the number
//! of arguments and runs the command inside the guard.

use std::ffi::c_int;
use std::fmt::Display;

use super::context::Context;
use super::guard::{answering, guard};
use super::raw::{self, RedisModuleCtx, RedisModuleString, api};
use super::string::Arg;

/// A command of the module.
pub trait Command {
    /// The command's manual.
    const DOC: &'static CommandDoc;

    /// Why the command was refused. Its text is the reply, so it begins with a code word.
    type Error: Display;

    /// Runs the command. It either replies itself, or returns an error, which becomes the reply. `args` begins with the
    /// command's name; the number of arguments fits [`CommandDoc::arity`].
    fn run<'a>(ctx: Context<'a>, args: &'a [Arg<'a>]) -> Result<(), Self::Error>;
}

/// A command's manual.
///
/// Texts begin with a capital letter. They are one sentence or several, and have no full stop at the end.
#[derive(Clone, Copy, Debug)]
pub struct CommandDoc {
    /// The name as users read it: `TASK.PUSH`.
    pub name: &'static str,
    /// What the command does, in a sentence or two. HELP and COMMAND DOCS show it.
    pub summary: &'static str,
    /// More about the effect, for the manual only; may be empty.
    pub details: &'static str,
    /// The time that the command takes: `O(1)`, `O(n) for n handles`.
    pub complexity: &'static str,
    /// The version of the module that introduced the command.
    pub since: &'static str,
    /// The number of arguments, including the command's name; -n means at least n.
    pub arity: i32,
    /// The server's command flags: `write deny-oom fast`. Flags that this server doesn't know are left out.
    pub flags: &'static str,
    /// ACL categories: `write fast`. The module's own category is added.
    pub acl: &'static str,
    /// Tips for clients, separated by blanks.
    pub tips: &'static str,
    /// The keys: the first argument, and possibly more that are counted; empty if the command has none.
    pub keys: &'static [KeySpec],
    /// The arguments, without the command's name.
    pub args: &'static [ArgDoc],
    /// The reply when the command succeeds.
    pub reply: &'static str,
    /// What is sent to replicas and the AOF, and when; `Nothing` for a command that only reads.
    pub replicates: &'static str,
    /// The errors that the command can reply, except those of the server that any command can reply.
    pub errors: &'static [ErrorDoc],
}

/// An error in a command's manual.
#[derive(Clone, Copy, Debug)]
pub struct ErrorDoc {
    /// A short name, by which the manual refers to an error that most commands share; empty for the others.
    pub shared_name: &'static str,
    /// The reply: a code word, then a phrase. `<word>` stands for what differs.
    pub text: &'static str,
    /// When the error is replied: a sentence without a full stop.
    pub when: &'static str,
}

impl ErrorDoc {
    /// An error that few commands reply.
    pub const fn new(text: &'static str, when: &'static str) -> ErrorDoc {
        ErrorDoc { shared_name: "", text, when }
    }

    /// An error that most commands reply.
    pub const fn shared(shared_name: &'static str, text: &'static str, when: &'static str) -> ErrorDoc {
        ErrorDoc { shared_name, text, when }
    }
}

impl CommandDoc {
    /// The base of every manual, as in `CommandDoc { name: …, ..CommandDoc::EMPTY }`: no key, any number of arguments.
    pub const EMPTY: CommandDoc = CommandDoc {
        name: "",
        summary: "",
        details: "",
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

    /// Checks, while compiling, that no required part of the manual is missing.
    const fn check(&self) {
        assert!(!self.name.is_empty(), "a command's manual has no name");
        assert!(!self.summary.is_empty(), "a command's manual has no summary");
        assert!(!self.complexity.is_empty(), "a command's manual has no complexity");
        assert!(!self.since.is_empty(), "a command's manual has no version");
        assert!(!self.reply.is_empty(), "a command's manual has no reply");
        assert!(!self.replicates.is_empty(), "a command's manual does not say what is replicated");
        assert!(!self.flags.is_empty() && !self.acl.is_empty(), "a command's manual has no flags");
        assert!(self.args.is_empty() || !self.errors.is_empty(), "a command's manual has no errors");
    }

    /// Whether the command has keys that the old triple of first, last and step cannot describe.
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

    /// How the command is written, in one line: `TASK.PUSH key payload [DELAY ms | AT unix-ms]`.
    pub fn synopsis(&self) -> String {
        let mut line = String::from(self.name);
        for arg in self.args {
            line.push(' ');
            arg.render(&mut line, |_| true);
        }
        line
    }
}

/// The kind of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Any bytes.
    Text,
    /// A whole number.
    Integer,
    /// The name of a key. The key spec with this index finds it.
    Key(u8),
    /// A Unix time.
    UnixTime,
    /// A word on its own, such as `BACK`.
    Word,
    /// One of several alternatives.
    OneOf,
    /// Several arguments in a row.
    Block,
}

/// The manual of an argument; made by the functions below, as in
/// `ArgDoc::one_of("when", &[ArgDoc::integer("ms").after("DELAY"), …]).optional()`.
#[derive(Clone, Copy, Debug)]
pub struct ArgDoc {
    /// The name of the value, in lower case.
    pub name: &'static str,
    /// What kind of argument it is.
    pub kind: ArgKind,
    /// The word in front of it. For [`ArgKind::Word`], the argument itself.
    pub token: Option<&'static str>,
    /// Whether it can be left out.
    pub optional: bool,
    /// Whether it can be repeated.
    pub multiple: bool,
    /// The alternatives of [`ArgKind::OneOf`], or the parts of [`ArgKind::Block`].
    pub sub: &'static [ArgDoc],
    /// What it does, with its bounds and its default: sentences without the last full stop; may be empty.
    pub about: &'static str,
}

impl ArgDoc {
    const fn new(name: &'static str, kind: ArgKind) -> ArgDoc {
        ArgDoc { name, kind, token: None, optional: false, multiple: false, sub: &[], about: "" }
    }

    /// An argument of any bytes.
    pub const fn text(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Text)
    }

    /// A whole number.
    pub const fn integer(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Integer)
    }

    /// A Unix time.
    pub const fn unix_time(name: &'static str) -> ArgDoc {
        ArgDoc::new(name, ArgKind::UnixTime)
    }

    /// The name of a key, which the key spec with this index finds.
    pub const fn key(name: &'static str, spec: u8) -> ArgDoc {
        ArgDoc::new(name, ArgKind::Key(spec))
    }

    /// A word on its own, such as `BACK`.
    pub const fn word(name: &'static str, word: &'static str) -> ArgDoc {
        ArgDoc { token: Some(word), ..ArgDoc::new(name, ArgKind::Word) }
    }

    /// One of several alternatives.
    pub const fn one_of(name: &'static str, sub: &'static [ArgDoc]) -> ArgDoc {
        ArgDoc { sub, ..ArgDoc::new(name, ArgKind::OneOf) }
    }

    /// Several arguments in a row.
    pub const fn block(name: &'static str, sub: &'static [ArgDoc]) -> ArgDoc {
        ArgDoc { sub, ..ArgDoc::new(name, ArgKind::Block) }
    }

    /// The argument with this word in front: `DELAY ms`.
    pub const fn after(self, word: &'static str) -> ArgDoc {
        ArgDoc { token: Some(word), ..self }
    }

    /// The argument, but it can be left out.
    pub const fn optional(self) -> ArgDoc {
        ArgDoc { optional: true, ..self }
    }

    /// The argument, but it can be repeated.
    pub const fn multiple(self) -> ArgDoc {
        ArgDoc { multiple: true, ..self }
    }

    /// The argument with a description.
    pub const fn about(self, about: &'static str) -> ArgDoc {
        ArgDoc { about, ..self }
    }

    /// How a list of arguments shows this one: without brackets, and without the parts that the list describes on
    /// their own.
    pub fn label(&self) -> String {
        let mut label = String::new();
        ArgDoc { optional: false, ..*self }.render(&mut label, |part| !part.is_described());
        label
    }

    /// Whether the argument, or a part of it, has a description.
    fn is_described(&self) -> bool {
        !self.about.is_empty() || self.sub.iter().any(ArgDoc::is_described)
    }

    /// Writes `[DELAY ms | AT unix-ms]` and the like. Parts for which `is_shown` is false are left out.
    fn render(&self, out: &mut String, is_shown: fn(&ArgDoc) -> bool) {
        if self.optional {
            out.push('[');
        }
        // Alternatives that fill the square brackets need no brackets of their own.
        let choice = self.kind == ArgKind::OneOf && self.sub.iter().any(is_shown);
        if let Some(token) = self.token {
            out.push_str(token);
            if self.kind != ArgKind::Word && (self.kind != ArgKind::OneOf || choice) {
                out.push(' ');
            }
        }
        let marked = choice && (!self.optional || self.token.is_some() || self.multiple);
        if marked {
            out.push('<');
        }
        match self.kind {
            ArgKind::Word => {}
            ArgKind::OneOf | ArgKind::Block => {
                for (index, sub) in self.sub.iter().filter(|sub| is_shown(sub)).enumerate() {
                    if index > 0 {
                        out.push_str(if choice { " | " } else { " " });
                    }
                    sub.render(out, is_shown);
                }
            }
            _ => out.push_str(self.name),
        }
        // A word without visible parts.
        out.truncate(out.trim_end().len());
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

    /// Reads the key only.
    pub const RO: u64 = raw::REDISMODULE_CMD_KEY_RO as u64;
    /// Reads and writes the key.
    pub const RW: u64 = raw::REDISMODULE_CMD_KEY_RW as u64;
    /// Returns data of the key to the client.
    pub const ACCESS: u64 = raw::REDISMODULE_CMD_KEY_ACCESS as u64;
    /// Changes existing data.
    pub const UPDATE: u64 = raw::REDISMODULE_CMD_KEY_UPDATE as u64;
    /// Adds data, without changing any.
    pub const INSERT: u64 = raw::REDISMODULE_CMD_KEY_INSERT as u64;
    /// Removes data.
    pub const DELETE: u64 = raw::REDISMODULE_CMD_KEY_DELETE as u64;
}

/// Where keys are among the arguments.
///
/// Servers check permissions and slots of the keys that they find. So a command must use exactly those arguments as
/// keys: all positions are fixed, and a number of keys is parsed as strictly as servers do.
///
/// Servers check permissions by the specs (from 7.0 on). If one spec of a command doesn't fit the arguments, they use
/// none of its specs. They check slots by first, last and step alone. For commands with counted keys they ask the
/// module instead: `report_keys`.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What the command does with the keys: [`key_flags`].
    pub(super) flags: u64,
    /// The index of the first argument that the spec covers; the command's name is 0.
    pub(super) begin: u16,
    /// Whether that argument is the number of keys, which follow it. Otherwise it is the only key.
    pub(super) counted: bool,
}

impl KeySpec {
    /// The first argument is the key.
    pub const fn first(flags: u64) -> KeySpec {
        KeySpec { flags, begin: 1, counted: false }
    }

    /// The argument at `begin` is the number of keys, which follow it. The command's arity must include that argument:
    /// servers read it without checking that it exists.
    pub const fn counted(flags: u64, begin: u16) -> KeySpec {
        KeySpec { flags, begin, counted: true }
    }

    /// The indexes of the keys in a command. A number of keys that can't be parsed counts as 0; the command refuses it.
    fn positions(&self, args: &[Arg<'_>]) -> std::ops::Range<usize> {
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
    /// The command's manual.
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
    // SAFETY: the arguments live as long, and the server doesn't change them until we return.
    let args = unsafe { Arg::slice(argv, argc) };
    // SAFETY: the context is this call's.
    if C::DOC.has_counted_keys() && unsafe { api!(RedisModule_IsKeysPositionRequest)(ctx.raw()) } != 0 {
        guard(C::DOC.name, (), || report_keys(ctx, C::DOC, args));
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

/// Reports to the server which arguments are keys. The server asks without a client, so there is no reply.
fn report_keys(ctx: Context<'_>, doc: &CommandDoc, args: &[Arg<'_>]) {
    for position in doc.keys.iter().flat_map(|spec| spec.positions(args)) {
        if let Ok(position) = c_int::try_from(position) {
            // SAFETY: the server asks for the keys, so its context takes positions. These are within the arguments.
            unsafe { api!(RedisModule_KeyAtPos)(ctx.raw(), position) };
        }
    }
}
