//! Random bits from a stream cipher, whose key comes from the server's own generator. That generator computes a hash for
//! every few bytes, which takes longer than a whole claim.

use std::cell::RefCell;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use taskslot_api::context::random;

thread_local! {
    static BITS: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// 32 random bits that can't be predicted.
pub fn bits() -> u32 {
    BITS.with_borrow_mut(|bits| bits.get_or_insert_with(|| ChaCha8Rng::from_seed(random())).next_u32())
}
