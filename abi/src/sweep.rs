//! The counter record of a sweep: 32 bytes (`docs/nic-abi.md` §9.10).

use crate::completion::Counters;
use crate::words::{put, u32_at, u64_at};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 32;

/// A record; the record of counter n is at n * 32 from that of counter 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Absolute counters since ADD.
    pub counters: Counters,
    /// Entry that owns the counter; [`crate::entry::NO_ENTRY`] when none does.
    pub entry: u32,
}

impl Record {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        put(&mut bytes, 0, &self.counters.packets.to_le_bytes());
        put(&mut bytes, 8, &self.counters.bytes.to_le_bytes());
        put(&mut bytes, 16, &self.counters.last_hit.to_le_bytes());
        put(&mut bytes, 24, &self.entry.to_le_bytes());
        bytes
    }

    /// Reads a record; its values are still to be checked.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        Self {
            counters: Counters {
                packets: u64_at(bytes, 0),
                bytes: u64_at(bytes, 8),
                last_hit: u64_at(bytes, 16),
            },
            entry: u32_at(bytes, 24),
        }
    }
}
