//! Queues with many groups: a setting for all of them is changed without visiting each.

use taskslot_engine::edges::{BEHIND_LOOKED_AT, GROUPS_AT_ONCE, STEP_GROUPS};
use taskslot_engine::{Claim, Event, GroupLimits, HeldBy, Millis, Options, Queue, TaskState};

use crate::copies::{digest, load, save};
use crate::story::{Story, story};

/// More groups than are visited at once.
const GROUPS: usize = 1300;

fn name(number: usize) -> String {
    format!("group {number:04}")
}

/// A queue with two tasks in each group, the second with a lower priority.
fn many() -> Story {
    let mut s = story();
    for (priority, number) in [0, -1].into_iter().flat_map(|priority| (0..GROUPS).map(move |n| (priority, n)))
    {
        let name = name(number);
        let options = Options { group: name.as_bytes(), priority, ..Options::default() };
        s.push_unchecked(options);
    }
    s
}

/// Does all due work in steps, each of which is small. Returns the number of steps.
fn catches_up(s: &mut Story) -> usize {
    let (mut steps, mut pages) = (0, usize::MAX);
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        let Event::Rested { names, .. } = &event else { panic!("{event:?}") };
        assert!((1..=STEP_GROUPS).contains(&names.len()), "{} groups in a step", names.len());
        s.apply_unchecked(&event);
        steps += 1;
    }
    s.checks();
    steps
}

fn claims_of(s: &mut Story, group: usize) -> usize {
    let name = name(group);
    s.claim(&Claim { group: Some(name.as_bytes()), count: 10, ..Claim::default() }).len()
}

fn held(queue: &Queue) -> usize {
    queue.group_views(b"").filter(|group| group.held_by == Some(HeldBy::Concurrency)).count()
}

#[test]
fn a_limit_for_all_groups_visits_none_of_many() {
    let mut s = many();
    s.config("group-concurrency", 0);
    assert_eq!(s.queue.groups_behind(), GROUPS, "nobody was visited");
    assert_eq!(held(&s.queue), GROUPS, "and yet it holds");
    assert_eq!(s.queue.next_due(&s.now), Some(Millis(0)), "there is something to do");
    s.claims_nothing();
    assert_eq!(catches_up(&mut s), GROUPS.div_ceil(STEP_GROUPS));
    assert_eq!((s.queue.groups_behind(), s.queue.groups_in_turn().count()), (0, 0));
    assert_eq!(s.queue.next_due(&s.now), None);
    s.config("group-concurrency", 1);
    assert_eq!((s.queue.groups_behind(), held(&s.queue)), (GROUPS, 0));
    catches_up(&mut s);
    assert_eq!(s.queue.groups_in_turn().count(), 2 * GROUPS);
}

#[test]
fn few_groups_follow_a_setting_at_once() {
    let mut s = story();
    for number in 0..GROUPS_AT_ONCE {
        s.push_unchecked(Options { group: name(number).as_bytes(), ..Options::default() });
    }
    s.config("group-concurrency", 0);
    assert_eq!((s.queue.groups_behind(), s.queue.groups_in_turn().count()), (0, 0));
}

#[test]
fn a_claim_of_a_group_that_is_behind_keeps_to_the_new_limit() {
    let mut s = many();
    s.config("group-concurrency", 1);
    assert_eq!((claims_of(&mut s, 7), claims_of(&mut s, 7)), (1, 0));
    assert_eq!(s.queue.groups_behind(), GROUPS - 1, "it was visited, and nobody else");
    s.config("group-concurrency", 2);
    assert_eq!((claims_of(&mut s, 7), claims_of(&mut s, 7)), (1, 0));
    catches_up(&mut s);
    assert_eq!(s.queue.count(TaskState::Leased), 2);
}

#[test]
fn a_claim_skips_a_bounded_number_of_groups_behind() {
    let mut s = many();
    let all = Claim { count: 1000, noack: true, ..Claim::default() };
    // The last group in the rotation has a limit of its own, and so has one among those that a claim looks at.
    let own = Some(GroupLimits { concurrency: Some(-1), ..GroupLimits::default() });
    for number in [BEHIND_LOOKED_AT - 2, GROUPS - 1] {
        s.apply(&Event::Grouped { name: name(number).as_bytes(), limits: own });
    }
    s.config("group-concurrency", 0);
    assert_eq!(s.claim(&all).len(), 2, "both tasks of the one");
    s.claims_nothing();
    assert_eq!(claims_of(&mut s, GROUPS - 1), 2, "a claim of the other looks for nobody");
    catches_up(&mut s);
    s.claims_nothing();
}

#[test]
fn a_new_rate_begins_once_for_a_group_behind() {
    let mut s = many();
    s.config("group-rate", 1).config("group-rate-per", 1000);
    assert_eq!((claims_of(&mut s, 3), claims_of(&mut s, 3)), (1, 0));
    s.config("group-concurrency", 10);
    assert_eq!(claims_of(&mut s, 3), 0, "another setting gives nothing of a rate");
    catches_up(&mut s);
    assert_eq!(claims_of(&mut s, 3), 0, "nor does a visit");
    s.config("group-rate", 2);
    assert_eq!(claims_of(&mut s, 3), 1, "all of the new rate is there, but no third task");
}

#[test]
fn a_queue_whose_groups_are_behind_is_stored_and_loaded_as_it_is() {
    let mut s = many();
    s.config("group-concurrency", 1);
    (0..60).for_each(|number| assert_eq!(claims_of(&mut s, number), 1));
    catches_up(&mut s);
    s.config("group-concurrency", 0).config("group-rate", 1);
    let half = 70;
    assert_eq!(claims_of(&mut s, half), 0);
    s.config("group-concurrency", 3);
    for number in [0, half] {
        assert_eq!(claims_of(&mut s, number), 1);
    }
    let behind = s.queue.groups_behind();
    assert_eq!(behind, GROUPS - 2);
    let loaded = load(&save(&s.queue)).unwrap();
    assert_eq!((loaded.groups_behind(), digest(&loaded)), (behind, digest(&s.queue)));
    let turns = |queue: &Queue| queue.groups_in_turn().map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(turns(&loaded), turns(&s.queue), "who stands in the rotations is stored too");
    s.reloads();
    catches_up(&mut s);
    assert_eq!((claims_of(&mut s, 0), claims_of(&mut s, 1)), (0, 1), "the rate of the one is used up");
}

#[test]
fn a_copy_of_a_queue_whose_groups_are_behind_catches_up_too() {
    let mut s = many();
    s.config("group-concurrency", 0);
    let mut copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    let mut pages = usize::MAX;
    while let Some(event) = copy.tick(s.now, &mut || 0, &mut pages) {
        copy.apply(&event).unwrap();
    }
    copy.validate().unwrap();
    assert_eq!((copy.groups_behind(), copy.groups_in_turn().count()), (0, 0));
}

#[test]
fn a_group_removed_while_it_is_behind_is_counted() {
    let mut s = many();
    s.config("group-concurrency", 5);
    let all = Claim { group: Some(b"group 0004"), count: 10, noack: true, ..Claim::default() };
    assert_eq!(s.claim(&all).len(), 2);
    assert_eq!((s.queue.groups(), s.queue.groups_behind()), (GROUPS - 1, GROUPS - 1));
    let id = s.queue.list(&s.now, TaskState::Ready, Default::default(), 1, None, None).1[0].id;
    s.apply(&Event::Purged { ids: vec![id] });
    catches_up(&mut s);
}

#[test]
fn a_group_is_found_by_a_name_of_any_length_and_shown_in_order() {
    let mut s = story();
    let names: Vec<String> = (1..=256).map(|length| "n".repeat(length)).collect();
    for name in names.iter().rev() {
        s.push_unchecked(Options { group: name.as_bytes(), ..Options::default() });
    }
    s.reloads();
    let shown: Vec<String> =
        s.queue.group_views(b"").map(|group| String::from_utf8(group.name.to_vec()).unwrap()).collect();
    assert_eq!(shown, names);
    for name in &names {
        let claim = Claim { group: Some(name.as_bytes()), noack: true, ..Claim::default() };
        let event = s.queue.claim(s.now, &mut || 0, &claim).unwrap().unwrap();
        s.apply_unchecked(&event);
    }
    assert_eq!((s.queue.groups(), s.queue.count(TaskState::Ready)), (0, 0));
    s.checks();
}
