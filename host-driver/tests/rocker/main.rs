//! The rocker driver against a scripted rocker in this process.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::cast_possible_truncation, reason = "the device cuts what it is given")]

mod adoption;
mod exactness;
mod faults;
mod forwarding;
mod lives;
mod model;
mod refusals;
mod rig;
