//! Releases of the time zone database.

/// The release of the time zone database that the text of a file names in its first line: `# version 2026f` or `2026f`. `None`
/// if the line names no release.
///
/// The name of a release is the year and a letter, or two letters after z. So the later of two releases is the one that sorts
/// later.
pub fn release_of_zones(text: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(text.split(|byte| *byte == b'\n').next()?).ok()?;
    let release = line.strip_prefix("# version ").unwrap_or(line).trim();
    let (year, letters) = release.split_at_checked(4)?;
    let is_one = year.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=2).contains(&letters.len())
        && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    is_one.then_some(release)
}
