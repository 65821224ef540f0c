//! IPv4 (RFC 791).

use super::word;

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;
/// Offset of the type of service.
pub const TOS: usize = 1;
/// Offset of the total length.
pub const TOTAL_LEN: usize = 2;
/// Offset of flags and fragment offset.
pub const FRAGMENT: usize = 6;
/// Offset of the time to live.
pub const TTL: usize = 8;
/// Offset of the header checksum.
pub const CHECKSUM: usize = 10;
/// Offset of the source address.
pub const SOURCE: usize = 12;
/// Offset of the destination address.
pub const DESTINATION: usize = 16;

/// A header that is complete with its options and whose total length lies within the bytes given.
///
/// The version nibble is not looked at: the Ethertype has decided, as in Open vSwitch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    bytes: &'a [u8],
    header_len: usize,
    total_len: usize,
}

impl<'a> Ipv4<'a> {
    /// Checks header length and total length against `bytes` and each other.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(bytes.first()? & 0x0f) * 4;
        let total_len = usize::from(word(bytes, TOTAL_LEN));
        let fits = HEADER_LEN <= header_len && header_len <= total_len && total_len <= bytes.len();
        fits.then_some(Self { bytes, header_len, total_len })
    }

    /// Header length with options.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Total length.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.total_len
    }

    /// Header with options.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        &self.bytes[..self.header_len]
    }

    /// Type of service.
    #[must_use]
    pub fn tos(&self) -> u8 {
        self.bytes[TOS]
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.bytes[TTL]
    }

    /// Protocol.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    /// Fragment bits as in [`crate::field::Field::IpFrag`]: 1 any fragment, 2 not the first.
    #[must_use]
    pub fn fragment(&self) -> u8 {
        let field = word(self.bytes, FRAGMENT);
        let later = field & 0x1fff != 0;
        u8::from(later || field & 0x2000 != 0) | (u8::from(later) << 1)
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> &'a [u8] {
        &self.bytes[SOURCE..DESTINATION]
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> &'a [u8] {
        &self.bytes[DESTINATION..HEADER_LEN]
    }
}
