//! Card drivers: everything that touches a card, behind one trait.
//!
//! - [`nic`]: the traits `SmartNic` (operations, counters, health) and `CardQueue` (packets).
//! - [`twin`]: the driver of our reference card (`docs/nic-abi.md`), over any
//!   `twinpath_abi::bus::Bus`.
//! - [`rocker`]: the driver of QEMU's rocker switch, over any [`rocker::RockerIo`].
//! - [`pci`]: PCI functions in sysfs: discovery, binding, configuration space.
//! - [`vfio`]: the transport of a real PCI function through the kernel's VFIO.
//! - [`vfio_user`]: the transport of a twin card that another process serves, and its server.
//!
//! A driver knows nothing of pipelines or policy: it is told entries and places them. It never
//! waits and never reads a clock: every call takes the time, and bring-up, reset, completions and
//! deadlines move on with `poll`, so that a card in this process can be stepped between two calls.

mod digest;
mod gate;
pub mod nic;
pub mod pci;
pub mod rocker;
pub mod twin;
pub mod vfio;
pub mod vfio_user;
