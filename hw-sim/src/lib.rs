//! The simulated twin card.
#![forbid(unsafe_code)]

mod checksum;
mod decap;
mod packet;
mod parser;
