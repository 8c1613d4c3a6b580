//! Whether a queue may be changed, as files tell it.

use taskslot_node::Health;

#[test]
fn a_queue_is_sound_at_first_and_says_nothing() {
    let health = Health::default();
    assert!(health.is_sound());
    assert_eq!(health.text(), "");
}

/// A queue may be saved at any moment, also between two parts of it that come.
#[test]
fn each_state_is_read_back_from_its_text() {
    let broken = Health::Broken("a change should have a living task".to_owned());
    for health in [Health::Sound, Health::Loading, Health::damaged("a living task"), broken] {
        assert_eq!(Health::from_text(health.text().as_bytes()), health);
    }
}

/// These stand in files.
#[test]
fn texts_stay_what_they_are() {
    assert_eq!(Health::Loading.text(), "its stored form has no end");
    assert_eq!(Health::damaged("a head").text(), "its stored form should have a head");
    assert_eq!(Health::from_text(b"by \xff").text(), "by \u{fffd}");
}
