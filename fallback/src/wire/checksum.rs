//! The Internet checksum (RFC 1071), for frames that wires make or complete.

/// Adds the 16-bit words of `bytes` to `sum`; an odd last byte is the upper half of its word.
pub(super) fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let total = words.iter().fold(sum, |sum, word| sum + u64::from(u32::from_be_bytes(*word)));
    let (pairs, odd) = rest.as_chunks::<2>();
    let total = pairs.iter().fold(total, |sum, pair| sum + u64::from(u16::from_be_bytes(*pair)));
    total + odd.first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// Folds a sum to its one's complement.
pub(super) fn finish(mut sum: u64) -> u16 {
    // Ends: each turn at least halves the bits above the sixteenth.
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// As [`finish`], for UDP: a sum of zero is sent as all ones, since zero means "none" (RFC 768).
pub(super) fn finish_udp(sum: u64) -> u16 {
    match finish(sum) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        // Section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(add(0, &bytes)), !0xddf2);
        assert_eq!(finish(add(0, &bytes[..7])), !0xdcfb);
        assert_eq!(finish(add(add(0, &bytes[..2]), &bytes[2..])), !0xddf2);
    }

    #[test]
    fn udp_never_sends_zero() {
        assert_eq!(finish_udp(0xffff), 0xffff);
        assert_eq!(finish(0xffff), 0);
    }
}
