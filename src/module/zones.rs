//! The time zones of this node: those of the system if they are a newer release of the time zone database, otherwise those
//! that are built in.
//!
//! Distributions update `tzdata` long after a module was built. The releases are compared once, when the module is loaded.
//! The file of a zone is read when a schedule first uses it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use taskslot_engine::{Zone, Zones};
use taskslot_node::release_of_zones;

use taskslot_api::guard::guard;
use taskslot_api::{Level, log};

/// The folder of the zones, with the same rule as glibc: the variable of the environment, otherwise this folder.
const FOLDER_VARIABLE: &str = "TZDIR";
const FOLDER: &str = "/usr/share/zoneinfo";
/// Files whose first line names the release of a folder, as `# version 2026f` or `2026f`.
const VERSION_FILES: [&str; 2] = ["tzdata.zi", "+VERSION"];
/// The largest file of a zone that is read. Typical files have 3 KB.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// The most zones that are kept in memory. The database has about 600.
const ZONES_MAX: usize = 2000;

/// A folder with a newer release than the one that is built in.
struct Newer {
    folder: PathBuf,
    version: String,
}

static NEWER: OnceLock<Option<Newer>> = OnceLock::new();

thread_local! {
    /// The zones that were used before, because many schedules share one.
    static FOUND: RefCell<HashMap<Box<str>, Zone>> = RefCell::new(HashMap::new());
}

/// The zones of this node, for a queue.
pub const HERE: Zones = Zones::new(find);

/// Chooses between the zones of the system and those that are built in. Called once, while the module is loaded.
pub fn choose() {
    NEWER.get_or_init(newer);
}

/// The release of the time zone database that this node uses.
pub fn version() -> &'static str {
    NEWER.get().and_then(Option::as_ref).map_or(Zone::BUILT_IN_VERSION, |newer| &newer.version)
}

/// Where that release is from: a folder, or `built-in`.
pub fn source() -> String {
    let newer = NEWER.get().and_then(Option::as_ref);
    newer.map_or("built-in".to_owned(), |newer| newer.folder.display().to_string())
}

fn newer() -> Option<Newer> {
    let folder = env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
    let folder = folder.map_or(PathBuf::from(FOLDER), PathBuf::from);
    // A relative path would lead to the server's working folder, where clients can make the server write files.
    let version =
        Some(&folder).filter(|folder| folder.is_absolute()).and_then(|folder| version_of(folder))?;
    (version.as_str() > Zone::BUILT_IN_VERSION).then_some(Newer { folder, version })
}

/// The release of a folder of zones, if one of its files names it.
fn version_of(folder: &Path) -> Option<String> {
    VERSION_FILES.iter().find_map(|name| {
        let mut text = Vec::new();
        open(&folder.join(name)).ok()?.take(64).read_to_end(&mut text).ok()?;
        release_of_zones(&text).map(str::to_owned)
    })
}

/// Opens a regular file. Anything else is refused: reading a pipe would block the server.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

fn find(name: &str) -> Option<Zone> {
    let found = FOUND.with_borrow(|found| found.get(name).cloned());
    found.or_else(|| {
        // A zone that the system doesn't have (some leave out old names) is the one that is built in.
        let zone = from_system(name).or_else(|| Zone::built_in(name))?;
        FOUND.with_borrow_mut(|found| {
            if found.len() < ZONES_MAX {
                found.insert(name.into(), zone.clone());
            }
        });
        Some(zone)
    })
}

fn from_system(name: &str) -> Option<Zone> {
    let Newer { folder, .. } = NEWER.get()?.as_ref()?;
    // The name comes from a client, so it must not lead out of the folder.
    if !Zone::is_name(name) {
        return None;
    }
    let mut tzif = Vec::new();
    open(&folder.join(name)).ok()?.take(FILE_MAX_BYTES + 1).read_to_end(&mut tzif).ok()?;
    let is_whole = tzif.len() as u64 <= FILE_MAX_BYTES;
    let zone = guard("a time zone's file", None, || Zone::read(name, &tzif).filter(|_| is_whole));
    if zone.is_none() {
        log(Level::Warning, &format!("the file of time zone {name} in {} is damaged", folder.display()));
    }
    zone
}
