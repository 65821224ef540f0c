//! The simulated twin card.
#![forbid(unsafe_code)]

mod checksum;
mod decap;
mod edit;
mod encap;
mod packet;
mod parser;
