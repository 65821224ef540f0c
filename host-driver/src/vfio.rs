//! The VFIO transport: a PCI function of the kernel's `vfio-pci`, by legacy group and container.
//!
//! [`Function`] is the function itself: registers, DMA memory, interrupts, notices, reset;
//! [`VfioBus`] makes the bus of a twin card of it. Beneath, `device` holds the descriptors, with
//! `vfio-ioctls` for what it does well; `region` says what of a BAR is mapped, `iova` where DMA
//! memory goes, `interrupts` how events arrive. Unsafe code is in `sys` (kernel calls), `mmio`
//! (registers) and `dma` (shared memory), nowhere else.
//!
//! iommufd and VFIO cdevs are not used: `crate::pci` tells when a function offers nothing else.

mod bus;
mod device;
mod dma;
mod error;
mod function;
mod interrupts;
mod iova;
mod mmio;
mod region;
mod sys;

pub use bus::VfioBus;
pub use dma::Backing;
pub use error::{OpenError, ResetError};
pub use function::{Function, Keepsakes, Notice, Settings};
