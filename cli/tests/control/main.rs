//! The control socket by process: rules at run time, faults of the simulated card, orders to the
//! card, and replacement of a whole rule file under traffic.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

mod fault;
mod replace;
mod rules;
mod running;
