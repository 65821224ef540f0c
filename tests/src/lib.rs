//! System tests: shared harness.
//!
//! - [`bench_card`]: the simulated card with its driver, stepped by hand.
//! - [`heap`]: counts heap bytes, for benchmarks.
//! - [`judge`]: cases (ports, rules, packets), outcomes of a device under test, their comparison.
//! - [`ovs`]: Open vSwitch 3.1 as the independent judge, without root.
//! - [`guest`]: QEMU with a real kernel, VFIO and a `rocker` switch; `./check guest`.
//! - [`generated`]: random cases; [`binary`]: the program as a device.
//! - [`capture`]: reads the captures that dummy ports write.
//! - `leftovers`: what killed tests left.
//! - [`mask`]: what Open vSwitch does otherwise on purpose.
//! - [`netns`]: network namespaces joined only by a running `twinpath`.
//! - [`traffic`]: senders and receivers inside them.
//! - [`placement`]: the benchmark of which flows live in the card.
//! - [`readings`]: specification, software path and card in one random world.
//! - [`world`]: the seeded world; `./check world`.
//! - [`tool`]: other programs; a missing one is a failure with its remedy.

#![expect(clippy::missing_panics_doc, reason = "a test harness panics where a test fails")]

pub mod bench_card;
pub mod binary;
pub mod capture;
pub mod generated;
pub mod guest;
pub mod heap;
pub mod judge;
mod leftovers;
pub mod mask;
pub mod netns;
pub mod ovs;
pub mod placement;
pub mod readings;
pub mod tool;
pub mod traffic;
pub mod world;
