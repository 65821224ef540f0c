//! Bytes of vfio-user messages: little-endian integers, a header of 16 bytes before each.

pub mod body;
pub mod header;
pub mod interrupt;
pub mod region;
pub mod version;

/// Most descriptors in one message, on either side.
pub const DESCRIPTORS_MAX: usize = 16;

/// Most data bytes of a region or DMA access, on either side.
pub const DATA_MAX: usize = 1 << 20;

/// Longest message taken: the most data, and what is around it.
pub const MESSAGE_MAX: usize = DATA_MAX + 256;

/// Why a body is not what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ends too early.
    #[error("{bytes} bytes are too short, {wanted} wanted")]
    Short {
        /// Bytes there are.
        bytes: usize,
        /// Bytes wanted.
        wanted: usize,
    },
    /// A count or length in it is not credible.
    #[error("{what} {value} does not fit")]
    Value {
        /// What is counted.
        what: &'static str,
        /// The value.
        value: u64,
    },
}

/// The first `N` bytes.
pub(crate) fn head<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], BodyError> {
    bytes.first_chunk().ok_or(BodyError::Short { bytes: bytes.len(), wanted: N })
}

/// The 32-bit word at `at`.
pub(crate) fn word32(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk().expect("callers pass checked bodies");
    u32::from_le_bytes(*word)
}

/// The 64-bit word at `at`.
pub(crate) fn word64(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..].first_chunk().expect("callers pass checked bodies");
    u64::from_le_bytes(*word)
}

/// A body of 32-bit words.
pub(crate) fn words<const N: usize, const BYTES: usize>(words: [u32; N]) -> [u8; BYTES] {
    const { assert!(N * 4 == BYTES) };
    let mut bytes = [0; BYTES];
    for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// The halves of a 64-bit integer, low first.
pub(crate) const fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests;
