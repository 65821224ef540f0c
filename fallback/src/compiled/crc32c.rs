//! CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 appendix A), by table.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "an index below 256")]
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

/// The CRC of `bytes`, in the order it has in the header.
pub(super) fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes
        .iter()
        .fold(u32::MAX, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8));
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_as_published() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283_u32.to_le_bytes());
    }
}
