//! Card drivers: everything that touches a card, behind one trait.
//!
//! - [`nic`]: the trait `SmartNic` and its packet queues.
pub mod nic;
