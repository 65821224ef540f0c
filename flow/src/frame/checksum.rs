//! Checksums: the Internet checksum (RFC 1071), its update (RFC 1624), CRC32c of SCTP (RFC 9260).

/// Adds `bytes` to a ones' complement sum; every piece but the last must have even length.
#[must_use]
pub fn sum(start: u32, bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let total = pairs
        .iter()
        .fold(u64::from(start), |total, pair| total + u64::from(u16::from_be_bytes(*pair)));
    let total = total + rest.first().map_or(0, |last| u64::from(*last) << 8);
    u32::from(fold(total))
}

/// The checksum field that makes a sum right.
#[must_use]
pub fn finish(sum: u32) -> u16 {
    !fold(u64::from(sum))
}

/// The checksum of `bytes`, whose own checksum field must be zero; zero when it is right in place.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    finish(sum(0, bytes))
}

/// Sum of the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1).
#[must_use]
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, len: usize) -> u32 {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let start = sum(u32::from(protocol), &len.to_be_bytes());
    sum(sum(start, source), destination)
}

/// The checksum after bytes it covers changed from `old` to `new`, which start at an even offset and
/// have one even length. A wrong checksum stays wrong by the same difference (RFC 1624, equation 3).
#[must_use]
pub fn update(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let total =
        old.as_chunks::<2>().0.iter().fold(u64::from(!checksum), |total, pair| {
            total + u64::from(!u16::from_be_bytes(*pair))
        });
    finish(sum(u32::from(fold(total)), new))
}

/// The form a UDP checksum is sent in: 0 would say that there is none (RFC 768).
#[must_use]
pub const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// CRC32c (Castagnoli) in the byte order of the SCTP header.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).swap_bytes()
}

fn fold(mut total: u64) -> u16 {
    // Ends: 64 bits shrink to 16 in at most four turns.
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let [.., high, low] = total.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        assert_eq!(sum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_updates_to_0000() {
        assert_eq!(update(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
    }

    #[test]
    fn crc32c_of_the_check_string_is_as_published() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283_u32.swap_bytes());
    }

    #[test]
    fn an_odd_last_byte_counts_as_a_high_byte() {
        assert_eq!(sum(0, &[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }
}
