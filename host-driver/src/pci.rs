//! PCI functions as sysfs shows them: addresses, configuration space, discovery, binding.

pub mod address;

pub use address::{Address, AddressError};
