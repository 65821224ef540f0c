//! The simulated twin card, written from `docs/nic-abi.md` alone.
//!
//! [`Card`] is stepped: frames go in with [`Card::port_in`], time and host requests are worked off
//! with [`Card::step`], frames come out with [`Card::port_out`]. All else happens in BAR and DMA
//! memory, through `twinpath_abi::bus::CardMemory`. Same calls, same result: chance is a seed that is an
//! argument, no clock is read. Time is nanoseconds.
//!
//! - [`parser`], `decap`: frame to key; `entries`, `tables`: banks and the ternary table on raw entry
//!   words.
//! - `edit`, `checksum`, `encap`, `packet`: what an entry does to a frame; sums are computed in full.
//! - `way`: a packet's way through all of them.
//! - `ports`, `receive`, `transmit`, `commands`, `completions`, `hold`, `registers`: the machinery.
//! - `mirror`: samples for a host that checks the card; [`bugs`]: what such a host must find; [`fault`]: what
//!   goes wrong by chance or by a script.
//! - [`profile`]: geometry and latencies.
#![forbid(unsafe_code)]

pub mod bugs;
mod card;
mod checksum;
mod commands;
mod completions;
mod decap;
mod edit;
mod encap;
mod entries;
mod execute;
pub mod fault;
mod hold;
mod mirror;
mod packet;
pub mod parser;
mod pool;
mod ports;
pub mod profile;
mod receive;
mod registers;
mod tables;
mod transmit;
mod way;

pub use card::Card;
pub use profile::Profile;
