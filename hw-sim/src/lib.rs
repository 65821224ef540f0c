//! The simulated twin card.
#![forbid(unsafe_code)]
