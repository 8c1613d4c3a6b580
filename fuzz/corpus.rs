//! The inputs in `corpus/`, replayed without libFuzzer: a crash that was mended stays mended.

use std::fs;
use std::path::{Path, PathBuf};

use crate::copies::{first_effect, without_checksum};
use crate::parts::{join, mutate, split};
use crate::sample::live;
use crate::{arguments, calendar, effects, glob, stored};

/// Runs an input.
type Run = fn(&[u8]);

/// Each target with its name.
const TARGETS: [(&str, Run); 5] = [
    ("stored", stored::run),
    ("effects", effects::run),
    ("arguments", arguments::run),
    ("calendar", calendar::run),
    ("glob", glob::run),
];

fn fuzz_folder() -> PathBuf {
    // From the crate that is tested.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The inputs of a target.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz_folder().join("corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_input_of_the_corpora_passes() {
    for (target, run) in TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
        for (path, input) in inputs {
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                panic!("{}", path.display());
            }
        }
    }
}

#[test]
fn every_target_has_its_program() {
    for (target, _) in TARGETS {
        let program = fuzz_folder().join("fuzz_targets").join(format!("{target}.rs"));
        let text = fs::read_to_string(&program).unwrap_or_else(|error| panic!("{program:?}: {error}"));
        assert!(text.contains(&format!("fuzz_by_parts!(taskslot_fuzz::{target}::run)")), "{text}");
    }
    assert_eq!(fs::read_dir(fuzz_folder().join("fuzz_targets")).unwrap().count(), TARGETS.len());
}

#[test]
fn parts_that_are_joined_are_split_again_and_any_bytes_have_parts() {
    let parts: [&[u8]; 4] = [b"one", b"", b"\0\0\0\0\0", b"four"];
    assert_eq!(split(&join(&parts)), parts);
    assert_eq!(split(b""), Vec::<&[u8]>::new());
    assert_eq!(split(b"\x02\0\0"), Vec::<&[u8]>::new());
    assert_eq!(split(b"\xff\xff\xff\xffrest"), [b"rest"]);
}

#[test]
fn a_mutation_changes_one_part_within_the_size() {
    let parts: [&[u8]; 3] = [b"first", b"second", b"third"];
    let input = join(&parts);
    let grows = |buffer: &mut [u8], size: usize, most: usize| {
        assert!(size <= most && most <= buffer.len());
        buffer[..most].fill(b'x');
        most
    };
    for seed in 0..2_000 {
        for most in [input.len() + 20, input.len(), 7] {
            let mut buffer = vec![0; most.max(input.len())];
            buffer[..input.len()].copy_from_slice(&input);
            let size = mutate(&mut buffer, input.len(), most, seed, grows);
            assert!(size <= most, "{size} of {most}");
        }
    }
}

/// The first inputs: whatever a correct writer, a user or a peer would send.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let samples = fuzz_folder().join("../tests/engine/samples");
    for version in 1..=4 {
        let sample = fs::read(samples.join(format!("queue-v{version}.bin"))).unwrap();
        seeds.push(("stored", format!("sample-v{version}"), sample));
    }
    for version in 1..=5 {
        let sample = fs::read(samples.join(format!("effect-v{version}.bin"))).unwrap();
        let on_a_new_queue = [join(&[[0, 0]]), sample].concat();
        seeds.push(("effects", format!("sample-v{version}"), on_a_new_queue));
    }
    let mut age = 0u16;
    live(&mut |before, event| {
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        before.save(&mut |chunk| chunks.push(chunk.to_vec()));
        // Young queues are small, so they are mutated more thoroughly.
        if age % 8 == 4 && age < 80 {
            seeds.push(("stored", format!("age-{age:03}"), join(&chunks)));
        }
        // Without a checksum, so that a mutation is not refused at once.
        let mut parts = vec![age.to_le_bytes().to_vec(), without_checksum(&first_effect(event))];
        parts.extend(event.changes().payloads.iter().map(|payload| payload.to_vec()));
        if parts.iter().map(Vec::len).sum::<usize>() < 1_000 {
            seeds.push(("effects", format!("event-{age:03}"), join(&parts)));
        }
        age += 1;
    });
    for (nth, (pattern, text)) in [
        ("*", ""),
        ("h?llo", "hello"),
        ("h[^a-e]llo*", "hillo and more"),
        ("*user:\\*17*", "{\"to\": \"user:*17\"}"),
        ("[z-a]*[]\\]", "q"),
        ("a*b*c*a*b*c", "aabbccabcabcabcaabbcc"),
        ("?????????????????????????????????????????????????????????????????*a", "b"),
    ]
    .into_iter()
    .enumerate()
    {
        seeds.push(("glob", format!("pattern-{nth}"), join(&[pattern, text])));
    }
    seeds.extend(calendars());
    seeds.extend(commands());
    seeds
}

fn calendars() -> Vec<(&'static str, String, Vec<u8>)> {
    // One block for readers of version 1, one for later ones: a single type of local time at UTC, and a rule.
    let block =
        [&b"TZif2"[..], &[0; 15], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0X\0"]
            .concat();
    let file = |rule: &str| [&block[..], &block, b"\n", rule.as_bytes(), b"\n"].concat();
    let (winter, summer) = (1_768_000_000_000u64, 1_774_745_000_000u64);
    let of = |(nth, (expression, zone, file, instant)): (usize, (&str, &str, Vec<u8>, u64))| {
        let parts = [expression.as_bytes(), zone.as_bytes(), &file, &instant.to_le_bytes()];
        ("calendar", format!("expression-{nth}"), join(&parts))
    };
    [
        ("* * * * *", "UTC", Vec::new(), winter),
        ("*/20 9-17/4 1,15,L jan-NOV mon-SUN", "UTC", Vec::new(), winter),
        ("0 0 29 2 *", "UTC", Vec::new(), winter),
        ("30 2 * * *", "Europe/Berlin", Vec::new(), summer),
        ("*/10 * * * *", "America/New_York", Vec::new(), summer),
        ("0 0 31 2,4 5", "Africa/Monrovia", Vec::new(), 0),
        ("5 0 * * *", "Here", file("X-1Y,M3.5.0,M10.5.0/3"), summer),
        ("15 3 L * *", "Here", file("X24Y-24,J60/-100,J300/100"), winter),
        ("*/7 * * * 5", "Here", file(""), winter),
    ]
    .into_iter()
    .enumerate()
    .map(of)
    .collect()
}

fn commands() -> Vec<(&'static str, String, Vec<u8>)> {
    let of = |(nth, (steps, args)): (usize, (&[u8], &str))| {
        let parts: Vec<&[u8]> = std::iter::once(steps).chain(args.split(' ').map(str::as_bytes)).collect();
        ("arguments", format!("command-{nth}"), join(&parts))
    };
    [
        (&[1, 4, 7, 4, 8, 4][..], "TASK.CLAIM mail COUNT 5 LEASE 900 NOACK"),
        (&[1, 15], "TASK.ACK mail HANDLES 2 1700000000000-0@7-0123abcd 1700000000001-0@8-89abcdef"),
        (&[1, 14], "TASK.CANCEL mail IDS 3 1-1 18446744073709551615-0 0-0"),
        (&[1, 14], "TASK.GET {mail}:1 UNIQUE token"),
        (&[1, 9, 2, 17, 5, 12], "TASK.PUSH mail 2 a b WORKER me"),
        (&[7, 39, 71, 103, 7], "X -9223372036854775808 9223372036854775807 1000 -0 007"),
        (&[1, 6, 11], "# version\u{a0}2026f 2026zz exponential 100 # \u{1}\u{1}a\u{1}b"),
        (&[16, 10, 13], "Y 1-2@3-00000000 1 5-5 6-6"),
    ]
    .into_iter()
    .enumerate()
    .map(of)
    .collect()
}

#[test]
#[ignore = "writes the first inputs: cargo test -p taskslot-node --test corpus -- --ignored first_inputs"]
fn the_first_inputs_are_written() {
    for (target, name, input) in seeds() {
        let folder = fuzz_folder().join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), input).unwrap();
    }
}
