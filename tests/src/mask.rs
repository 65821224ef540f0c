//! Bytes on which we differ from Open vSwitch on purpose (design section 3), set to zero.
//!
//! - *Third tag*: we keep all tags on a push; Open vSwitch, whose flows hold two, loses the
//!   innermost, unless the packet hits a flow made by one with fewer tags.
//! - *DEI*: we keep it when a VLAN tag is rewritten, Open vSwitch clears it.
//! - *Later fragments*: Open vSwitch adjusts two payload bytes where it takes a checksum to be; we
//!   never touch layer 4 there.
//! - *Tunnels*: the UDP source port of the outer header, and GTP-U's UDP checksum: ours is 0.

const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// Masks a frame sent by a physical port.
#[must_use]
pub fn differences_on_purpose(frame: &[u8]) -> Vec<u8> {
    let mut masked = frame.to_vec();
    let ethertype_at = mask_tags(&mut masked);
    mask_later_fragment(&mut masked, ethertype_at);
    masked
}

/// Masks a frame that may be a tunnel's outer frame; then the inner frame too.
#[must_use]
pub fn tunnel_differences_on_purpose(frame: &[u8]) -> Vec<u8> {
    let mut masked = differences_on_purpose(frame);
    let is_udp = word(&masked, 12) == Some(0x0800) && masked.get(23) == Some(&17);
    if !is_udp || masked.len() < 42 {
        return masked;
    }
    let inner = match word(&masked, 36) {
        Some(4789 | 6081) => 50,
        Some(2152) => 42,
        _ => return masked,
    };
    masked[34..36].fill(0);
    if inner == 42 {
        // Open vSwitch computes the UDP checksum of GTP-U alone; it covers the source port.
        masked[40..42].fill(0);
    }
    if inner == 50 && masked.len() > inner {
        let inside = differences_on_purpose(&masked[inner..]);
        masked[inner..].copy_from_slice(&inside);
    }
    masked
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Clears DEI of the first two tags and takes out further ones; returns where the Ethertype behind
/// them is.
fn mask_tags(frame: &mut Vec<u8>) -> usize {
    let mut at = 12;
    while word(frame, at).is_some_and(|tpid| TAGS.contains(&tpid)) && frame.len() > at + 4 {
        if at == 20 {
            frame.drain(at..at + 4);
        } else {
            frame[at + 2] &= 0xef;
            at += 4;
        }
    }
    at
}

/// Clears the bytes of a later fragment's payload where a checksum would be.
fn mask_later_fragment(frame: &mut [u8], ethertype_at: usize) {
    let is_snap = frame.get(ethertype_at + 2..ethertype_at + 8) == Some(&[0xaa, 0xaa, 3, 0, 0, 0]);
    let ethertype_at = if is_snap { ethertype_at + 8 } else { ethertype_at };
    let l3 = ethertype_at + 2;
    let Some(header) = frame.get(l3..l3 + 20) else { return };
    let is_later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if word(frame, ethertype_at) != Some(0x0800) || !is_later {
        return;
    }
    let (protocol, l4) = (header[9], l3 + usize::from(header[0] & 15) * 4);
    let range = match protocol {
        6 => l4 + 16..l4 + 18,
        17 => l4 + 6..l4 + 8,
        // Open vSwitch sets type and code there too.
        1 | 58 => l4..l4 + 4,
        _ => return,
    };
    if let Some(bytes) = frame.get_mut(range) {
        bytes.fill(0);
    }
}
