//! Internet checksums computed in full (`docs/nic-abi.md`, edits): a wrong one stays as wrong as it was.

/// Ones' complement sum of 16-bit words modulo 65535; an odd last byte is a high byte.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let (wide, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = wide.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    for pair in rest.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        total += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    // 2^16 is 1 modulo 65535, so sums of wider words need no splitting.
    (total % 0xffff) as u32
}

/// The checksum field after the bytes it covers (itself left out) changed their sum from `old` to
/// `new`: right if it was right, else wrong by as much.
pub(crate) fn carry(found: u16, old: u32, new: u32) -> u16 {
    let total = (u32::from(!found) + 0xffff - old + new) % 0xffff;
    match u16::try_from(total) {
        Ok(0) | Err(_) => 0,
        Ok(total) => !total,
    }
}

/// The right checksum of a header whose checksum field is zero.
pub(crate) fn full(header: &[u8]) -> u16 {
    carry(0xffff, 0, sum(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 20] =
        [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];

    #[test]
    fn a_known_header_has_its_known_checksum() {
        assert_eq!(full(&HEADER), 0xb861);
    }

    #[test]
    fn a_right_checksum_stays_right_and_a_wrong_one_wrong_by_as_much() {
        let mut changed = HEADER;
        changed[8] = 0x3f;
        let (old, new) = (sum(&HEADER), sum(&changed));
        assert_eq!(carry(0xb861, old, new), full(&changed));
        assert_eq!(carry(0xb871, old, new), full(&changed) + 0x10);
    }
}
