//! Which driver drives a PCI function, by its vendor and device.

use std::fs;
use std::sync::Arc;
use twinpath_flow::port::PortTable;
use twinpath_host_driver::nic::SmartNic;
use twinpath_host_driver::pci::Address;
use twinpath_host_driver::rocker::{self, Ipv4Header, RockerNic};
use twinpath_host_driver::vfio::{self, Function, Keepsakes, OpenError};

/// Vendor and device of QEMU's switch.
const ROCKER: (u16, u16) = (0x1b36, 0x0006);

/// A function held through VFIO, and its driver. The driver goes first.
pub(super) struct Attached {
    /// The driver.
    pub nic: Box<dyn SmartNic>,
    /// What it drives.
    pub function: Arc<Function>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Attached").field("function", &self.function).finish_non_exhaustive()
    }
}

/// Why a function is not driven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// There is none at that address.
    #[error("{address}: no such pci function; twinpath devices lists those there are")]
    Absent {
        /// Where.
        address: Address,
    },
    /// No driver knows it.
    #[error("{address}: twinpath has no driver for pci device {vendor:04x}:{device:04x}")]
    Unknown {
        /// Where.
        address: Address,
        /// Its vendor.
        vendor: u16,
        /// Its device.
        device: u16,
    },
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens the function at `address` with the driver for its kind.
///
/// # Errors
/// [`AttachError`]: one line with the remedy.
pub(super) fn attach(
    address: Address,
    ports: &PortTable,
    ipv4_header: Ipv4Header,
) -> Result<Attached, AttachError> {
    let (settings, transport) = rocker_settings(address, ports, ipv4_header)?;
    let function = Arc::new(Function::open(address, transport)?);
    let nic = RockerNic::attach(Arc::clone(&function), ports.clone(), settings);
    Ok(Attached { nic: Box::new(nic), function })
}

/// Goes on with the function of a process that is gone.
///
/// # Errors
/// [`AttachError`]: the function is another, or not as it was.
pub(super) fn resume(
    address: Address,
    ports: &PortTable,
    ipv4_header: Ipv4Header,
    keepsakes: Keepsakes,
) -> Result<Attached, AttachError> {
    let (settings, transport) = rocker_settings(address, ports, ipv4_header)?;
    let function = Arc::new(Function::resume(address, transport, keepsakes)?);
    let nic = RockerNic::adopt(Arc::clone(&function), ports.clone(), settings);
    Ok(Attached { nic: Box::new(nic), function })
}

/// Settings of the one driver there is, and of its transport; an error when the function is another.
fn rocker_settings(
    address: Address,
    ports: &PortTable,
    ipv4_header: Ipv4Header,
) -> Result<(rocker::Settings, vfio::Settings), AttachError> {
    let identity = |name| identity(address, name).ok_or(AttachError::Absent { address });
    match (identity("vendor")?, identity("device")?) {
        ROCKER => {
            let settings = rocker::Settings { ipv4_header, ..rocker::Settings::default() };
            let dma_bytes = rocker::dma_bytes(&settings, ports);
            Ok((settings, vfio::Settings { dma_bytes, vectors_max: u16::MAX }))
        }
        (vendor, device) => Err(AttachError::Unknown { address, vendor, device }),
    }
}

fn identity(address: Address, name: &str) -> Option<u16> {
    let text = fs::read_to_string(format!("/sys/bus/pci/devices/{address}/{name}")).ok()?;
    u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}
