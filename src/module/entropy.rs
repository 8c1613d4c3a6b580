//! Random bits from the server's generator, fetched in bulk, since it hashes a block at a time.

use std::cell::Cell;

use crate::api::context::random;

const POOL: usize = 64;

thread_local! {
    static BITS: Cell<([u8; POOL * 4], usize)> = const { Cell::new(([0; POOL * 4], POOL)) };
}

/// 32 bits that nobody can guess.
pub fn bits() -> u32 {
    let (mut pool, mut used) = BITS.get();
    if used >= POOL {
        pool = random();
        used = 0;
    }
    let word = pool.chunks_exact(4).nth(used).and_then(|word| <[u8; 4]>::try_from(word).ok());
    BITS.set((pool, used + 1));
    word.map_or(0, u32::from_le_bytes)
}
