//! DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.

use super::{BodyError, head, word32, words};

/// Index of the MSI-X vectors (VFIO's numbering for PCI).
pub const MSIX: u32 = 2;
/// Number of interrupt indices of a PCI device.
pub const INDICES: u32 = 5;

/// Flags of an interrupt index.
pub mod flag {
    /// Vectors are told by event descriptors.
    pub const EVENTFD: u32 = 1;
    /// The number of vectors in use cannot be changed without disabling all.
    pub const NO_RESIZE: u32 = 8;
}

/// Flags of DEVICE_SET_IRQS.
pub mod set {
    /// No data: the vectors are disabled or, with a count, triggered.
    pub const NONE: u32 = 1;
    /// The data are booleans.
    pub const BOOL: u32 = 2;
    /// Event descriptors come with the message.
    pub const EVENTFD: u32 = 4;
    /// What happens: the vector is masked.
    pub const MASK: u32 = 8;
    /// What happens: it is unmasked.
    pub const UNMASK: u32 = 16;
    /// What happens: it is wired up or triggered.
    pub const TRIGGER: u32 = 32;
}

/// What an interrupt index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptInfo {
    /// Bits of [`flag`].
    pub flags: u32,
    /// Index.
    pub index: u32,
    /// Number of vectors.
    pub count: u32,
}

impl InterruptInfo {
    /// Bytes of the body.
    pub const BYTES: usize = 16;

    /// The body, of request and reply.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        words([16, self.flags, self.index, self.count])
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        Ok(Self { flags: word32(body, 4), index: word32(body, 8), count: word32(body, 12) })
    }
}

/// Sets a range of vectors of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetInterrupts {
    /// Bits of [`set`].
    pub flags: u32,
    /// Index.
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// Number of vectors.
    pub count: u32,
}

impl SetInterrupts {
    /// Bytes of the body without data.
    pub const BYTES: usize = 20;

    /// The body without data.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        words([20, self.flags, self.index, self.start, self.count])
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        Ok(Self {
            flags: word32(body, 4),
            index: word32(body, 8),
            start: word32(body, 12),
            count: word32(body, 16),
        })
    }
}
