//! Registers commands with the server: their flags, their keys, their manuals for COMMAND DOCS, and their ACL categories.

use std::ffi::{CString, c_char, c_int};
use std::fmt::Write;
use std::ptr;
use std::sync::OnceLock;

use super::command::{ArgDoc, ArgKind, CommandDoc, Entry, KeySpec};
use super::context::Context;
use super::load::{LoadError, Server, server};
use super::raw::{
    self, RedisModuleCommand, RedisModuleCommandArg, RedisModuleCommandHistoryEntry, RedisModuleCommandInfo,
    RedisModuleCommandInfoVersion, RedisModuleCommandKeySpec, api, optional,
};

/// The commands that were registered.
static REGISTERED: OnceLock<&'static [Entry]> = OnceLock::new();

/// Registers all commands of the table, with the ACL category `category` from Redis 7.4 on. Only while the module is loaded.
pub fn register(ctx: Context<'_>, table: &'static [Entry], category: &str) -> Result<(), LoadError> {
    let own = CString::new(category).map_err(|_| "a NUL in the name of the ACL category")?;
    // SAFETY: OnLoad's context knows the module, and the server copies the name.
    let own_category = optional!(RedisModule_AddACLCategory)
        .is_some_and(|add| unsafe { add(ctx.raw(), own.as_ptr()) } == raw::OK);
    for entry in table {
        register_one(ctx, entry, own_category.then_some(category))
            .map_err(|LoadError(why)| LoadError(format!("command {}: {why}", entry.doc.name)))?;
    }
    REGISTERED.get_or_init(|| table);
    Ok(())
}

/// The registered commands, in the order of their table.
pub fn registered() -> impl Iterator<Item = &'static Entry> {
    REGISTERED.get().into_iter().copied().flatten()
}

fn register_one(ctx: Context<'_>, entry: &Entry, category: Option<&str>) -> Result<(), LoadError> {
    let doc = entry.doc;
    let mut arena = Arena::default();
    let name = arena.text(doc.name)?;
    let flags = arena.text(&known_flags(doc, server()))?;
    let (first, last, step) = legacy_keys(doc);
    // SAFETY: OnLoad's context knows the module; the server copies both texts, which `arena` keeps until then. The function
    // has the signature of a command, and stays in memory with the module.
    let status =
        unsafe { api!(RedisModule_CreateCommand)(ctx.raw(), name, entry.run, flags, first, last, step) };
    if status != raw::OK {
        return Err("the server refused the name or the flags".into());
    }
    let Some(get_command) = optional!(RedisModule_GetCommand) else { return Ok(()) };
    // SAFETY: OnLoad's context knows the module; the server reads the name, which `arena` keeps.
    let command = unsafe { get_command(ctx.raw(), name) };
    if command.is_null() {
        return Err("the server doesn't find the command after it was created".into());
    }
    // SAFETY: the server answered with a command of the module's, and keeps it.
    unsafe {
        describe(command, doc)?;
        set_categories(command, doc, category)
    }
}

/// Sets what COMMAND DOCS, COMMAND INFO and access control by keys use, from 7.0 on.
///
/// # Safety
/// The command is one of the module's, while it is loaded.
unsafe fn describe(command: *mut RedisModuleCommand, doc: &CommandDoc) -> Result<(), LoadError> {
    let Some(set_info) = optional!(RedisModule_SetCommandInfo) else { return Ok(()) };
    let mut arena = Arena::default();
    let mut specs = key_specs(doc.keys);
    let info = RedisModuleCommandInfo {
        version: &raw const INFO_VERSION,
        summary: arena.text_or_null(doc.summary)?,
        complexity: arena.text_or_null(doc.complexity)?,
        since: arena.text_or_null(doc.since)?,
        history: ptr::null_mut(),
        tips: arena.text_or_null(doc.tips)?,
        arity: doc.arity,
        key_specs: specs.as_mut_ptr(),
        args: arena.args(doc.args)?,
    };
    // SAFETY: the caller guarantees the command; the server copies all of `info`, whose texts and lists `arena` and `specs`
    // keep until then, and whose lists end with a zeroed element.
    match unsafe { set_info(command, &info) } {
        raw::OK => Ok(()),
        _ => Err("the server refused the description".into()),
    }
}

/// Sets the ACL categories of the command, from 7.2 on.
///
/// # Safety
/// The command is one of the module's, while it is loaded.
unsafe fn set_categories(
    command: *mut RedisModuleCommand,
    doc: &CommandDoc,
    own: Option<&str>,
) -> Result<(), LoadError> {
    let Some(set) = optional!(RedisModule_SetCommandACLCategories) else { return Ok(()) };
    let mut arena = Arena::default();
    let categories = arena.text(format!("{} {}", doc.acl, own.unwrap_or_default()).trim())?;
    // SAFETY: the caller guarantees the command; the server reads the text during the call, and `arena` keeps it.
    match unsafe { set(command, categories) } {
        raw::OK => Ok(()),
        _ => Err("the server refused the ACL categories".into()),
    }
}

/// The flags of `doc.flags` that this server knows. With an unknown flag the load would fail.
fn known_flags(doc: &CommandDoc, server: Server) -> String {
    let mut known = String::new();
    for word in doc.flags.split_whitespace() {
        let fits = match word {
            "blocking" => server.at_least(7, 0),
            // The reply depends on the clock. So a script that is replicated as a script must not write after it.
            "random" => !server.at_least(7, 0),
            _ => true,
        };
        if fits {
            let _ = write!(known, "{word} ");
        }
    }
    if doc.has_counted_keys() {
        known.push_str("getkeys-api");
    }
    known.trim_end().to_owned()
}

/// First, last and step of the keys, for servers and clients without key specs. They don't cover counted keys.
fn legacy_keys(doc: &CommandDoc) -> (c_int, c_int, c_int) {
    if doc.keys.is_empty() { (0, 0, 0) } else { (1, 1, 1) }
}

/// The specs as a list for the server, which ends with a zeroed element.
fn key_specs(specs: &[KeySpec]) -> Vec<RedisModuleCommandKeySpec> {
    let mut list: Vec<RedisModuleCommandKeySpec> = Vec::with_capacity(specs.len() + 1);
    for spec in specs {
        let mut entry = NO_KEY_SPEC;
        entry.flags = spec.flags;
        entry.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        entry.bs.index.pos = c_int::from(spec.begin);
        if spec.counted {
            // The number is where the search begins; the first key follows, then each after the one before.
            entry.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM;
            entry.fk.keynum.firstkey = 1;
            entry.fk.keynum.keystep = 1;
        } else {
            // The last key is the first.
            entry.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
            entry.fk.range.keystep = 1;
        }
        list.push(entry);
    }
    list.push(NO_KEY_SPEC);
    list
}

/// Owns the C strings and lists that a description points to. When the outer vectors grow, the strings and lists themselves stay
/// where they are.
#[derive(Default)]
struct Arena {
    texts: Vec<CString>,
    lists: Vec<Vec<RedisModuleCommandArg>>,
}

impl Arena {
    fn text(&mut self, text: &str) -> Result<*const c_char, LoadError> {
        let text = CString::new(text).map_err(|_| "a NUL in a text")?;
        let pointer = text.as_ptr();
        self.texts.push(text);
        Ok(pointer)
    }

    fn text_or_null(&mut self, text: &str) -> Result<*const c_char, LoadError> {
        if text.is_empty() { Ok(ptr::null()) } else { self.text(text) }
    }

    /// The arguments as a list for the server, which ends with a zeroed element. Null if there are no arguments.
    fn args(&mut self, docs: &[ArgDoc]) -> Result<*mut RedisModuleCommandArg, LoadError> {
        const OPTIONAL: c_int = raw::REDISMODULE_CMD_ARG_OPTIONAL as c_int;
        const MULTIPLE: c_int = raw::REDISMODULE_CMD_ARG_MULTIPLE as c_int;
        if docs.is_empty() {
            return Ok(ptr::null_mut());
        }
        let mut list = Vec::with_capacity(docs.len() + 1);
        for doc in docs {
            let key_spec_index = if let ArgKind::Key(spec) = doc.kind { c_int::from(spec) } else { -1 };
            let optional = if doc.optional { OPTIONAL } else { 0 };
            let multiple = if doc.multiple { MULTIPLE } else { 0 };
            list.push(RedisModuleCommandArg {
                name: self.text(doc.name)?,
                type_: arg_type(doc.kind),
                key_spec_index,
                token: self.text_or_null(doc.token.unwrap_or_default())?,
                flags: optional | multiple,
                summary: self.text_or_null(doc.about)?,
                subargs: self.args(doc.sub)?,
                ..NO_ARG
            });
        }
        list.push(NO_ARG);
        let pointer = list.as_mut_ptr();
        self.lists.push(list);
        Ok(pointer)
    }
}

/// The server's constant for the kind of an argument.
fn arg_type(kind: ArgKind) -> raw::RedisModuleCommandArgType {
    match kind {
        ArgKind::Text => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        ArgKind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        ArgKind::Key(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        ArgKind::UnixTime => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME,
        ArgKind::Word => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        ArgKind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        ArgKind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
    }
}

/// The sizes of the parts of a description, by which the server reads them. (The header's own constant is not visible to Rust.)
static INFO_VERSION: RedisModuleCommandInfoVersion = RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: size_of::<RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: size_of::<RedisModuleCommandKeySpec>(),
    sizeof_arg: size_of::<RedisModuleCommandArg>(),
};

/// Ends a list of key specs.
// SAFETY: numbers, null pointers and unions of numbers and pointers: all bytes may be zero.
const NO_KEY_SPEC: RedisModuleCommandKeySpec = unsafe { std::mem::zeroed() };

/// Ends a list of arguments.
// SAFETY: numbers and null pointers: all bytes may be zero.
const NO_ARG: RedisModuleCommandArg = unsafe { std::mem::zeroed() };
