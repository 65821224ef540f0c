//! A digest that other processes and versions reckon alike.

/// FNV-1a of all parts, one behind the other.
pub(crate) fn digest(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    parts
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, part| part.as_ref().iter().fold(hash, step))
}
