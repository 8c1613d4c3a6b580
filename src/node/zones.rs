//! Releases of the time zone database.

/// The release of the time zone database, as `2026f`, that a file of its folder begins with: `# version 2026f` or
/// `2026f` in the first line. `None` if it says none.
///
/// Releases are named by year and letter, after z by two letters, so the later of two is the one later in the alphabet.
pub fn release_of_zones(text: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(text.split(|byte| *byte == b'\n').next()?).ok()?;
    let release = line.strip_prefix("# version ").unwrap_or(line).trim();
    let (year, letters) = release.split_at_checked(4)?;
    let is_one = year.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=2).contains(&letters.len())
        && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    is_one.then_some(release)
}
