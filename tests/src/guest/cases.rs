//! What is proved in a guest.

mod platform;

use super::runner::Case;

/// All cases; those of one machine are neighbours.
#[must_use]
pub fn all() -> Vec<Case> {
    platform::CASES.to_vec()
}
