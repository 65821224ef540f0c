//! Card drivers: everything that touches a card, behind one trait.
//!
//! - [`nic`]: the trait `SmartNic` and its packet queues.
//! - [`twin`]: the driver of our reference card.
pub mod nic;
pub mod twin;
