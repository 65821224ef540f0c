//! Packet and byte counters: 64 bits, never going backwards.

use std::ops::{Add, AddAssign};

/// Packets and bytes; bytes are those of the frame as received, without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Counts {
    /// The counts of one frame of `bytes` bytes.
    #[must_use]
    pub const fn one(bytes: usize) -> Self {
        Self { packets: 1, bytes: bytes as u64 }
    }

    /// What was added since `earlier`, or `None` if a counter went backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            packets: self.packets.checked_sub(earlier.packets)?,
            bytes: self.bytes.checked_sub(earlier.bytes)?,
        })
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
