//! The software path.

pub mod wire;
