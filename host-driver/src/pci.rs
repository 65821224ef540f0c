//! PCI functions as the kernel's files show them: addresses, configuration space, discovery, binding.
//!
//! [`Sysfs`] is the tree of those files. On it: which network functions there are (`discover`),
//! what keeps VFIO from one (`readiness`), which interfaces it carries (`interface`), and how it
//! changes drivers (`bind`). Nothing here opens VFIO.

pub mod address;
pub mod bind;
pub mod config;
pub mod discover;
mod interface;
pub mod readiness;
mod sysfs;
#[cfg(test)]
mod testing;

pub use address::{Address, AddressError};
pub use config::ConfigSnapshot;
pub use discover::NetworkFunction;
pub use interface::Interface;
pub use readiness::{Obstacle, Process};
pub use sysfs::Sysfs;
