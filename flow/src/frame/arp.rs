//! ARP and RARP for IPv4 over Ethernet (RFC 826, RFC 903).

use super::word;

/// Length of the packet.
pub const LEN: usize = 28;
/// Offset of the operation.
pub const OPERATION: usize = 6;
/// Offset of the sender's hardware address.
pub const SENDER_MAC: usize = 8;
/// Offset of the sender's protocol address.
pub const SENDER_IP: usize = 14;
/// Offset of the target's hardware address.
pub const TARGET_MAC: usize = 18;
/// Offset of the target's protocol address.
pub const TARGET_IP: usize = 24;

/// Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// A complete packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp<'a>(&'a [u8; LEN]);

impl<'a> Arp<'a> {
    /// Checks length and address kinds.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let packet = bytes.first_chunk::<LEN>()?;
        (packet[..6] == KIND).then_some(Self(packet))
    }

    /// The operation if it fits the 8 bits that rules can match, else 0.
    #[must_use]
    pub fn operation(&self) -> u8 {
        u8::try_from(word(self.0, OPERATION)).unwrap_or(0)
    }

    /// Sender's hardware address.
    #[must_use]
    pub fn sender_mac(&self) -> &'a [u8] {
        &self.0[SENDER_MAC..SENDER_IP]
    }

    /// Sender's protocol address.
    #[must_use]
    pub fn sender_ip(&self) -> &'a [u8] {
        &self.0[SENDER_IP..TARGET_MAC]
    }

    /// Target's hardware address.
    #[must_use]
    pub fn target_mac(&self) -> &'a [u8] {
        &self.0[TARGET_MAC..TARGET_IP]
    }

    /// Target's protocol address.
    #[must_use]
    pub fn target_ip(&self) -> &'a [u8] {
        &self.0[TARGET_IP..]
    }
}
