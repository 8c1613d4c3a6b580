//! An input: a list of parts, each preceded by its length in four bytes, as the files in `tests/engine/samples` are.
//!
//! Most of what is fuzzed reads several texts: the chunks of a file, an effect and its payloads, the arguments of a
//! command. A mutation of plain bytes would mostly damage the lengths. So parts are mutated one by one.

use crate::copies::Dice;

/// The most parts that a mutation adds to.
const PARTS_MAX: usize = 64;

/// The parts of an input. A length beyond the end means the rest, so every input has parts.
pub fn split(input: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut parts) = (input, Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (part, others) = behind.split_at(length.min(behind.len()));
        parts.push(part);
        rest = others;
    }
    parts
}

/// The input with these parts.
pub fn join<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let part = |part: &P| [&(part.as_ref().len() as u32).to_le_bytes(), part.as_ref()].concat();
    parts.iter().flat_map(part).collect()
}

/// Changes `buffer`, of which the first `size` bytes are an input, into another input of at most `most` bytes, and
/// returns its size. `bytes` is libFuzzer's own mutation of plain bytes: of a buffer, a size and a largest size.
pub fn mutate(
    buffer: &mut [u8],
    size: usize,
    most: usize,
    seed: u32,
    bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut dice = Dice(seed.into());
    let size = size.min(most);
    // Now and then the whole, so that an input can also be crossed with another one.
    if dice.below(16) == 0 {
        return bytes(buffer, size, most);
    }
    let mut parts: Vec<Vec<u8>> = split(&buffer[..size]).into_iter().map(<[u8]>::to_vec).collect();
    let at = |dice: &mut Dice, parts: &[Vec<u8>]| dice.below(parts.len() as u64) as usize;
    let place = at(&mut dice, &parts);
    match dice.below(12) {
        _ if parts.is_empty() => parts.push(Vec::new()),
        0 if parts.len() < PARTS_MAX => parts.insert(place, parts[at(&mut dice, &parts)].clone()),
        1 if parts.len() > 1 => _ = parts.remove(place),
        2 => {
            let other = at(&mut dice, &parts);
            parts.swap(place, other);
        }
        _ => {
            let others = join(&parts).len() - parts[place].len();
            let part = &mut parts[place];
            let length = part.len();
            part.resize(most.saturating_sub(others).max(length + 1), 0);
            let (capacity, whole) = (part.len(), &mut part[..]);
            let length = bytes(whole, length, capacity);
            part.truncate(length);
        }
    }
    let mutated = join(&parts);
    let size = mutated.len().min(most);
    buffer[..size].copy_from_slice(&mutated[..size]);
    size
}

/// A program that fuzzes a target with libFuzzer, and mutates part by part.
#[macro_export]
macro_rules! fuzz_by_parts {
    ($target:path) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $target(input));
        libfuzzer_sys::fuzz_mutator!(|buffer: &mut [u8], size: usize, most: usize, seed: u32| {
            $crate::parts::mutate(buffer, size, most, seed, libfuzzer_sys::fuzzer_mutate)
        });
    };
}
