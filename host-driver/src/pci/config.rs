//! Configuration space: an owned copy of it, read with types.
//!
//! The registers and the walk along the capabilities are `pci-driver`'s, with its VFIO back end
//! off. Nothing is ever written through it (its writes have bugs: bits are only ever set), and its
//! own snapshot is not used (a clone of it points into the original). The class code is read as
//! bytes, because its fields come out in reverse there.

use pci_driver::config::PciConfig;
use pci_driver::config::caps::{
    MsiXCapability, PciExpressCapability, PciPowerManagementCapability,
};
use pci_driver::regions::structured::PciRegisterRo;
use pci_driver::regions::{BackedByPciSubregion as _, PciMemoryRegion};
use pci_driver::{pci_bit_field, pci_struct};
use std::fmt;
use std::io;

/// Bytes of extended configuration space.
pub const CONFIG_BYTES: usize = 4096;
/// Bytes that every function has.
const CONFIG_BYTES_MIN: usize = 64;
/// Bytes of conventional configuration space, which holds the list of capabilities.
const CAPABILITIES_END: usize = 256;
/// The class code: programming interface, subclass, class.
const CLASS: usize = 0x09;
/// The command register.
pub(crate) const COMMAND: usize = 0x04;
/// Bit of the command register: the function may read and write memory.
pub(crate) const BUS_MASTER: u16 = 1 << 2;
/// Bit of the command register: the function answers at its memory BARs.
pub(crate) const MEMORY: u16 = 1 << 1;

// PCI Express Base 6.0 §7.7.2; pci-driver knows the capability but none of its fields.
pci_struct! {
    struct MsixRegisters<'a> : 0x0c {
        control @ 0x02 : MsixControl<'a>,
        table   @ 0x04 : PciRegisterRo<'a, u32>,
        pending @ 0x08 : PciRegisterRo<'a, u32>,
    }
}
pci_bit_field! {
    struct MsixControl<'a> : RO u16 {
        last_vector @ 0--10 : RO u16,
        is_masked   @    14 : RO,
        is_enabled  @    15 : RO,
    }
}
// PCI Express Base 6.0 §7.5.2; likewise.
pci_struct! {
    struct PowerRegisters<'a> : 0x08 {
        status @ 0x04 : PowerStatus<'a>,
    }
}
pci_bit_field! {
    struct PowerStatus<'a> : RO u16 {
        state         @ 0--1 : RO u8,
        no_soft_reset @    3 : RO,
    }
}

/// A copy of a function's configuration space.
pub struct ConfigSnapshot {
    bytes: Box<Bytes>,
    length: usize,
}

/// Aligned, because `pci-driver` reads whole registers of it.
#[repr(align(8))]
struct Bytes([u8; CONFIG_BYTES]);

/// Why bytes are no configuration space.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Too short; without the right to read more, the kernel gives 64 bytes.
    #[error("configuration space has {length} bytes, {CONFIG_BYTES_MIN} are the least")]
    Short {
        /// Bytes.
        length: usize,
    },
    /// All ones: nothing answers at the address.
    #[error("configuration space reads as all ones: the function is gone")]
    Gone,
    /// The list of capabilities leads nowhere.
    #[error("capabilities of configuration space are broken")]
    Capabilities(#[source] io::Error),
}

/// The capabilities that a driver needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Message interrupts.
    pub msix: Option<Msix>,
    /// PCI Express; conventional functions have none.
    pub express: Option<Express>,
    /// Power management.
    pub power: Option<Power>,
}

/// Where the MSI-X table and its pending bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Vectors: 1 to 2048.
    pub vectors: u16,
    /// BAR of the table.
    pub table_bar: u8,
    /// Offset of the table there.
    pub table_offset: u32,
    /// BAR of the pending bits.
    pub pending_bar: u8,
    /// Offset of the pending bits there.
    pub pending_offset: u32,
}

/// The PCI Express capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Express {
    /// Whether the function can be reset alone (FLR).
    pub has_function_reset: bool,
    /// Longest payload it takes, in bytes.
    pub payload_bytes_max: u16,
}

/// The power management capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// D0 to D3.
    pub state: u8,
    /// Whether going to D3 and back resets it.
    pub resets_on_wake: bool,
}

impl ConfigSnapshot {
    /// Takes the bytes of a configuration space: 64, 256 or 4096 of them; more are cut off.
    ///
    /// # Errors
    /// [`ConfigError::Short`], or [`ConfigError::Gone`] when nothing answered.
    pub fn new(config: &[u8]) -> Result<Self, ConfigError> {
        let length = config.len().min(CONFIG_BYTES);
        if length < CONFIG_BYTES_MIN {
            return Err(ConfigError::Short { length });
        }
        if config[..4] == [0xff; 4] {
            return Err(ConfigError::Gone);
        }
        let mut bytes = Box::new(Bytes([0; CONFIG_BYTES]));
        bytes.0[..length].copy_from_slice(&config[..length]);
        Ok(Self { bytes, length })
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes.0[at], self.bytes.0[at + 1]])
    }

    /// Bytes that were given.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Vendor and device.
    #[must_use]
    pub fn identity(&self) -> (u16, u16) {
        (self.half(0x00), self.half(0x02))
    }

    /// Vendor and device of the subsystem.
    #[must_use]
    pub fn subsystem(&self) -> (u16, u16) {
        (self.half(0x2c), self.half(0x2e))
    }

    /// Class, subclass and programming interface: 0x020000 is an Ethernet controller.
    #[must_use]
    pub fn class(&self) -> u32 {
        let [interface, subclass, class] = [0, 1, 2].map(|at| u32::from(self.bytes.0[CLASS + at]));
        class << 16 | subclass << 8 | interface
    }

    /// Whether the function may read and write memory.
    #[must_use]
    pub fn is_bus_master(&self) -> bool {
        self.half(COMMAND) & BUS_MASTER != 0
    }

    /// The capabilities that a driver needs; none in the 64 bytes that everybody may read.
    ///
    /// # Errors
    /// [`ConfigError::Capabilities`] when their list leaves its space or runs in a circle.
    pub fn capabilities(&self) -> Result<Capabilities, ConfigError> {
        if self.length < CAPABILITIES_END {
            return Ok(Capabilities::default());
        }
        let region = PciMemoryRegion::new(&self.bytes.0);
        let config = PciConfig::backed_by(&region);
        walk(config).map_err(ConfigError::Capabilities)
    }
}

fn walk(config: PciConfig<'_>) -> io::Result<Capabilities> {
    let list = config.capabilities()?;
    let msix = list.of_type::<MsiXCapability<'_>>()?.next().map(msix).transpose()?;
    let express = list.of_type::<PciExpressCapability<'_>>()?.next().map(express).transpose()?;
    let power =
        list.of_type::<PciPowerManagementCapability<'_>>()?.next().map(power).transpose()?;
    Ok(Capabilities { msix, express, power })
}

fn msix(capability: MsiXCapability<'_>) -> io::Result<Msix> {
    let registers = MsixRegisters::backed_by(capability);
    let (table, pending) = (registers.table().read()?, registers.pending().read()?);
    Ok(Msix {
        vectors: registers.control().last_vector().read()? + 1,
        table_bar: bar(table),
        table_offset: table & !7,
        pending_bar: bar(pending),
        pending_offset: pending & !7,
    })
}

fn express(capability: PciExpressCapability<'_>) -> io::Result<Express> {
    let device = capability.device_capabilities();
    let payload = device.max_payload_size_supported().read()?;
    Ok(Express {
        has_function_reset: device.function_level_reset_capability().read()?,
        // 6 and 7 are reserved.
        payload_bytes_max: 128 << payload.min(5),
    })
}

fn power(capability: PciPowerManagementCapability<'_>) -> io::Result<Power> {
    let status = PowerRegisters::backed_by(capability).status();
    Ok(Power { state: status.state().read()?, resets_on_wake: !status.no_soft_reset().read()? })
}

/// Which BAR a table register names.
fn bar(register: u32) -> u8 {
    u8::try_from(register & 7).expect("three bits")
}

impl fmt::Debug for ConfigSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vendor, device) = self.identity();
        write!(f, "ConfigSnapshot({vendor:04x}:{device:04x}, {} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An Ethernet function with power management, MSI-X (8 vectors in BAR 1) and PCI Express.
    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..0x10].copy_from_slice(&[
            0x36, 0x1b, 0x06, 0x00, 0x06, 0x00, 0x10, 0x00, 0x01, 0x00, 0x80, 0x02, 0, 0, 0, 0,
        ]);
        bytes[0x2c..0x30].copy_from_slice(&[0xf4, 0x1a, 0x00, 0x11]);
        bytes[0x34] = 0x40;
        bytes[0x40..0x48].copy_from_slice(&[0x01, 0x50, 0x03, 0x00, 0x03, 0x00, 0, 0]);
        bytes[0x50..0x5c].copy_from_slice(&[0x11, 0x60, 7, 0x80, 1, 0, 0, 0, 1, 0x10, 0, 0]);
        bytes[0x60..0x68].copy_from_slice(&[0x10, 0x00, 0x02, 0x00, 0x01, 0, 0, 0x10]);
        bytes
    }

    #[test]
    fn identity_class_and_capabilities_are_read() {
        let config = ConfigSnapshot::new(&bytes()).unwrap();
        assert_eq!(config.identity(), (0x1b36, 0x0006));
        assert_eq!(config.subsystem(), (0x1af4, 0x1100));
        assert_eq!(config.class(), 0x02_8000);
        assert!(config.is_bus_master());
        let capabilities = config.capabilities().unwrap();
        let msix = Msix {
            vectors: 8,
            table_bar: 1,
            table_offset: 0,
            pending_bar: 1,
            pending_offset: 0x1000,
        };
        assert_eq!(capabilities.msix, Some(msix));
        let express = Express { has_function_reset: true, payload_bytes_max: 256 };
        assert_eq!(capabilities.express, Some(express));
        assert_eq!(capabilities.power, Some(Power { state: 3, resets_on_wake: true }));
    }

    #[test]
    fn the_header_alone_shows_no_capabilities() {
        let config = ConfigSnapshot::new(&bytes()[..64]).unwrap();
        assert_eq!(config.class(), 0x02_8000);
        assert_eq!(config.capabilities().unwrap(), Capabilities::default());
    }

    #[test]
    fn a_function_that_is_gone_has_no_configuration() {
        assert!(matches!(ConfigSnapshot::new(&[0xff; 256]), Err(ConfigError::Gone)));
        let short = ConfigSnapshot::new(&[0; 63]);
        assert!(matches!(short, Err(ConfigError::Short { length: 63 })));
    }

    #[test]
    fn a_circle_of_capabilities_is_an_error() {
        let mut bytes = bytes();
        bytes[0x61] = 0x40;
        let config = ConfigSnapshot::new(&bytes).unwrap();
        assert!(matches!(config.capabilities(), Err(ConfigError::Capabilities(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            if bytes.len() > 8 {
                // A list of capabilities is said to be there.
                bytes[6] |= 0x10;
            }
            if let Ok(config) = ConfigSnapshot::new(&bytes) {
                let _ = (config.capabilities(), config.class(), format!("{config:?}"));
            }
        }
    }
}
