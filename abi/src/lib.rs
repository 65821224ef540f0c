//! Contract with the twin card: what `docs/nic-abi.md` says, as constants and encodings.
//!
//! No behaviour. Layers, bottom up:
//!
//! - [`bus`]: how a driver reaches a card ([`bus::Bus`]: BAR memory, DMA arena, interrupts) and how
//!   a card reaches the host ([`bus::CardMemory`]); [`memory`]: both ends in one process.
//! - [`register`]: the register map; [`capability`]: the capability block.
//! - [`command`], [`completion`]: the command ring and what answers; [`entry`], [`tunnel`],
//!   [`port`]: images that commands carry; [`sweep`]: counter records.
//! - [`receive`], [`transmit`]: descriptors of the packet rings.
//! - [`key`]: offsets in the 64-byte key; [`hash`]: the exact-match hash.
#![forbid(unsafe_code)]

pub mod bus;
pub mod capability;
pub mod command;
pub mod completion;
pub mod entry;
pub mod hash;
pub mod key;
pub mod memory;
pub mod port;
pub mod receive;
pub mod register;
pub mod sweep;
pub mod transmit;
pub mod tunnel;
mod words;

/// Version of the contract: major in the upper half, minor in the lower (`docs/nic-abi.md` §2.1).
pub const ABI_VERSION: u32 = 0x0001_0004;
