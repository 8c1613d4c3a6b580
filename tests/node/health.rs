//! The health of a queue, and its text in files.

use taskslot_node::Health;

#[test]
fn a_new_queue_is_sound_and_has_an_empty_text() {
    let health = Health::default();
    assert!(health.is_sound());
    assert_eq!(health.text(), "");
}

/// A queue can be saved at any time, even while it is being loaded in parts.
#[test]
fn each_health_is_restored_from_its_text() {
    let broken = Health::Broken("a change should have a living task".to_owned());
    for health in [Health::Sound, Health::Loading(None), Health::damaged("a living task"), broken] {
        assert_eq!(Health::from_text(health.text().as_bytes()), health);
    }
}

/// Files contain these texts.
#[test]
fn the_texts_of_files_do_not_change() {
    assert_eq!(Health::Loading(Some(3)).text(), "its stored form has no end");
    assert_eq!(Health::damaged("a head").text(), "its stored form should have a head");
    assert_eq!(Health::from_text(b"by \xff").text(), "by \u{fffd}");
}
