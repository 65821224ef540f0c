//! What can go wrong with a function held through VFIO: one line, with the remedy.

use crate::pci::Address;
use crate::pci::config::ConfigError;
use crate::pci::readiness::Obstacle;
use std::io;
use vfio_ioctls::VfioError;

/// Why a function was not opened. Causes are part of the line, so that the remedy stands last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Seen in sysfs beforehand.
    #[error("{address}: {obstacle}; {}", obstacle.remedy(*address))]
    NotReady {
        /// The function.
        address: Address,
        /// What stands in the way.
        obstacle: Obstacle,
    },
    /// Somebody else holds the group.
    #[error(
        "{address}: /dev/vfio/{group} is in use; end the process that holds it: fuser -v /dev/vfio/{group}"
    )]
    InUse {
        /// The function.
        address: Address,
        /// Its group.
        group: String,
    },
    /// A function of the group is bound to a driver that VFIO does not allow beside it.
    #[error(
        "{address}: its iommu group is in use by another driver; twinpath devices shows by which function"
    )]
    GroupNotViable {
        /// The function.
        address: Address,
    },
    /// The IOMMU does not remap interrupts.
    #[error(
        "{address}: the iommu cannot isolate interrupts; turn interrupt remapping on in the \
         firmware, or where every user is trusted: \
         echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
    )]
    UnsafeInterrupts {
        /// The function.
        address: Address,
    },
    /// VFIO refused a step.
    #[error("{address}: vfio refused: {error}")]
    Vfio {
        /// The function.
        address: Address,
        /// By the crate that makes the calls.
        error: VfioError,
    },
    /// The kernel allows no more pinned memory.
    #[error(
        "{address}: {wanted} bytes of dma memory cannot be pinned under the memory lock limit; \
         ulimit -l {}, or LimitMEMLOCK=infinity in the unit",
        wanted / 1024 + 1
    )]
    MemoryLock {
        /// The function.
        address: Address,
        /// Bytes of DMA memory.
        wanted: usize,
    },
    /// The kernel has not that much memory.
    #[error("{address}: no {wanted} bytes of dma memory: {error}")]
    Memory {
        /// The function.
        address: Address,
        /// Bytes of DMA memory.
        wanted: usize,
        /// By the kernel.
        error: io::Error,
    },
    /// No bus addresses for the DMA memory.
    #[error("{address}: the iommu has no room for {wanted} bytes of dma memory")]
    NoAddresses {
        /// The function.
        address: Address,
        /// Bytes of DMA memory.
        wanted: usize,
    },
    /// Configuration space makes no sense.
    #[error("{address}: {error}")]
    Config {
        /// The function.
        address: Address,
        /// What.
        error: ConfigError,
    },
    /// BAR 0 is absent, not memory, or longer than 4 GiB.
    #[error("{address}: bar 0 is no memory of at most 4 GiB ({bytes} bytes)")]
    NoRegisters {
        /// The function.
        address: Address,
        /// Bytes of BAR 0.
        bytes: u64,
    },
    /// Event descriptors, usually for want of file descriptors.
    #[error("{address}: no event descriptors: {error}; ulimit -n 4096")]
    Events {
        /// The function.
        address: Address,
        /// By the kernel.
        error: io::Error,
    },
    /// Another call failed.
    #[error("{address}: {call}: {error}")]
    Call {
        /// The function.
        address: Address,
        /// Which call.
        call: &'static str,
        /// By the kernel.
        error: io::Error,
    },
}

impl OpenError {
    /// What the errors of `vfio-ioctls` at open mean.
    pub(super) fn refused(address: Address, error: VfioError) -> Self {
        match error {
            VfioError::OpenGroup(error, group) if error.kind() == io::ErrorKind::ResourceBusy => {
                Self::InUse { address, group }
            }
            VfioError::GroupViable => Self::GroupNotViable { address },
            VfioError::ContainerSetIOMMU(error) if error.errno() == libc::EPERM => {
                Self::UnsafeInterrupts { address }
            }
            error => Self::Vfio { address, error },
        }
    }

    /// What an error of the map call means.
    pub(super) fn not_mapped(address: Address, wanted: usize, error: VfioError) -> Self {
        match error {
            VfioError::IommuDmaMap(error) if error.errno() == libc::ENOMEM => {
                Self::MemoryLock { address, wanted }
            }
            error => Self::Vfio { address, error },
        }
    }
}

/// Why a function was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The kernel knows no way to reset it alone (`reset_method` in sysfs is absent or empty).
    #[error("{address}: the function has no reset method")]
    Unsupported {
        /// The function.
        address: Address,
    },
    /// The reset failed.
    #[error("{address}: reset: {error}")]
    Failed {
        /// The function.
        address: Address,
        /// By the kernel.
        error: io::Error,
    },
}

impl ResetError {
    /// What the error of the reset call means.
    pub(super) fn new(address: Address, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOTTY) => Self::Unsupported { address },
            _ => Self::Failed { address, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::errno::Error as Errno;

    fn address() -> Address {
        "0000:03:00.0".parse().unwrap()
    }

    #[test]
    fn what_the_kernel_refuses_names_its_remedy() {
        let busy = VfioError::OpenGroup(io::Error::from_raw_os_error(libc::EBUSY), "7".into());
        let eperm = VfioError::ContainerSetIOMMU(Errno::new(libc::EPERM));
        for (source, remedy) in [
            (busy, "fuser -v /dev/vfio/7"),
            (VfioError::GroupViable, "twinpath devices"),
            (eperm, "allow_unsafe_interrupts"),
            (VfioError::VfioApiVersion, "vfio refused"),
        ] {
            let line = OpenError::refused(address(), source).to_string();
            assert!(line.contains(remedy) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn too_small_a_memory_lock_limit_is_told_with_the_limit_needed() {
        let source = VfioError::IommuDmaMap(Errno::new(libc::ENOMEM));
        let line = OpenError::not_mapped(address(), 64 << 20, source).to_string();
        assert!(line.contains("ulimit -l 65537"), "{line}");
    }

    #[test]
    fn no_reset_method_differs_from_a_failed_reset() {
        let error = |number| ResetError::new(address(), io::Error::from_raw_os_error(number));
        assert!(matches!(error(libc::EINVAL), ResetError::Unsupported { .. }));
        assert!(matches!(error(libc::ENOTTY), ResetError::Unsupported { .. }));
        assert!(matches!(error(libc::EIO), ResetError::Failed { .. }));
    }
}
