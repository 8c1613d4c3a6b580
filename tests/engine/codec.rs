//! The stored form and effects. Samples of every version load, and whatever is damaged or invented is refused or is a
//! queue like any other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use taskslot_edges::TINY;
use taskslot_engine::{
    Claim, EFFECT_VERSION, Effect, FORMAT_VERSION, Hold, Now, OnDead, Options, Push, Queue, Refusal, Retry,
    Stamp, TaskId, Unique, When,
};

use crate::copies::{Dice, NAME, digest, load, load_given_up, save};
use crate::properties::{bits_of, times};
use crate::sample::{effect, live, lives_on};
use crate::story::story;

/// The digest of the queue in the samples of each version. The line of a version and its files never change.
const SAMPLES: [(u16, u64); 4] =
    [(1, 0xaa73e7dd2b630f1a), (2, 0x3d2f67938b731732), (3, 0x85fde2fc86baa441), (4, 0xfe19302684399be5)];

fn sample_file(kind: &str, version: u16) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/engine/samples");
    PathBuf::from(folder).join(format!("{kind}-v{version}.bin"))
}

/// The parts of a file; each is preceded by its length in four bytes.
fn parts(path: PathBuf) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let (mut rest, mut parts) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (part, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part.to_vec());
        rest = tail;
    }
    parts
}

/// Version 3, the number and the instant of an effect.
const EFFECT_HEAD: [u8; 13] = [3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];

fn write_parts(path: PathBuf, parts: &[Vec<u8>]) {
    let bytes = parts.iter().flat_map(|part| [&(part.len() as u32).to_le_bytes()[..], part].concat());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(!path.exists(), "{path:?} stays as it is: a change of the format is a new version");
    std::fs::write(path, bytes.collect::<Vec<u8>>()).unwrap();
}

#[test]
#[ignore = "writes the sample of a new stored form: cargo test -p taskslot-engine -- --ignored new_stored_form"]
fn a_new_stored_form_gets_its_sample() {
    let queue = live(&mut |_, _| {});
    let (at_us, mut stored) = (1_700_000_000_000_000, Vec::new());
    let clocks =
        Stamp { at_us, wall_us: at_us + 5_000, boot: 1 << 32 | 1, up_us: 9_000_000, lead_us: 1 << 36 };
    queue.save_at(clocks, &mut |chunk| stored.push(chunk.to_vec()));
    write_parts(sample_file("queue", FORMAT_VERSION), &stored);
    println!("put ({FORMAT_VERSION}, {:#018x}) into SAMPLES", digest(&queue));
}

#[test]
#[ignore = "writes the sample of a new version of effects: cargo test -p taskslot-engine -- --ignored new_effects"]
fn new_effects_get_their_sample() {
    let (effect, mut payloads) = effect();
    payloads.insert(0, effect);
    write_parts(sample_file("effect", u16::from(EFFECT_VERSION)), &payloads);
}

#[test]
fn queues_of_every_version_load() {
    assert_eq!(SAMPLES.last().unwrap().0, FORMAT_VERSION, "a new version needs samples");
    for (version, expected) in SAMPLES {
        let queue = load(&parts(sample_file("queue", version))).unwrap();
        assert_eq!(digest(&queue), expected, "queue-v{version}.bin");
        lives_on(queue, &mut Dice(1), 200);
    }
}

#[test]
fn effects_of_every_version_apply() {
    for version in 1..=EFFECT_VERSION {
        let parts = parts(sample_file("effect", version.into()));
        let payloads: Vec<&[u8]> = parts[1..].iter().map(Vec::as_slice).collect();
        let mut queue = Queue::new();
        let received = Effect::decode(NAME, &parts[0], &payloads).unwrap();
        queue.expect_effect(&received).unwrap();
        received.events.iter().for_each(|event| _ = queue.apply(event).unwrap());
        queue.validate().unwrap();
        // Versions 4 and 6 of effects came without another stored form.
        let sample = usize::from(version - u8::from(version >= 4) - u8::from(version >= 6)) - 1;
        let queue = if version < 5 { without_attempts(&queue) } else { queue };
        // With tiny bounds its groups follow a setting later.
        assert!(digest(&queue) == SAMPLES[sample].1 || TINY, "effect-v{version}.bin");
    }
}

/// A queue without what version 4 of the stored form added: last attempts, and whose the errors are. Older versions
/// noted none of it, while this one notes it of older effects too.
fn without_attempts(queue: &Queue) -> Queue {
    let mut stored = save(queue);
    stored.retain(|chunk| chunk[0] != b'a');
    for chunk in stored.iter_mut().filter(|chunk| chunk[0] == b'x') {
        let values: Vec<(u64, ByteBuf)> = rmp_serde::from_slice(&chunk[1..]).unwrap();
        let values: Vec<(u64, ByteBuf)> =
            values.into_iter().map(|(order, error)| (order, ByteBuf::from(text_of(&error)))).collect();
        *chunk = [b"e", &rmp_serde::to_vec_named(&values).unwrap()[..]].concat();
    }
    load(&stored).unwrap()
}

/// The text of a stored error, behind two numbers, the worker and its own length.
fn text_of(error: &[u8]) -> &[u8] {
    let number = |rest: &mut &[u8]| {
        let bytes = 1 + rest.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let value = rest[..bytes].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
        *rest = &rest[bytes..];
        value
    };
    let mut rest = error;
    number(&mut rest);
    number(&mut rest);
    let worker = number(&mut rest);
    rest = &rest[worker..];
    let text = number(&mut rest);
    assert_eq!(rest.len(), text, "one error");
    rest
}

#[test]
fn effects_of_every_version_that_end_too_early_or_too_late_are_refused() {
    for version in 1..=EFFECT_VERSION {
        let parts = parts(sample_file("effect", version.into()));
        let payloads: Vec<&[u8]> = parts[1..].iter().map(Vec::as_slice).collect();
        let whole = &parts[0];
        for length in 0..whole.len() {
            assert!(
                Effect::decode(NAME, &whole[..length], &payloads).is_err(),
                "version {version} cut to {length}"
            );
        }
        assert!(
            Effect::decode(NAME, &[whole, &b"\0"[..]].concat(), &payloads).is_err(),
            "with more behind it"
        );
    }
}

#[test]
fn a_queue_that_is_saved_and_loaded_saves_to_the_same_bytes() {
    let stored = save(&live(&mut |_, _| {}));
    assert_eq!(save(&load(&stored).unwrap()), stored);
}

/// A stored queue in which one part is replaced.
fn with(stored: &[Vec<u8>], at: usize, part: &[u8]) -> Vec<Vec<u8>> {
    let mut changed = stored.to_vec();
    changed[at] = part.to_vec();
    changed
}

#[test]
fn a_stored_queue_that_ends_too_early_is_refused() {
    let stored = save(&live(&mut |_, _| {}));
    for (at, chunk) in stored.iter().enumerate() {
        for length in 0..chunk.len() {
            assert!(load(&with(&stored, at, &chunk[..length])).is_err(), "chunk {at} cut to {length}");
        }
        assert!(
            load(&with(&stored, at, &[&chunk[..], b"\0"].concat())).is_err(),
            "chunk {at} with more behind it"
        );
    }
    assert!(load(&[]).is_err());
}

#[test]
fn a_stored_queue_with_a_flipped_bit_is_refused_or_lives_on() {
    let stored = save(&live(&mut |_, _| {}));
    let mut dice = Dice(3);
    let (mut refused, mut accepted) = (0, 0);
    for (at, chunk) in stored.iter().enumerate() {
        // The bytes inside a long payload are all alike.
        let is_dull = |at: usize| {
            chunk.get(at.saturating_sub(16)..at + 16).is_some_and(|c| c.iter().all(|&b| b == c[0]))
        };
        for (byte, bit) in (0..chunk.len()).filter(|byte| !is_dull(*byte)).flat_map(bits_of) {
            let mut flipped = chunk.clone();
            flipped[byte] ^= 1 << bit;
            match load(&with(&stored, at, &flipped)) {
                Err(_) => refused += 1,
                Ok(queue) => {
                    accepted += 1;
                    lives_on(queue, &mut dice, 50);
                }
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

#[test]
fn a_stored_queue_with_random_bytes_is_refused_or_lives_on() {
    let stored = save(&live(&mut |_, _| {}));
    let mut dice = Dice(4);
    for _ in 0..4000 * times() {
        let at = dice.below(stored.len() as u64) as usize;
        let mut chunk = stored[at].clone();
        for _ in 0..=dice.below(4) {
            let place = dice.below(chunk.len() as u64) as usize;
            chunk[place] = dice.roll() as u8;
        }
        if let Ok(queue) = load(&with(&stored, at, &chunk)) {
            lives_on(queue, &mut dice, 10);
        }
    }
}

#[test]
fn missing_and_repeated_chunks_are_refused() {
    let stored = save(&live(&mut |_, _| {}));
    for at in 0..stored.len() {
        let mut twice = stored.clone();
        twice.insert(at, stored[at].clone());
        // Moving a group to the end of the rotation twice has the same result as once.
        assert_eq!(load(&twice).is_ok(), stored[at][0] == b't' && at > 0, "chunk {at} twice");
        let mut missing = stored.clone();
        missing.remove(at);
        let is_optional =
            matches!(stored[at].first(), Some(b'x' | b'a' | b'r' | b'd' | b'w' | b'u' | b'b' | b's' | b't'));
        assert_eq!(load(&missing).is_ok(), is_optional, "chunk {at} missing");
    }
    let pages: Vec<usize> = (1..stored.len()).filter(|&at| stored[at][0] == b'p').collect();
    let mut swapped = stored.clone();
    swapped.swap(pages[0], pages[1]);
    assert!(load(&swapped).is_err(), "pages out of order");
}

#[test]
fn tasks_behind_a_table_about_them_are_refused() {
    let mut kinds = Vec::new();
    for stored in [save(&live(&mut |_, _| {})), with_tokens(), with_waits()] {
        let first = stored.iter().position(|chunk| chunk[0] == b'p').unwrap();
        let last = stored.iter().rposition(|chunk| chunk[0] == b'p').unwrap();
        for at in last + 1..stored.len() {
            for page in [first, last] {
                let mut moved = stored.clone();
                let table = moved.remove(at);
                kinds.push(table[0]);
                moved.insert(page, table);
                assert!(load(&moved).is_err(), "a table {:?} before page {page}", stored[at][0] as char);
                assert_stays_as_it_is(&moved, "a table before a page");
                // A page behind it that is damaged is read as far the second time.
                for byte in (0..moved[page + 1].len()).step_by(37) {
                    let mut flipped = moved[page + 1].clone();
                    flipped[byte] ^= 1 << (byte % 8);
                    assert_stays_as_it_is(&with(&moved, page + 1, &flipped), "a damaged page behind a table");
                }
            }
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, b"adfhrstuwx", "every table that follows the tasks was tried");
}

/// The head as a later version or an attacker could write it.
#[derive(Serialize, Deserialize, Clone)]
struct Head {
    version: u16,
    settings: BTreeMap<String, i64>,
    totals: BTreeMap<String, u64>,
    pauses: BTreeMap<String, Option<u64>>,
    last_id: BTreeMap<String, u64>,
    next_order: u64,
    term: u64,
    last_lease: u64,
    workers: Vec<ByteBuf>,
    last_batch: u64,
    #[serde(default)]
    ahead_us: u64,
}

fn with_head(stored: &[Vec<u8>], change: impl FnOnce(&mut Head)) -> Vec<Vec<u8>> {
    let mut head: Head = rmp_serde::from_slice(&stored[0]).unwrap();
    change(&mut head);
    with(stored, 0, &rmp_serde::to_vec_named(&head).unwrap())
}

#[test]
fn a_false_head_is_refused() {
    let stored = save(&live(&mut |_, _| {}));
    assert!(load(&with_head(&stored, |_| {})).is_ok());
    type Lie = fn(&mut Head);
    let lies: [(&str, Lie); 17] = [
        ("an older version", |h| h.version = 0),
        ("a later version", |h| h.version = FORMAT_VERSION + 1),
        ("an unknown setting", |h| _ = h.settings.insert("speed".into(), 1)),
        ("a setting out of bounds", |h| _ = h.settings.insert("lease".into(), 0)),
        ("a number that was not given", |h| h.next_order = 3),
        ("numbers beyond six bytes", |h| h.next_order = u64::MAX),
        ("a lease number that was not given", |h| h.last_lease = 5),
        ("a lease number beyond 2^53", |h| h.last_lease = 1 << 53),
        ("an id that was not given", |h| _ = h.last_id.insert("ms".into(), 5)),
        ("an id beyond six bytes", |h| _ = h.last_id.insert("ms".into(), 1 << 48)),
        ("a task too many", |h| *h.totals.get_mut("pushed").unwrap() += 1),
        ("totals that overflow", |h| _ = h.totals.insert("acked".into(), u64::MAX)),
        ("a total that is nearly over", |h| _ = h.totals.insert("claimed".into(), u64::MAX)),
        ("a worker's name that misses", |h| h.workers.clear()),
        ("a free name that is in use", |h| h.workers.iter_mut().for_each(|name| name.clear())),
        ("a name twice", |h| h.workers.push(h.workers.iter().find(|name| !name.is_empty()).unwrap().clone())),
        ("a name of nobody", |h| h.workers.push(ByteBuf::from("nobody"))),
    ];
    for (what, lie) in lies {
        assert!(load(&with_head(&stored, lie)).is_err(), "{what}");
    }
}

#[test]
fn a_queue_without_numbers_left_can_be_read_and_has_no_room() {
    let stored = save(&live(&mut |_, _| {}));
    assert!(load(&stored).unwrap().has_room(&Stamp::default()));
    let (order, total) = ((1u64 << 48) - 2, (1u64 << 53) - 1);
    let used: [Vec<Vec<u8>>; 6] = [
        with_head(&stored, |h| h.last_batch = (1 << 48) - 1),
        with_head(&stored, |h| h.last_lease = total),
        with_head(&stored, |h| h.ahead_us = total),
        with_head(&stored, |h| h.last_id.extend([("ms".into(), (1 << 48) - 1), ("seq".into(), u64::MAX)])),
        with_head(&stored, |h| h.next_order = order),
        with_head(&stored, |h| _ = h.totals.insert("claimed".into(), total)),
    ];
    for stored in used {
        assert!(!load(&stored).unwrap().has_room(&Stamp::default()));
    }
}

#[test]
fn a_head_with_an_unknown_field_is_refused() {
    let stored = save(&live(&mut |_, _| {}));
    let mut head = stored[0].clone();
    assert_eq!(head[0], 0x8d, "a map of thirteen fields");
    head[0] += 1;
    head.extend_from_slice(b"\xa3new\x93\x01\x02\x03");
    assert!(load(&with(&stored, 0, &head)).is_err());
    // The damaged name of a gate must not pass for an open gate.
    let pauses = with_head(&stored, |head| {
        let inward = head.pauses.remove("inward").unwrap();
        head.pauses.insert("inwarD".into(), inward);
    });
    assert!(load(&pauses).is_err());
}

#[derive(Serialize, Clone)]
struct StoredToken {
    token: ByteBuf,
    id: BTreeMap<&'static str, u64>,
    until: u64,
}

#[derive(Serialize)]
struct StoredBody {
    order: u64,
    payload: ByteBuf,
    headers: ByteBuf,
}

/// A task with each kind of token; the second has a replaced body. The chunks: head, bodies, page, tokens.
fn with_tokens() -> Vec<Vec<u8>> {
    let mut queue = Queue::new();
    let until = Now::plain(99).at;
    for (ms, hold) in [(1, Hold::End), (2, Hold::AtMost(until)), (3, Hold::Exactly(until))] {
        let token = format!("t{ms}");
        let unique = Some(Unique { token: token.as_bytes(), hold });
        let push = Push { due: None, options: Options { unique, ..Options::default() }, payloads: &[b"p"] };
        let event = queue.push(Now::plain(ms), &push).unwrap();
        queue.apply(&event).unwrap();
    }
    let event = queue.replace(TaskId { ms: 2, seq: 0 }, b"", b"other").unwrap().unwrap();
    queue.apply(&event).unwrap();
    let stored = save(&queue);
    assert_eq!(stored.iter().skip(1).map(|chunk| chunk[0]).collect::<Vec<_>>(), b"bpu");
    stored
}

fn encoded(kind: &[u8], items: &impl Serialize) -> Vec<u8> {
    [kind, &rmp_serde::to_vec_named(items).unwrap()].concat()
}

#[test]
fn false_tokens_are_refused() {
    let stored = with_tokens();
    let held = |token: &str, ms, until| StoredToken {
        token: ByteBuf::from(token),
        id: BTreeMap::from([("ms", ms), ("seq", 0)]),
        until,
    };
    let load_with = |tokens: &[StoredToken]| load(&with(&stored, 3, &encoded(b"u", &tokens)));
    let (two, three) = (held("t2", 2, 99), held("t3", 3, 99));
    assert!(load_with(&[two.clone(), three]).is_ok());
    for (what, lie) in [
        ("one twice", vec![two.clone(), two]),
        ("one that a task says it holds", vec![held("t1", 1, 99)]),
        ("one of another task", vec![held("t2", 3, 99)]),
        ("one that its task does not have", vec![held("x", 2, 99)]),
        ("one with another end", vec![held("t2", 2, 98)]),
        ("one of a task that never was", vec![held("x", 4, 99)]),
        ("an end beyond six bytes", vec![held("t2", 2, 1 << 48)]),
        ("an empty one", vec![held("", 2, 99)]),
        ("a long one", vec![held(&"x".repeat(257), 2, 99)]),
    ] {
        assert!(load_with(&lie).is_err(), "{what}");
    }
}

#[test]
fn false_bodies_are_refused() {
    let stored = with_tokens();
    let body = |order, headers: &[u8]| StoredBody {
        order,
        payload: ByteBuf::from("p"),
        headers: ByteBuf::from(headers),
    };
    let load_with = |bodies: &[StoredBody]| load(&with(&stored, 1, &encoded(b"b", &bodies)));
    assert!(load_with(&[body(1, b"")]).is_ok());
    for (what, lie) in [
        ("two of one task", vec![body(1, b""), body(1, b"")]),
        ("one of no task", vec![body(7, b"")]),
        ("headers that are none", vec![body(1, b"\x41")]),
    ] {
        assert!(load_with(&lie).is_err(), "{what}");
    }
}

#[derive(Serialize)]
struct StoredLane {
    order: u64,
    lane: Option<(i8, u32)>,
}

#[test]
fn false_lanes_are_refused() {
    let mut queue = Queue::new();
    let options = Options { group: b"g", ..Options::default() };
    for ms in 1..=2 {
        let event = queue.push(Now::plain(ms), &Push { due: None, options, payloads: &[b"p"] }).unwrap();
        queue.apply(&event).unwrap();
    }
    let mut stored = save(&queue);
    assert_eq!(stored.iter().skip(1).map(|chunk| chunk[0]).collect::<Vec<_>>(), b"gpt");
    // Without the turns, which name a lane that none of the tasks is in any more.
    stored.truncate(3);
    stored.insert(2, Vec::new());
    let lane = |order, lane| StoredLane { order, lane: Some(lane) };
    let load_with = |lanes: &[StoredLane]| load(&with(&stored, 2, &encoded(b"b", &lanes)));
    let loaded = load_with(&[lane(0, (5, 1)), lane(1, (-128, 0))]).unwrap();
    assert_eq!(loaded.task(&Now::plain(9), TaskId { ms: 1, seq: 0 }).unwrap().options.priority, 5);
    for (what, lie) in [
        ("a group that is not there", vec![lane(0, (5, 2))]),
        ("a number that no group has", vec![lane(0, (5, u32::MAX))]),
        ("two of one task", vec![lane(0, (5, 1)), lane(0, (5, 1))]),
        ("one of no task", vec![lane(0, (5, 1)), lane(2, (5, 1))]),
        ("one that changes nothing", vec![StoredLane { order: 0, lane: None }]),
    ] {
        assert!(load_with(&lie).is_err(), "{what}");
    }
    let late = [stored[2..].to_vec(), vec![encoded(b"b", &[lane(0, (5, 1))])]].concat();
    assert!(load(&[stored[..2].to_vec(), late].concat()).is_err(), "one after its task");
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredBatch {
    number: u64,
    name: ByteBuf,
    callback: u64,
    opened_at: u64,
    closed_at: Option<u64>,
    is_over: bool,
    counts: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredParent {
    id: BTreeMap<String, u64>,
    is_open: bool,
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredDependent {
    order: u64,
    on_dead: String,
    parents: Vec<StoredParent>,
}

/// A task that ended, and whether it is done.
type StoredEnd = (BTreeMap<String, u64>, bool);

/// Two batches: one open with the tasks 1 and 2, of which the second is dead, one over. Tasks that wait for "p" and "q",
/// of which "q" was cancelled. The chunks: head, batches, page, errors, attempts, dependents, ends.
fn with_waits() -> Vec<Vec<u8>> {
    let mut s = story();
    s.opens("open", "o").push_into("open", "in-a-batch").push_into("open", "dead");
    s.claims_all(2, &["in-a-batch", "dead"]).requeues("in-a-batch").fails_with("dead", Retry::Dead, "e");
    s.opens("over", "v").closes_batch("over").push_all(&["p", "q"]);
    s.push_after("both", &["p", "q"], OnDead::Wait).push_after("run", &["q"], OnDead::Run).cancels("q");
    let stored = save(&s.queue);
    assert_eq!(stored.iter().skip(1).map(|chunk| chunk[0]).collect::<Vec<_>>(), b"cpxahf");
    stored
}

const BATCHES: usize = 1;
const PAGE: usize = 2;
const DEPENDENTS: usize = 5;
const ENDED: usize = 6;

/// Loads a stored queue in which one table says something else. Nothing else must change the bytes.
fn load_with<T: Serialize + serde::de::DeserializeOwned>(
    at: usize,
    lie: impl FnOnce(&mut Vec<T>),
) -> Result<Queue, taskslot_engine::Invalid> {
    let stored = with_waits();
    let mut items: Vec<T> = rmp_serde::from_slice(&stored[at][1..]).unwrap();
    assert_eq!(encoded(&stored[at][..1], &items).len(), stored[at].len(), "the test knows every field");
    lie(&mut items);
    load(&with(&stored, at, &encoded(&stored[at][..1], &items)))
}

#[test]
fn false_batches_are_refused() {
    type Lie = fn(&mut Vec<StoredBatch>);
    let truths: [Lie; 5] = [
        |_| {},
        |b| b[0].name = ByteBuf::from("other"),
        |b| b[0].closed_at = Some(5),
        |b| _ = b[0].counts.insert("done".into(), 1 << 40),
        |b| b[1].closed_at = None,
    ];
    for truth in truths {
        let queue = load_with(BATCHES, truth).unwrap();
        lives_on(queue, &mut Dice(1), 50);
    }
    let lies: [(&str, Lie); 22] = [
        ("no batch", |b| b.clear()),
        ("a batch less", |b| _ = b.remove(0)),
        ("one twice", |b| b.push(b[1].clone())),
        ("numbers out of order", |b| b.swap(0, 1)),
        ("one number twice", |b| b[1].number = 1),
        ("no number", |b| b[0].number = 0),
        ("a number that was not given", |b| b[1].number = 3),
        ("a number beyond six bytes", |b| b[1].number = 1 << 48),
        ("no name", |b| b[0].name = ByteBuf::new()),
        ("a long name", |b| b[0].name = ByteBuf::from(vec![b'x'; 257])),
        ("one name twice", |b| b[1].name = b[0].name.clone()),
        ("one callback twice", |b| b[1].callback = b[0].callback),
        ("a callback that is no task", |b| b[0].callback = 400),
        ("a callback beyond all tasks", |b| b[0].callback = u64::MAX),
        ("a callback that is not held", |b| b[0].callback = 1),
        ("a callback that waits for tasks", |b| b[0].callback = 7),
        ("a callback that is held though its batch is over", |b| b[0].is_over = true),
        ("a callback that is not held though its batch isn't over", |b| b[1].is_over = false),
        ("an instant beyond six bytes", |b| b[0].opened_at = 1 << 48),
        ("another instant beyond six bytes", |b| b[0].closed_at = Some(1 << 48)),
        ("a count that is too high", |b| _ = b[0].counts.insert("done".into(), 1 << 53)),
        ("dead tasks that were not counted", |b| _ = b[0].counts.insert("dead".into(), 0)),
    ];
    for (what, lie) in lies {
        assert!(load_with(BATCHES, lie).is_err(), "{what}");
    }
    let many = |b: &mut Vec<StoredBatch>| {
        ["done", "dead", "expired"].iter().for_each(|how| _ = b[0].counts.insert((*how).into(), u64::MAX));
    };
    assert!(load_with(BATCHES, many).is_err(), "counts that overflow together");
}

#[test]
fn a_closed_batch_without_open_tasks_is_complete_when_it_is_loaded() {
    let mut queue = load_with(BATCHES, |batches: &mut Vec<StoredBatch>| {
        // Its only task that has not ended is counted for another batch, which is over.
        batches[0].closed_at = Some(5);
    })
    .unwrap();
    assert_eq!(queue.batch(b"open").unwrap().open, 1);
    let now = Now::plain(1_000_000_000);
    queue.tick(now, &mut || 0, &mut 9).into_iter().for_each(|event| _ = queue.apply(&event).unwrap());
    assert!(!queue.has_news());
    let event = queue.claim(now, &mut || 0, &Claim { noack: true, count: 9, ..Claim::default() });
    queue.apply(&event.unwrap().unwrap()).unwrap();
    let loaded = load(&save(&queue)).unwrap();
    assert!(loaded.has_news(), "its callback must become ready");
    assert_eq!(digest(&loaded), digest(&queue));
}

#[test]
fn false_dependents_are_refused() {
    type Lie = fn(&mut Vec<StoredDependent>);
    let truths: [Lie; 2] = [|_| {}, |d| d[0].on_dead = "x".into()];
    for truth in truths {
        let queue = load_with(DEPENDENTS, truth).unwrap();
        lives_on(queue, &mut Dice(1), 50);
    }
    let lies: [(&str, Lie); 19] = [
        ("none", |d| d.clear()),
        ("one less", |d| _ = d.remove(0)),
        ("one twice", |d| d.push(d[0].clone())),
        ("a task that is none", |d| d[0].order = 400),
        ("a task beyond all", |d| d[0].order = u64::MAX),
        ("a task that is not held", |d| d[0].order = 1),
        ("a task that is a callback", |d| d[0].order = 0),
        ("a way that is unknown", |d| d[0].on_dead = "y".into()),
        ("one that must not be told, of the only one to tell", |d| d[1].on_dead = "w".into()),
        ("no parents", |d| d[0].parents.clear()),
        ("a held task that waits for nothing", |d| d[0].parents.iter_mut().for_each(|p| p.is_open = false)),
        ("parents out of order", |d| d[0].parents.swap(0, 1)),
        ("one parent twice", |d| d[0].parents[1] = d[0].parents[0].clone()),
        ("a parent that was never pushed", |d| _ = d[0].parents[1].id.insert("ms".into(), 1 << 40)),
        ("nobody waits for the one that ended", |d| {
            d.iter_mut().for_each(|d| {
                d.parents.iter_mut().for_each(|p| _ = p.id.insert("seq".into(), 77));
            })
        }),
        ("a dependent that is told of a task that is gone", |d| {
            d[0].on_dead = "r".into();
            d[0].parents[0].id.insert("ms".into(), 5);
        }),
        ("an id that is none", |d| _ = d[0].parents[0].id.remove("ms")),
        ("one that waits for itself", |d| {
            let id = d[0].parents[0].id.clone();
            d[0].parents.iter_mut().for_each(|p| p.id = id.clone());
        }),
        ("1001 parents", |d| {
            let parent = d[0].parents[0].clone();
            let of = |seq| {
                let id = [("ms".to_owned(), 5), ("seq".to_owned(), seq)];
                StoredParent { id: BTreeMap::from(id), is_open: false }
            };
            d[0].parents = (0..1000).map(of).chain([parent]).collect();
        }),
    ];
    for (what, lie) in lies {
        assert!(load_with(DEPENDENTS, lie).is_err(), "{what}");
    }
}

#[test]
fn false_ends_are_refused() {
    type Lie = fn(&mut Vec<StoredEnd>);
    assert!(load_with::<StoredEnd>(ENDED, |_| {}).is_ok());
    let lies: [(&str, Lie); 5] = [
        ("none", |e| e.clear()),
        ("one twice", |e| e.push(e[0].clone())),
        ("one twice in two ways", |e| e.push((e[0].0.clone(), true))),
        ("one that nobody waits for", |e| _ = e[0].0.insert("seq".into(), 77)),
        ("one that lives", |e| {
            let seq = e[0].0["seq"];
            e.push((e[0].0.clone(), true));
            e[1].0.insert("seq".into(), seq - 1);
        }),
    ];
    for (what, lie) in lies {
        assert!(load_with(ENDED, lie).is_err(), "{what}");
    }
}

#[test]
fn false_batch_numbers_of_tasks_are_refused() {
    let stored = with_waits();
    let page = &stored[PAGE];
    let payload = b"in-a-batch";
    let number = page.windows(payload.len()).position(|part| part == payload).unwrap() - 2;
    assert_eq!(page[number], 1, "the batch, the length, the payload");
    let with_number = |number_byte| {
        let mut lie = page.clone();
        lie[number] = number_byte;
        load(&with(&stored, PAGE, &lie))
    };
    assert_eq!(with_number(1).unwrap().batch(b"open").unwrap().open, 1);
    assert_eq!(with_number(2).unwrap().batch(b"open").unwrap().open, 0, "a task of the other batch");
    assert!(with_number(0).is_err(), "the number of none");
    assert!(with_number(3).is_err(), "a number that was not given");
    let last = |last| load(&with_head(&stored, |head| head.last_batch = last));
    assert!(last(3).is_ok() && last((1 << 48) - 1).is_ok());
    assert!(last(1).is_err(), "a number that is in use");
    assert!(last(1 << 48).is_err(), "a number beyond six bytes");
    let mut full = last((1 << 48) - 1).unwrap();
    let push = Push { due: None, options: Options::default(), payloads: &[b"x"] };
    let now = Now::plain(1 << 40);
    assert_eq!(full.open_batch(now, b"new", When::Now, &push), Err(Refusal::Exhausted), "no number is left");
    let before = last((1 << 48) - 2).unwrap();
    let event = before.open_batch(now, b"new", When::Now, &push).unwrap().unwrap();
    assert!(full.apply(&event).is_err(), "an effect that a primary with a number left could send");
}

#[test]
fn false_entries_of_held_tasks_are_refused() {
    let stored = with_waits();
    let (page, span) = (&stored[PAGE], 29);
    let entry = page.len() - 7 * ENTRY..;
    let first = page[entry.clone()].chunks(ENTRY).position(|entry| entry[1] == 0x81).expect("a held task");
    let from_last = 6 - first;
    assert!(load(&with(&stored, PAGE, &with_entry(page, from_last, 1, &[0x81]))).is_ok());
    let after = with_entry(page, from_last, span, &[7]);
    assert!(load(&with(&stored, PAGE, &after)).is_ok(), "a delay");
    for (what, lie) in [
        ("ready and held", with_entry(page, from_last, 1, &[0x80])),
        ("leased and held", with_entry(page, from_last, 1, &[0x82])),
        ("dead and held", with_entry(page, from_last, 1, &[0x83])),
        ("done and held", with_entry(page, from_last, 1, &[0xc3])),
        ("delayed, not held", with_entry(page, from_last, 1, &[0x01])),
        ("a delay beyond 100 years", with_entry(page, from_last, span, &[0xff; 8])),
        (
            "an instant beyond six bytes",
            with_entry(&with_entry(page, from_last, 1, &[0x85]), from_last, span, &[0xff; 8]),
        ),
    ] {
        assert!(load(&with(&stored, PAGE, &lie)).is_err(), "{what}");
    }
}

const ENTRY: usize = 45;
/// Offsets of fields in an entry.
const RANK: usize = 2;
const LEASE: usize = 14;
const WORKER: usize = 33;

/// A page's chunk in which one entry has other bytes. Entries are counted from the last.
fn with_entry(chunk: &[u8], from_last: usize, field: usize, bytes: &[u8]) -> Vec<u8> {
    let mut chunk = chunk.to_vec();
    let at = chunk.len() - (from_last + 1) * ENTRY + field;
    chunk[at..at + bytes.len()].copy_from_slice(bytes);
    chunk
}

#[test]
fn false_entries_are_refused() {
    let stored = save(&live(&mut |_, _| {}));
    let first = stored.iter().position(|chunk| chunk[0] == b'p').unwrap();
    let page = stored[first].clone();
    let entries = 8;
    let of = |entry: usize, field: usize, length: usize| {
        let at = page.len() - (entry + 1) * ENTRY + field;
        page[at..at + length].to_vec()
    };
    let leased = (0..entries).find(|&entry| of(entry, WORKER, 4) != [0; 4]).unwrap();
    for (what, lie) in [
        ("a rank that was not given", with_entry(&page, 0, RANK, &[0xff; 6])),
        (
            "a lease number above the counter",
            with_entry(&page, leased, LEASE, &(1u64 << 52).to_le_bytes()[..7]),
        ),
        ("a lease without a number", with_entry(&page, leased, LEASE, &[0; 7])),
        ("a worker without a name", with_entry(&page, leased, WORKER, &77u32.to_le_bytes())),
        ("two tasks with one turn", with_entry(&page, 0, RANK, &of(1, RANK, 6))),
        ("two entries of one task", with_entry(&page, 0, 0, &of(1, 0, 1))),
        ("an entry of no task", with_entry(&page, 0, 0, &[255])),
        ("an unknown flag", with_entry(&page, 0, 1, &[0x80])),
    ] {
        assert!(load(&with(&stored, first, &lie)).is_err(), "{what}");
    }
    let held: Vec<usize> = (0..entries).filter(|&entry| of(entry, LEASE, 7) != [0; 7]).collect();
    let twice = with_entry(&page, held[0], LEASE, &of(held[1], LEASE, 7));
    assert!(load(&with(&stored, first, &twice)).is_err(), "two tasks with one lease number");
}

/// An allocator that remembers the largest block that a thread asked for.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged. Noting a size touches none of its memory.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: System needs the same promise about the layout as the caller gives.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from System, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// The chunk of a table with each of its items twice; `None` for a page, which isn't a table.
fn doubled(chunk: &[u8]) -> Option<Vec<u8>> {
    let (count, items) = match chunk {
        [b'p', ..] => return None,
        [_, few @ 0x90..=0x9f, items @ ..] => (u16::from(few & 0xf), items),
        [_, 0xdc, high, low, items @ ..] => (u16::from_be_bytes([*high, *low]), items),
        other => panic!("not the chunk of a table: {other:x?}"),
    };
    let twice = (2 * count).to_be_bytes();
    Some([&chunk[..1], &[0xdc], &twice[..], items, items].concat())
}

/// Checks that a queue that was given up stays the same when it is stored and loaded again.
fn assert_stays_as_it_is(chunks: &[Vec<u8>], what: &str) {
    let Ok(queue) = load_given_up(chunks) else { return };
    let again = load_given_up(&save(&queue)).unwrap();
    assert_eq!(digest(&again), digest(&queue), "{what}");
}

#[test]
fn a_table_with_a_repeated_key_is_refused() {
    let mut kinds = Vec::new();
    for stored in [save(&live(&mut |_, _| {})), with_tokens(), with_waits()] {
        for (at, chunk) in stored.iter().enumerate().skip(1) {
            let Some(twice) = doubled(chunk) else { continue };
            kinds.push(chunk[0]);
            // A repeated turn of a rotation has the same result as one.
            assert_eq!(load(&with(&stored, at, &twice)).is_ok(), chunk[0] == b't', "{chunk:x?}");
            assert_stays_as_it_is(&with(&stored, at, &twice), &format!("{twice:x?}"));
            // One key with two values.
            for byte in (chunk.len()..twice.len()).filter(|_| twice.len() < 4000) {
                for (byte, bit) in bits_of(byte) {
                    let mut flipped = twice.clone();
                    flipped[byte] ^= 1 << bit;
                    assert_stays_as_it_is(&with(&stored, at, &flipped), &format!("{flipped:x?}"));
                }
            }
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, b"abcdfghrstuwx", "every table was tried");
}

#[test]
fn a_damaged_queue_that_was_given_up_stays_as_it_is() {
    for stored in [save(&live(&mut |_, _| {})), with_tokens(), with_waits()] {
        for (at, chunk) in stored.iter().enumerate() {
            let step = if chunk.len() > 2000 { 7 } else { 1 };
            for (byte, bit) in (0..chunk.len()).flat_map(bits_of).step_by(step) {
                let mut flipped = chunk.clone();
                flipped[byte] ^= 1 << bit;
                let what = format!("bit {bit} of byte {byte} of chunk {at}");
                assert_stays_as_it_is(&with(&stored, at, &flipped), &what);
            }
        }
    }
}

#[test]
fn a_page_behind_what_comes_after_all_tasks_is_refused() {
    let stored = save(&live(&mut |_, _| {}));
    let last = stored.iter().rposition(|chunk| chunk[0] == b'p').unwrap();
    for behind in last + 1..stored.len() {
        let mut moved = stored.clone();
        moved[last..=behind].rotate_left(1);
        let kind = char::from(stored[behind][0]);
        assert!(load(&moved).is_err(), "{kind} before the last page");
        // A page that is refused, because it needs a group, would be stored before the other chunk.
        let kept = [0, behind, last].map(|at| stored[at].clone());
        assert_stays_as_it_is(&kept, &format!("{kind} and a page"));
    }
}

#[test]
fn hostile_lengths_are_refused_without_a_large_allocation() {
    let head = save(&Queue::new()).remove(0);
    let mut varints = Vec::new();
    for bits in [20, 24, 31, 32, 48, 63] {
        let mut varint = vec![0x80; bits / 7];
        varint.push(1 << (bits % 7));
        varints.push(varint);
    }
    varints.push(vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for varint in &varints {
        for before in [&[0u8][..], &[0, 0, 0], &[0, 0, 0, 2], &[0, 0, 0, 2, 0], &[0, 0, 0, 1, 0, 5, 1, 0]] {
            chunks.push([b"p", before, varint, &[1; 60]].concat());
        }
    }
    for kind in [b'e', b'r', b's', b'd', b'w', b'u', b'b', b'c', b'h', b'f'] {
        for lengths in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdd, 0, 0x10, 0, 0],
            &[0xdc, 0xff, 0xff],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
        ] {
            for inner in [
                &[0x92, 0, 0xc6, 0xff, 0xff, 0xff, 0xff][..],
                &[0xc6, 0x7f, 0xff, 0xff, 0xff],
                &[0xdb, 0xff, 0xff, 0xff, 0xff],
                &[],
            ] {
                chunks.push([&[kind], lengths, inner].concat());
            }
        }
    }
    LARGEST.set(0);
    for chunk in &chunks {
        assert!(load(&[head.clone(), chunk.clone()]).is_err(), "{chunk:x?}");
    }
    for at in 0..head.len() {
        for huge in [0xc6, 0xdb, 0xdd, 0xdf] {
            let lie = [&head[..at], &[huge, 0xff, 0xff, 0xff, 0xff], &head[at..]].concat();
            let _ = Queue::load_head(&lie);
        }
    }
    for huge in [0xdd, 0xdf, 0xc6, 0xdb] {
        for event in [
            &b""[..],
            b"\x81\xa4take\x91",
            b"\x81\xa5claim\x94\x00\xc4\x00\xc2",
            b"\x81\xa3req\x94",
            b"\x81\xa5stall\x91",
            b"\x81\xa3ack\x93\x92\x01\x01\xc2\x93\x01\x01",
            b"\x81\xa6extend\x93\x92\x01\x01\x01",
            b"\x81\xa6forget\x91",
            b"\x81\xa6config\x91",
            b"\x81\xa5after\x97\x92\x01\x01\x01\x01\xa1n",
            b"\x81\xa4open\x95",
            b"\x81\xa5close\x92",
            b"\x81\xa4told\x93\xc0\x01",
        ] {
            let bytes = [&EFFECT_HEAD[..], &[0x91], event, &[huge, 0xff, 0xff, 0xff, 0xff]].concat();
            assert!(Effect::decode(NAME, &bytes, &[]).is_err());
        }
        assert!(
            Effect::decode(NAME, &[&EFFECT_HEAD[..], &[huge, 0xff, 0xff, 0xff, 0xff]].concat(), &[]).is_err()
        );
    }
    for varint in &varints {
        for event in [
            &b"\x01"[..],
            b"\x03\x00",
            b"\x03\x00\x00\x00",
            b"\x05",
            b"\x05\x00\x00\x00\x01",
            b"\x06",
            b"\x0a",
            b"\x0b",
            // The parents of a push, the tasks that are told.
            b"\x14\x00\x00\x01\x00\x00",
            b"\x15\x00\x00",
        ] {
            for behind in [&[1; 60][..], &[]] {
                let bytes = [&[5], event, varint, behind].concat();
                assert!(Effect::decode(NAME, &bytes, &[]).is_err(), "{bytes:x?}");
            }
        }
    }
    let largest = LARGEST.get();
    assert!(largest <= 2 << 20, "{largest} bytes were asked for at once");
}

#[derive(Serialize, Clone)]
struct StoredSpent {
    ms: u64,
    part: u32,
}

#[derive(Serialize, Clone)]
struct StoredGroup {
    name: ByteBuf,
    limits: Option<()>,
    spent: StoredSpent,
    rests: bool,
}

#[test]
fn false_groups_are_refused() {
    let head = save(&Queue::new()).remove(0);
    let group = |name: &str, ms, part, rests| {
        Some(StoredGroup { name: ByteBuf::from(name), limits: None, spent: StoredSpent { ms, part }, rests })
    };
    let load_with = |groups: &[Option<StoredGroup>]| load(&[head.clone(), encoded(b"g", &groups)]);
    assert!(load_with(&[None, group("a", 1, 0, false)]).is_ok());
    for (what, lie) in [
        ("an instant that no clock shows", group("a", u64::MAX, 1, false)),
        ("a part of a rate that isn't there", group("a", 1, 1, false)),
        ("a rest without a rate", group("a", 1, 0, true)),
        ("no name", group("", 1, 0, false)),
        ("a name too long", group(&"x".repeat(257), 1, 0, false)),
    ] {
        assert!(load_with(&[lie]).is_err(), "{what}");
    }
    let twice = [group("a", 1, 0, false), group("a", 1, 0, false)];
    assert!(load_with(&twice).is_err(), "one name twice");
    let free: Vec<Option<StoredGroup>> = vec![None; 600_000];
    assert!(load_with(&free).is_err(), "a byte that becomes many");
}
