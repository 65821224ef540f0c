//! Registers of BAR 0, ring numbers and interrupt vectors.

/// Reads [`IDENTITY_VALUE`].
pub(crate) const IDENTITY: u32 = 0x0000;
/// What every rocker answers.
pub(crate) const IDENTITY_VALUE: u32 = 0xdead_babe;
/// 32 bits; reads back twice what was written.
pub(crate) const TEST: u32 = 0x0010;
/// 64 bits; reads back twice what was written.
pub(crate) const TEST_64: u32 = 0x0018;
/// Raises the vector written.
pub(crate) const TEST_INTERRUPT: u32 = 0x0020;
/// 64 bits; where the DMA test works.
pub(crate) const TEST_DMA_ADDRESS: u32 = 0x0028;
/// Bytes of the DMA test; the device keeps 16 bits.
pub(crate) const TEST_DMA_SIZE: u32 = 0x0030;
/// Starts the DMA test, which ends before the write does.
pub(crate) const TEST_DMA_CONTROL: u32 = 0x0034;
/// DMA test: fills with [`TEST_DMA_PATTERN`].
pub(crate) const TEST_DMA_FILL: u32 = 2;
/// DMA test: inverts each byte.
pub(crate) const TEST_DMA_INVERT: u32 = 4;
/// What the DMA test fills with.
pub(crate) const TEST_DMA_PATTERN: u8 = 0x96;
/// Bit 0 resets the switch.
pub(crate) const CONTROL: u32 = 0x0300;
/// Number of ports.
pub(crate) const PORT_COUNT: u32 = 0x0304;
/// 64 bits; bit p: link of port p is up.
pub(crate) const LINK_STATUS: u32 = 0x0310;
/// 64 bits; bit p: port p is enabled.
pub(crate) const PORT_ENABLE: u32 = 0x0318;

/// Most ports a rocker can have.
pub(crate) const PORTS_MAX: u32 = 62;

/// Vectors that belong to no port: command ring, event ring, DMA test, reserved.
pub(crate) const COMMON_VECTORS: u16 = 4;

/// Registers of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingRegisters(u32);

impl RingRegisters {
    /// The command ring.
    pub(crate) const COMMAND: Self = Self(0);
    /// The event ring.
    pub(crate) const EVENT: Self = Self(1);

    /// Ring number `number`.
    pub(crate) const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Rings of a switch with that many ports.
    pub(crate) const fn count(ports: u32) -> u32 {
        2 + 2 * ports
    }

    const fn at(self, offset: u32) -> u32 {
        0x1000 + 32 * self.0 + offset
    }

    /// 64 bits; bus address of the descriptors.
    pub(crate) const fn base(self) -> u32 {
        self.at(0x00)
    }

    /// Entries; writing it sets head and tail to 0.
    pub(crate) const fn size(self) -> u32 {
        self.at(0x08)
    }

    /// Producer index, the driver's.
    pub(crate) const fn head(self) -> u32 {
        self.at(0x0c)
    }

    /// Consumer index, the device's.
    pub(crate) const fn tail(self) -> u32 {
        self.at(0x10)
    }

    /// Bit 0 resets the ring.
    pub(crate) const fn control(self) -> u32 {
        self.at(0x14)
    }

    /// Completions not given back; a write gives back.
    pub(crate) const fn credits(self) -> u32 {
        self.at(0x18)
    }
}
