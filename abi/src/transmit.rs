//! The transmit descriptor: 32 bytes, written by the host (`docs/nic-abi.md` §12.1).

use crate::words::{put, u16_at, u32_at, u64_at};

/// Bytes of a transmit descriptor.
pub const TRANSMIT_BYTES: usize = 32;
/// Longest frame the host may send, in bytes (§12.1).
pub const FRAME_MAX: u32 = 65_535;

/// Offsets in the descriptor (§12.1).
pub mod field {
    /// Bus address of the frame.
    pub const ADDRESS: usize = 0;
    /// Bytes of the frame.
    pub const LENGTH: usize = 8;
    /// Physical port index.
    pub const PORT: usize = 12;
}

/// A transmit descriptor (§12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Bus address of the frame, any alignment.
    pub address: u64,
    /// Bytes of the frame, 14 to [`FRAME_MAX`].
    pub length: u32,
    /// Index of the physical port.
    pub port: u16,
}

impl Transmit {
    /// The descriptor.
    #[must_use]
    pub fn encode(&self) -> [u8; TRANSMIT_BYTES] {
        let mut bytes = [0; TRANSMIT_BYTES];
        put(&mut bytes, field::ADDRESS, &self.address.to_le_bytes());
        put(&mut bytes, field::LENGTH, &self.length.to_le_bytes());
        put(&mut bytes, field::PORT, &self.port.to_le_bytes());
        bytes
    }

    /// Reads a descriptor; its values are still to be checked.
    #[must_use]
    pub fn decode(bytes: &[u8; TRANSMIT_BYTES]) -> Self {
        Self {
            address: u64_at(bytes, field::ADDRESS),
            length: u32_at(bytes, field::LENGTH),
            port: u16_at(bytes, field::PORT),
        }
    }
}
