//! The card as a host sees it, over shared memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

mod behaviour;
mod garbage;
mod host;
mod placement;
