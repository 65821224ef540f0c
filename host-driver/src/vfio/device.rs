//! The device behind a function: container, group and device descriptors, and what is asked of them.

use super::dma::{Arena, Backing, HUGEPAGE};
use super::error::{OpenError, ResetError};
use super::interrupts::Interrupts;
use super::iova::IommuInfo;
use super::mmio::{Bar, Region};
use super::region::{Description, RegionInfo};
use super::sys;
use crate::pci::Address;
use crate::pci::config::{BUS_MASTER, COMMAND, CONFIG_BYTES, ConfigSnapshot, MEMORY, Msix};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use twinpath_abi::bus::Iova;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
};
use vfio_ioctls::{VfioContainer, VfioDevice};
use vmm_sys_util::eventfd::EventFd;

/// An open device.
pub(super) struct Device {
    address: Address,
    /// Both are there until the drop.
    held: Option<Held>,
    file: Option<Arc<File>>,
    /// Whether the kernel waits for us to let go of it.
    is_leaving: AtomicBool,
}

/// What keeps the device ours.
enum Held {
    /// Opened by this process.
    Opened {
        /// The device.
        device: VfioDevice,
        /// Its container.
        container: Arc<VfioContainer>,
    },
    /// Opened by a process that is gone. An open device holds its group, and a group its container.
    Resumed {
        /// The container.
        container: OwnedFd,
    },
}

impl Device {
    /// Opens the function's group in a container of its own, and the function.
    ///
    /// # Errors
    /// What VFIO refuses.
    pub(super) fn open(address: Address) -> Result<Self, OpenError> {
        let refused = |source| OpenError::refused(address, source);
        let container = Arc::new(VfioContainer::new(None).map_err(refused)?);
        let ours: Arc<VfioContainer> = Arc::clone(&container);
        let device = VfioDevice::new(&sysfs_path(address), ours, false).map_err(refused)?;
        let file = sys::duplicate(&device).map_err(|error| OpenError::Call {
            address,
            call: "dup",
            error,
        })?;
        Ok(Self::new(address, Held::Opened { device, container }, file))
    }

    /// The device of a process that is gone.
    pub(super) fn resume(address: Address, device: OwnedFd, container: OwnedFd) -> Self {
        Self::new(address, Held::Resumed { container }, File::from(device))
    }

    fn new(address: Address, held: Held, file: File) -> Self {
        let is_leaving = AtomicBool::new(false);
        Self { address, held: Some(held), file: Some(Arc::new(file)), is_leaving }
    }

    /// Descriptors of the device and of its container.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(super) fn descriptors(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let device = self.file().as_fd().try_clone_to_owned()?;
        Ok((device, self.container().try_clone_to_owned()?))
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("there until the drop")
    }

    fn container(&self) -> BorrowedFd<'_> {
        match self.held() {
            Held::Opened { container, .. } => sys::container(container),
            Held::Resumed { container } => container.as_fd(),
        }
    }

    fn file(&self) -> &Arc<File> {
        self.file.as_ref().expect("there until the drop")
    }

    /// A region as the kernel describes it; one that it does not know has no bytes.
    fn region(&self, index: u32) -> Description {
        match self.held() {
            Held::Opened { device, .. } => Description {
                flags: device.get_region_flags(index),
                bytes: device.get_region_size(index),
                offset: device.get_region_offset(index),
                capabilities: device.get_region_caps(index),
            },
            Held::Resumed { .. } => {
                let bytes = sys::region_info(self.file(), index);
                bytes.ok().and_then(|bytes| Description::parse(&bytes)).unwrap_or_default()
            }
        }
    }

    /// Offset of configuration space in the device's file.
    fn config_offset(&self) -> u64 {
        self.region(VFIO_PCI_CONFIG_REGION_INDEX).offset
    }

    /// Copies configuration space.
    ///
    /// # Errors
    /// When it cannot be read, or nothing answers.
    pub(super) fn config(&self) -> Result<ConfigSnapshot, OpenError> {
        let address = self.address;
        let length = self.region(VFIO_PCI_CONFIG_REGION_INDEX).bytes;
        let length = usize::try_from(length).unwrap_or(CONFIG_BYTES).min(CONFIG_BYTES);
        let mut bytes = vec![0; length];
        self.file()
            .read_exact_at(&mut bytes, self.config_offset())
            .map_err(|error| OpenError::Call { address, call: "read of config space", error })?;
        ConfigSnapshot::new(&bytes).map_err(|error| OpenError::Config { address, error })
    }

    /// Notes that the kernel waits for us to let go of it.
    pub(super) fn note_removal(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether something answers: the vendor id is not all ones.
    pub(super) fn is_present(&self) -> bool {
        let mut vendor = [0; 2];
        let read = self.file().read_exact_at(&mut vendor, self.config_offset());
        read.is_ok() && vendor != [0xff; 2]
    }

    /// Sets and clears bits of the command register.
    fn command(&self, set: u16, clear: u16) -> io::Result<()> {
        let (mut bytes, at) = ([0; 2], self.config_offset() + COMMAND as u64);
        self.file().read_exact_at(&mut bytes, at)?;
        let value = u16::from_le_bytes(bytes) & !clear | set;
        self.file().write_all_at(&value.to_le_bytes(), at)
    }

    /// Lets the device read and write memory.
    pub(super) fn start_dma(&self) -> io::Result<()> {
        self.command(BUS_MASTER | MEMORY, 0)
    }

    /// Keeps the device from memory; its registers stay.
    pub(super) fn stop_dma(&self) -> io::Result<()> {
        self.command(MEMORY, BUS_MASTER)
    }

    /// Maps BAR 0.
    ///
    /// # Errors
    /// When it is no memory, or not mapped.
    pub(super) fn bar(&self, msix: Option<Msix>) -> Result<Bar, OpenError> {
        let (address, index) = (self.address, VFIO_PCI_BAR0_REGION_INDEX);
        let Description { flags, bytes, offset, capabilities } = self.region(index);
        let length = u32::try_from(bytes).ok().filter(|length| *length > 0);
        let length = length.ok_or(OpenError::NoRegisters { address, bytes })?;
        let info = RegionInfo { bar: 0, offset, length, flags, capabilities };
        let region: Region = info.region(msix);
        Bar::map(Arc::clone(self.file()), &region).map_err(|error| OpenError::Call {
            address,
            call: "mmap of bar 0",
            error,
        })
    }

    /// DMA memory, mapped in the IOMMU.
    ///
    /// # Errors
    /// No memory, no addresses, or a limit on pinned memory.
    pub(super) fn arena(&self, wanted: usize) -> Result<Arena, OpenError> {
        let address = self.address;
        let mut arena =
            Arena::new(wanted).map_err(|error| OpenError::Memory { address, wanted, error })?;
        if arena.backing() == Backing::Pages && arena.bytes() >= HUGEPAGE {
            let pages = wanted.div_ceil(HUGEPAGE);
            tracing::warn!(
                "{address}: dma memory is in ordinary pages, for want of {pages} free hugepages; \
                 sysctl vm.nr_hugepages={pages}"
            );
        }
        self.place(&mut arena, wanted)?;
        if let Held::Opened { container, .. } = self.held() {
            sys::map(container, &arena)
                .map_err(|source| OpenError::not_mapped(address, wanted, source))?;
        }
        Ok(arena)
    }

    /// The DMA memory of a process that is gone, which is mapped in the IOMMU.
    ///
    /// # Errors
    /// It is of another size.
    pub(super) fn resume_arena(&self, file: File, wanted: usize) -> Result<Arena, OpenError> {
        let address = self.address;
        let mut arena = Arena::resume(file, wanted).map_err(|error| OpenError::Memory {
            address,
            wanted,
            error,
        })?;
        self.place(&mut arena, wanted)?;
        Ok(arena)
    }

    /// Says where the device sees the memory: as long as the IOMMU's ranges are the same, that is the
    /// same place.
    fn place(&self, arena: &mut Arena, wanted: usize) -> Result<(), OpenError> {
        let address = self.address;
        let call = |error| OpenError::Call { address, call: "VFIO_IOMMU_GET_INFO", error };
        let info = sys::iommu_info(self.container()).map_err(call)?;
        let info = IommuInfo::parse(&info)
            .ok_or_else(|| call(io::Error::from(io::ErrorKind::InvalidData)))?;
        let base = info
            .place(arena.bytes() as u64, HUGEPAGE as u64)
            .ok_or(OpenError::NoAddresses { address, wanted })?;
        arena.place(Iova(base));
        tracing::debug!(
            "{address}: {} bytes of dma memory at {base:#x}, {:?} mappings left",
            arena.bytes(),
            info.mappings_left
        );
        Ok(())
    }

    /// MSI-X vectors the function has.
    pub(super) fn vectors(&self) -> u16 {
        self.count(VFIO_PCI_MSIX_IRQ_INDEX)
    }

    fn count(&self, index: u32) -> u16 {
        let count = match self.held() {
            Held::Opened { device, .. } => device.get_irq_info(index).map_or(0, |info| info.count),
            Held::Resumed { .. } => sys::interrupt_count(self.file(), index).unwrap_or(0),
        };
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Has the kernel signal the descriptors.
    ///
    /// All vectors in one call, for MSI-X cannot grow later. Errors are told only of PCI Express
    /// functions; that a function be removed is told of all.
    ///
    /// # Errors
    /// What VFIO refuses.
    pub(super) fn arm(&self, interrupts: &Interrupts) -> Result<(), OpenError> {
        let mut wanted = vec![
            (VFIO_PCI_ERR_IRQ_INDEX, vec![interrupts.error()]),
            (VFIO_PCI_REQ_IRQ_INDEX, vec![interrupts.removal()]),
        ];
        if !interrupts.vectors().is_empty() {
            wanted.push((VFIO_PCI_MSIX_IRQ_INDEX, interrupts.vectors().iter().collect()));
        }
        for (index, descriptors) in wanted {
            if self.count(index) > 0 {
                self.enable(index, descriptors)?;
            }
        }
        Ok(())
    }

    fn enable(&self, index: u32, descriptors: Vec<&EventFd>) -> Result<(), OpenError> {
        let address = self.address;
        match self.held() {
            Held::Opened { device, .. } => device
                .enable_irq(index, descriptors)
                .map_err(|error| OpenError::Vfio { address, error }),
            Held::Resumed { .. } => {
                let descriptors: Vec<_> = descriptors.into_iter().map(sys::event).collect();
                sys::set_interrupts(self.file(), index, &descriptors).map_err(|error| {
                    OpenError::Call { address, call: "VFIO_DEVICE_SET_IRQS", error }
                })
            }
        }
    }

    /// Resets the function.
    ///
    /// # Errors
    /// [`ResetError`].
    pub(super) fn reset(&self) -> Result<(), ResetError> {
        sys::reset(self.file()).map_err(|source| ResetError::new(self.address, source))
    }
}

impl Drop for Device {
    /// Closes the device, leaves the group, and survives that the function is being removed.
    ///
    /// `VfioDevice` closes its descriptor and then reads the function's group from sysfs, with an
    /// unwrap. A kernel that removes the function waits for the last descriptor and then deletes
    /// that link: a race. If our copy of the descriptor is closed after it, the link stays
    /// as long as it is read; the price is a line in the log, for a group cannot leave its container
    /// while a device is open (it does when the container is closed, right after). So only when
    /// the function is being removed; when that starts in the very moment of the drop, the panic is
    /// caught, and the container closes all the same.
    fn drop(&mut self) {
        let last = self.file.take().filter(|_| self.is_leaving.load(Ordering::Relaxed));
        let held = self.held.take();
        if catch_unwind(AssertUnwindSafe(|| drop(held))).is_err() {
            tracing::warn!("{}: removed while it was being closed", self.address);
        }
        drop(last);
    }
}

fn sysfs_path(address: Address) -> PathBuf {
    PathBuf::from(format!("/sys/bus/pci/devices/{address}"))
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("address", &self.address).finish_non_exhaustive()
    }
}
