//! The vfio-user transport: a card that lives in another process, behind a Unix socket.
//!
//! Messages follow the protocol's specification (libvfio-user `docs/vfio-user.rst`, version 0.1);
//! all of them are for setting up. BAR 0 is a memory file of the card's process that both map, DMA
//! memory one of the driver's, interrupts are event descriptors: packets and flow operations send
//! no message.
//!
//! - [`message`]: bytes of every message, in both directions; pure.
//! - [`connection`]: whole messages with their descriptors over a socket, never waiting for long.
//! - [`client`]: the driver's end, call by call; [`bus`]: `Bus` over it, which outlives a
//!   connection: a dead function reads as all ones, and [`bus::RemoteBus::connect`] takes up the
//!   next one at the same addresses.
//! - [`server`]: the card's end for one client at a time; [`memory`]: `CardMemory` for the card.
//! - [`shared`]: memory another process writes too; [`sealed`]: the files it is made of;
//!   [`identity`]: the card's PCI configuration space.
//!
//! The peer is not trusted: lengths, counts and identities are checked, files must be sealed
//! against truncation (a shorter file would kill whoever maps it), and every wait ends.

mod arena;
mod bell;
pub mod bus;
pub mod client;
pub mod connection;
pub mod identity;
pub mod memory;
pub mod message;
pub mod sealed;
pub mod server;
pub mod shared;

/// Region of the configuration space (VFIO's numbering for PCI).
pub const CONFIG_REGION: u32 = 7;

/// Number of regions of a PCI device.
pub const REGIONS: u32 = 9;
