//! The VFIO transport: a PCI function of the kernel's `vfio-pci`, by legacy group and container.

mod function;

pub use function::{Function, Notice, OpenError, ResetError, Settings};
