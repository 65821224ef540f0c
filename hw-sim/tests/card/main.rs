//! The card as a host sees it, over shared memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

mod behaviour;
mod fault_states;
mod faults;
mod garbage;
mod holds;
mod host;
mod placement;
