//! Bodies of fixed length: DMA maps, device info, accesses.

use super::{BodyError, DATA_MAX, halves, head, word32, word64, words};

/// Flags of a DMA map.
pub mod dma {
    /// The card may read.
    pub const READ: u32 = 1;
    /// The card may write.
    pub const WRITE: u32 = 2;
    /// Unmap: everything, whatever the addresses say.
    pub const UNMAP_ALL: u32 = 2;
}

/// Flags of a device.
pub mod device {
    /// It can be reset.
    pub const RESET: u32 = 1;
    /// It is a PCI device.
    pub const PCI: u32 = 2;
}

/// DMA_MAP: memory for the card, in the file that comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaMap {
    /// [`dma::READ`] and [`dma::WRITE`].
    pub flags: u32,
    /// Where in the file it begins.
    pub offset: u64,
    /// Address as the card sees it.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
}

impl DmaMap {
    /// Bytes of the body.
    pub const BYTES: usize = 32;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let [offset, address, bytes] = [self.offset, self.address, self.bytes].map(halves);
        words([32, self.flags, offset[0], offset[1], address[0], address[1], bytes[0], bytes[1]])
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        Ok(Self {
            flags: word32(body, 4),
            offset: word64(body, 8),
            address: word64(body, 16),
            bytes: word64(body, 24),
        })
    }
}

/// DMA_UNMAP; the reply repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaUnmap {
    /// [`dma::UNMAP_ALL`] or 0.
    pub flags: u32,
    /// Address as it was mapped.
    pub address: u64,
    /// Bytes as they were mapped.
    pub bytes: u64,
}

impl DmaUnmap {
    /// Bytes of the body.
    pub const BYTES: usize = 24;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let [address, bytes] = [self.address, self.bytes].map(halves);
        words([24, self.flags, address[0], address[1], bytes[0], bytes[1]])
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        Ok(Self { flags: word32(body, 4), address: word64(body, 8), bytes: word64(body, 16) })
    }
}

/// DEVICE_GET_INFO; the request carries only the length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Bits of [`device`].
    pub flags: u32,
    /// Number of regions.
    pub regions: u32,
    /// Number of interrupt indices.
    pub interrupts: u32,
}

impl DeviceInfo {
    /// Bytes of the body.
    pub const BYTES: usize = 16;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        words([16, self.flags, self.regions, self.interrupts])
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        let (regions, interrupts) = (word32(body, 8), word32(body, 12));
        Ok(Self { flags: word32(body, 4), regions, interrupts })
    }
}

/// REGION_READ and REGION_WRITE; data follow a write and the reply to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionAccess {
    /// Where in the region.
    pub offset: u64,
    /// Which region.
    pub region: u32,
    /// Bytes.
    pub count: u32,
}

impl RegionAccess {
    /// Bytes of the body without data.
    pub const BYTES: usize = 16;

    /// The body without data.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let offset = halves(self.offset);
        words([offset[0], offset[1], self.region, self.count])
    }

    /// Reads a body; what follows it is the data.
    ///
    /// # Errors
    /// It is too short, or counts more than [`DATA_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        let count = word32(body, 12);
        if count as usize > DATA_MAX {
            return Err(BodyError::Value { what: "count", value: count.into() });
        }
        let access = Self { offset: word64(body, 0), region: word32(body, 8), count };
        Ok((access, &bytes[Self::BYTES..]))
    }
}

/// DMA_READ and DMA_WRITE; data follow a write and the reply to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaAccess {
    /// Address as the card sees it.
    pub address: u64,
    /// Bytes.
    pub count: u64,
}

impl DmaAccess {
    /// Bytes of the body without data.
    pub const BYTES: usize = 16;

    /// The body without data.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let [address, count] = [self.address, self.count].map(halves);
        words([address[0], address[1], count[0], count[1]])
    }

    /// Reads a body; what follows it is the data.
    ///
    /// # Errors
    /// It is too short, or counts more than [`DATA_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        let count = word64(body, 8);
        if count > DATA_MAX as u64 {
            return Err(BodyError::Value { what: "count", value: count });
        }
        Ok((Self { address: word64(body, 0), count }, &bytes[Self::BYTES..]))
    }
}
