//! The arguments of a command, and the small texts that clients, peers and files name things by. The first part of an
//! input says how the arguments are read, a byte for each step. The others are the arguments.

use taskslot_engine::{BATCH_MAX, Cursor, Handle, Headers, NAME_MAX_BYTES, SETTINGS, TaskId};
use taskslot_node::{ArgError, Args, OneOrMany, QueueKey, Shown, parse_integer, release_of_zones, slots};

use crate::parts::split;

const OPTIONS: [&str; 6] = ["COUNT", "LEASE", "WORKER", "BLOCK", "GROUP", "NOACK"];

/// Reads the arguments step by step, then each as every kind of text.
pub fn run(input: &[u8]) {
    let parts = split(input);
    let Some((steps, args)) = parts.split_first() else { return };
    let mut cursor = Args::new(args);
    for step in *steps {
        let left = cursor.left();
        let went = take_step(&mut cursor, *step);
        assert!(cursor.left() <= left, "a cursor never goes back");
        // A command ends with its first error.
        if went.is_err() {
            break;
        }
    }
    assert_eq!(cursor.left() == 0, cursor.finish().is_ok());
    args.iter().for_each(|text| is_read_as_anything(text));
}

fn take_step(args: &mut Args<'_, &[u8]>, step: u8) -> Result<(), ArgError> {
    let bounds = [i64::MIN..=i64::MAX, 0..=i64::MAX, 1..=1000, -1..=0][usize::from(step / 32 % 4)].clone();
    match step % 18 {
        0 => args.next().map(drop),
        1 => args.bytes().map(drop),
        2 => args.take(usize::from(step / 18)).map(|taken| assert_eq!(taken.len(), usize::from(step / 18))),
        3 => {
            args.word(OPTIONS[usize::from(step) % OPTIONS.len()]);
            Ok(())
        }
        4 | 5 => args.option(&OPTIONS).map(|found| assert!(found.is_none_or(|word| OPTIONS.contains(&word)))),
        6 => args.one_of(&OPTIONS).map(|at| assert!(at < OPTIONS.len())),
        7 => args.integer("n", bounds.clone()).map(|number| assert!(bounds.contains(&number))),
        8 => args.unsigned("n", 0..=1000).map(|number| assert!(number <= 1000)),
        9 => args.number_of("values", "COUNT", 0..=1000).map(|number| assert!(number <= 1000)),
        10 => args.ids("IDS").map(|ids| assert!((1..=BATCH_MAX).contains(&ids.len()))),
        11 => args.count("COUNT").map(|count| assert!((1..=BATCH_MAX).contains(&count))),
        12 => args.name("WORKER").map(|name| assert!((1..=NAME_MAX_BYTES).contains(&name.len()))),
        13 => args.id().map(drop),
        14 => args.tasks().map(|tasks| is_counted(&tasks)),
        15 => args.handles().map(|handles| is_counted(&handles)),
        16 => args.handle().map(drop),
        _ => {
            args.begin_options();
            Ok(())
        }
    }
}

fn is_counted<T>(values: &OneOrMany<T>) {
    assert!((1..=BATCH_MAX).contains(&values.as_slice().len()));
}

/// Reads a text as each thing that a text can name. What is read is written as it was.
fn is_read_as_anything(text: &[u8]) {
    let utf8 = std::str::from_utf8(text).ok();
    let number: Option<i64> = utf8.and_then(|text| text.parse().ok());
    assert_eq!(
        parse_integer(text),
        number.filter(|number| number.to_string().as_bytes() == text),
        "{text:?}"
    );
    if let Some(id) = TaskId::parse(text) {
        assert_eq!(id.to_string().as_bytes(), text);
    }
    if let Some(handle) = Handle::parse(text) {
        assert_eq!(handle.to_string().as_bytes(), text);
    }
    if let Some(cursor) = Cursor::parse(text) {
        assert!(cursor.to_string().as_bytes() == text || (cursor, text) == (Cursor::default(), b"0-0"));
    }
    for rule in &SETTINGS {
        assert!(rule.parse(text).is_none_or(|value| rule.allows(value)), "{}", rule.name);
    }
    let pairs = Headers(text).pairs();
    assert_eq!(Headers(&Headers::pack(&pairs)).pairs(), pairs);
    if let Some(release) = release_of_zones(text) {
        assert!((5..=6).contains(&release.len()), "{release}");
    }
    for shown in [Shown::of(text).to_string(), QueueKey::new(0, text).to_string()] {
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && shown.len() < 200, "{shown}");
    }
    assert_eq!(slots::of_key(text), slot(text), "{text:?}");
}

/// The slot of a key, by the specification of Redis Cluster: bit by bit, without a table.
fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let close = open.and_then(|open| key[open + 1..].iter().position(|&byte| byte == b'}'));
    let hashed = match (open, close) {
        (Some(open), Some(length)) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    };
    let crc =
        hashed.iter().fold(0u16, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
    crc % 16384
}
