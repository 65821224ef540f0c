//! What is proved in a guest.

mod platform;
mod restart;
mod rocker;
mod transport;

use super::runner::Case;

/// All cases; those of one machine are neighbours.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        &platform::CASES[..],
        &transport::CASES,
        &restart::CASES,
        &rocker::CASES,
        &transport::WITHOUT_IOMMU,
    ]
    .concat()
}
