//! Checked header views: one protocol a file. A view exists only when its header is complete, so its
//! reads cannot fail; nothing here decides what a field means to a rule (that is [`crate::parse`]).

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod transport;
pub mod tunnel;

/// The 16-bit word at `offset`, network order; 0 beyond the end.
pub(crate) fn word(bytes: &[u8], offset: usize) -> u16 {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |word: &[u8; 2]| u16::from_be_bytes(*word))
}

/// The 32-bit word at `offset`, network order; 0 beyond the end.
pub(crate) fn double_word(bytes: &[u8], offset: usize) -> u32 {
    (u32::from(word(bytes, offset)) << 16) | u32::from(word(bytes, offset + 2))
}

/// The number in up to 16 bytes, network order.
pub(crate) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u128::from(*byte))
}
