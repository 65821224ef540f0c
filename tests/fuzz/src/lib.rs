//! Fuzz targets: every way by which strangers' bytes come in, each a plain function of bytes.
//!
//! A target returns when all is well and panics when not. Each says in its file what it proves
//! beside that nothing panics, overflows, hangs or allocates without bound.
//!
//! - `./check fuzz`: each target for 10 s with libFuzzer; `./check fuzz long [TARGET] [MINUTES]`.
//! - `corpus/TARGET`: seeds, small ones; `regressions/TARGET`: what once crashed. `cargo test` runs
//!   all of them without libFuzzer.
//! - `cargo run -p twinpath-fuzz -- TARGET FILE...`: one input, to debug.

pub mod script;
pub mod target;
