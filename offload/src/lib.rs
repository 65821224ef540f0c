//! Placement.
#![forbid(unsafe_code)]
