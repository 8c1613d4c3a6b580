//! Notices that the server cut the end off its AOF while it loaded it. Redis can cut it in the wrong place, and the next
//! start is wrong then. No server tells modules or INFO that it did.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{env, fs};

use taskslot_api::server::file_setting;
use taskslot_api::{Context, Level};

/// A file of the AOF, on disk.
struct File {
    path: PathBuf,
    /// Its number in the file system: a file that was replaced has another one.
    inode: u64,
    bytes: u64,
}

thread_local! {
    /// The files before the server loads them.
    static BEFORE: RefCell<Vec<File>> = const { RefCell::new(Vec::new()) };
    /// One that has become shorter, until it is replaced.
    static CUT: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Called before the server loads its data.
pub fn on_load(ctx: Context<'_>) {
    BEFORE.set(files(ctx));
}

/// Called when the server has loaded its data. Nothing else makes a file of the AOF shorter meanwhile.
pub fn on_loaded(ctx: Context<'_>) {
    let before = BEFORE.take();
    let is_cut = |now: &File| before.iter().any(|old| old.path == now.path && old.bytes > now.bytes);
    if let Some(cut) = files(ctx).into_iter().find(is_cut) {
        ctx.log(Level::Warning, "the end of the AOF was cut off: BGREWRITEAOF makes it whole");
        CUT.set(Some(cut));
    }
}

/// Whether the server uses an AOF that it cut, and that was not rewritten since.
pub fn is_cut() -> bool {
    let is_there = |cut: &File| fs::metadata(&cut.path).is_ok_and(|now| now.ino() == cut.inode);
    CUT.with_borrow_mut(|cut| {
        *cut = cut.take().filter(is_there);
        cut.is_some()
    })
}

/// The files of the AOF: one, or from Redis 7.0 on, those in a folder.
fn files(ctx: Context<'_>) -> Vec<File> {
    let folder = file_setting(ctx, c"appenddirname").unwrap_or_default();
    let folder = env::current_dir().and_then(|here| fs::read_dir(here.join(folder)));
    let Some((name, entries)) = file_setting(ctx, c"appendfilename").zip(folder.ok()) else {
        return Vec::new();
    };
    let is_ours = |file: &OsStr| file.as_encoded_bytes().starts_with(name.as_encoded_bytes());
    let ours = entries.flatten().filter(|entry| is_ours(&entry.file_name()));
    ours.filter_map(|entry| {
        let data = entry.metadata().ok()?;
        Some(File { path: entry.path(), inode: data.ino(), bytes: data.len() })
    })
    .collect()
}
