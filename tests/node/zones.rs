//! The release of the time zone database, as a file of its folder names it.

use taskslot_node::release_of_zones;

#[test]
fn a_release_is_read_from_the_first_line() {
    for (text, release) in [
        ("# version 2026f\n# This zic input file is in the public domain.\n", "2026f"),
        ("2026f\n", "2026f"),
        ("2026f", "2026f"),
        ("2026aa \r\nmore", "2026aa"),
    ] {
        assert_eq!(release_of_zones(text.as_bytes()), Some(release), "{text:?}");
    }
}

#[test]
fn other_texts_name_no_release() {
    for text in [
        "",
        "\n2026f",
        "2026",
        "2026F",
        "2026fgh",
        "202f",
        "version 2026f",
        "# version",
        "20\u{661}6f",
        "2026f more",
    ] {
        assert_eq!(release_of_zones(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(release_of_zones(b"2026f\xff\n"), None);
    assert_eq!(release_of_zones(b"2026f\n\xff"), Some("2026f"));
}
