//! The edges of the code: bounds that are rarely reached, and branches that rarely run.
//!
//! A normal build has large bounds: pages of 256 tasks, steps of 128. So most tests never reach them. A build with the
//! feature `tiny` has bounds of a few tasks, and the same tests reach them all the time. It also counts the branches
//! that are marked as rare, and `make test-tiny` names those that no test has reached. In a normal build a mark is
//! nothing.

#![forbid(unsafe_code)]

#[cfg(feature = "tiny")]
mod branch;

#[cfg(feature = "tiny")]
pub use branch::Branch;

/// Whether this is the build with tiny bounds.
pub const TINY: bool = cfg!(feature = "tiny");

/// A bound: `normal`, or `tiny` in the build with tiny bounds.
pub const fn edge<T: Copy>(normal: T, tiny: T) -> T {
    if TINY { tiny } else { normal }
}

/// Marks a branch that rarely runs. Each has a name of its own, which says what has happened.
#[cfg(feature = "tiny")]
#[macro_export]
macro_rules! rare {
    ($name:literal) => {{
        static BRANCH: $crate::Branch = $crate::Branch::new($name);
        BRANCH.count();
    }};
}

/// Marks a branch that rarely runs. Only the build with tiny bounds counts it.
#[cfg(not(feature = "tiny"))]
#[macro_export]
macro_rules! rare {
    ($name:literal) => {{
        let _: &str = $name;
    }};
}
