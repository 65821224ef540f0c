//! The edit of an entry on frame bytes (`docs/nic-abi.md` §7.2), checksums recomputed in full (§8.5).

use crate::checksum::{carry, sum};
use crate::packet::Packet;
use crate::parser::{Headers, L3, L4, half, word};
use twinpath_abi::entry::EditImage;
use twinpath_abi::key::{ETH_DST, IP_DST, IP_PROTO, IP_SRC, IP_TOS, IP_TTL, KeyBytes, L4_SRC};

/// Whether the entry must not handle a packet with this key because of its TTL (§8.1).
pub(crate) fn is_ttl_exception(key: &KeyBytes, edit: &EditImage) -> bool {
    edit.ttl_threshold.is_some_and(|threshold| key[IP_TTL] <= threshold)
}

/// Edits the packet; `headers` are its own and move with it.
pub(crate) fn edit(packet: &mut Packet, headers: &mut Headers, set: &KeyBytes, edit: &EditImage) {
    let bytes = packet.bytes_mut();
    masked_copy(bytes, 0, set, ETH_DST.start..ETH_DST.start + 12, edit);
    let before = Sums::of(bytes, headers);
    match headers.l3 {
        L3::V4 => edit_v4(bytes, headers.l3_at, set, edit),
        L3::V6 => edit_v6(bytes, headers.l3_at, set, edit),
        L3::Arp => edit_arp(bytes, headers.l3_at, set, edit),
        L3::None => {}
    }
    match headers.l4 {
        L4::None => {}
        L4::Icmp => {
            masked_copy(bytes, headers.l4_at, set, L4_SRC.start + 1..L4_SRC.start + 2, edit);
            masked_copy(bytes, headers.l4_at + 1, set, L4_SRC.start + 3..L4_SRC.start + 4, edit);
        }
        L4::Tcp | L4::Udp | L4::Sctp => {
            masked_copy(bytes, headers.l4_at, set, L4_SRC.start..L4_SRC.start + 4, edit);
        }
    }
    before.mend(bytes, headers);
    edit_tags(packet, headers, set, edit);
}

/// Copies those bytes of the set value that the byte mask names.
fn masked_copy(
    bytes: &mut [u8],
    at: usize,
    set: &KeyBytes,
    range: std::ops::Range<usize>,
    edit: &EditImage,
) {
    let start = range.start;
    for index in range {
        if edit.byte_mask >> index & 1 == 1 {
            bytes[at + index - start] = set[index];
        }
    }
}

fn new_ttl(old: u8, set: &KeyBytes, edit: &EditImage) -> u8 {
    let base = if edit.byte_mask >> IP_TTL & 1 == 1 { set[IP_TTL] } else { old };
    base.saturating_sub(edit.ttl_decrements)
}

fn edit_v4(bytes: &mut [u8], at: usize, set: &KeyBytes, edit: &EditImage) {
    bytes[at + 1] = bytes[at + 1] & !edit.tos_mask | set[IP_TOS] & edit.tos_mask;
    bytes[at + 8] = new_ttl(bytes[at + 8], set, edit);
    masked_copy(bytes, at + 12, set, IP_SRC.start + 12..IP_SRC.end, edit);
    masked_copy(bytes, at + 16, set, IP_DST.start + 12..IP_DST.end, edit);
}

fn edit_v6(bytes: &mut [u8], at: usize, set: &KeyBytes, edit: &EditImage) {
    let (mask, value) = (edit.tos_mask, set[IP_TOS] & edit.tos_mask);
    bytes[at] = bytes[at] & !(mask >> 4) | value >> 4;
    bytes[at + 1] = bytes[at + 1] & !(mask << 4) | value << 4;
    bytes[at + 7] = new_ttl(bytes[at + 7], set, edit);
    masked_copy(bytes, at + 8, set, IP_SRC, edit);
    masked_copy(bytes, at + 24, set, IP_DST, edit);
}

fn edit_arp(bytes: &mut [u8], at: usize, set: &KeyBytes, edit: &EditImage) {
    masked_copy(bytes, at + 7, set, IP_PROTO..IP_PROTO + 1, edit);
    masked_copy(bytes, at + 14, set, IP_SRC.start + 12..IP_SRC.end, edit);
    masked_copy(bytes, at + 24, set, IP_DST.start + 12..IP_DST.end, edit);
}

fn edit_tags(packet: &mut Packet, headers: &mut Headers, set: &KeyBytes, edit: &EditImage) {
    let pops = edit.pops.min(headers.tags);
    for _ in 0..pops {
        packet.pop_tag();
    }
    headers.tags -= pops;
    if edit.tci_mask != 0 && headers.tags > 0 {
        let bytes = packet.bytes_mut();
        let value = u16::from_be_bytes([set[4], set[5]]);
        let tci = half(bytes, 14) & !edit.tci_mask | value & edit.tci_mask;
        bytes[14..16].copy_from_slice(&tci.to_be_bytes());
    }
    headers.l3_at -= 4 * usize::from(pops);
    for push in edit.pushes.iter().flatten() {
        packet.push_tag(push.tpid, push.tci);
        headers.tags += 1;
        headers.l3_at += 4;
    }
}

/// What the checksums covered before an edit.
struct Sums {
    /// IPv4 header without its checksum.
    header: u32,
    /// Addresses if covered, and segment, without the transport checksum.
    transport: u32,
    /// SCTP's CRC of the segment with the field as zero.
    crc: u32,
}

impl Sums {
    fn of(bytes: &[u8], headers: &Headers) -> Self {
        let header = if headers.l3 == L3::V4 { header_sum(bytes, headers) } else { 0 };
        let transport = match transport_field(headers) {
            0 => 0,
            field => transport_sum(bytes, headers, field),
        };
        let crc = if headers.l4 == L4::Sctp { sctp_crc(bytes, headers) } else { 0 };
        Self { header, transport, crc }
    }

    /// Carries what changed since into the checksum fields.
    fn mend(&self, bytes: &mut [u8], headers: &Headers) {
        if headers.l3 == L3::V4 {
            let new = header_sum(bytes, headers);
            mend_field(bytes, headers.l3_at + 10, self.header, new);
        }
        let field = transport_field(headers);
        if field != 0 && !(headers.udp && half(bytes, field) == 0) {
            let new = transport_sum(bytes, headers, field);
            mend_field(bytes, field, self.transport, new);
            if headers.udp && half(bytes, field) == 0 {
                bytes[field..field + 2].fill(0xff);
            }
        }
        if headers.l4 == L4::Sctp {
            let at = headers.l4_at + 8;
            let crc = word(bytes, at) ^ (self.crc ^ sctp_crc(bytes, headers)).swap_bytes();
            bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

fn mend_field(bytes: &mut [u8], at: usize, old: u32, new: u32) {
    if old != new {
        let checksum = carry(half(bytes, at), old, new);
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Place of the transport checksum, 0 for none.
fn transport_field(headers: &Headers) -> usize {
    match headers.l4 {
        L4::Tcp => headers.l4_at + 16,
        L4::Udp => headers.l4_at + 6,
        L4::Icmp => headers.l4_at + 2,
        L4::Sctp | L4::None => headers.pseudo_sum_at,
    }
}

/// Takes the field at `at` out of a sum that includes it.
fn without(total: u32, bytes: &[u8], at: usize) -> u32 {
    (total + 0xffff - u32::from(half(bytes, at)) % 0xffff) % 0xffff
}

fn header_sum(bytes: &[u8], headers: &Headers) -> u32 {
    without(sum(&bytes[headers.l3_at..headers.l4_at]), bytes, headers.l3_at + 10)
}

fn transport_sum(bytes: &[u8], headers: &Headers, field: usize) -> u32 {
    let addresses = match headers.l3 {
        _ if headers.pseudo_sum_at == 0 => 0,
        L3::V4 => sum(&bytes[headers.l3_at + 12..headers.l3_at + 20]),
        L3::V6 => sum(&bytes[headers.l3_at + 8..headers.l3_at + 40]),
        L3::Arp | L3::None => 0,
    };
    without(addresses + sum(&bytes[headers.l4_at..headers.end]), bytes, field)
}

/// CRC32c (RFC 9260, appendix A) of the segment with its checksum field as zero.
fn sctp_crc(bytes: &[u8], headers: &Headers) -> u32 {
    let segment = &bytes[headers.l4_at..headers.end];
    let fields = [&segment[..8], &[0; 4], &segment[12..]];
    let crc = fields.into_iter().flatten().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decap::parse;

    /// Tagged UDP over IPv4: 10.0.0.1:1000 to 10.0.0.2:2000, TTL 64, right checksums.
    fn frame() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x30, 5, 8, 0];
        frame.extend([0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x03, 0xe8, 0x07, 0xd0, 0, 10, 0, 0, 0xab, 0xcd]);
        let header = crate::checksum::full(&frame[18..38]).to_be_bytes();
        frame[28..30].copy_from_slice(&header);
        let pseudo = sum(&frame[30..38]) + 17 + 10 + sum(&frame[38..]);
        frame[44..46].copy_from_slice(&carry(0xffff, 0, pseudo % 0xffff).to_be_bytes());
        frame
    }

    fn edited(change: impl FnOnce(&mut KeyBytes, &mut EditImage)) -> Vec<u8> {
        let frame = frame();
        let mut parsed = parse(&frame, 0, 1, &[]);
        let (mut set, mut image) = ([0; 64], EditImage::default());
        change(&mut set, &mut image);
        let mut packet = Packet::default();
        packet.fill(&frame);
        edit(&mut packet, &mut parsed.headers, &set, &image);
        packet.bytes().to_vec()
    }

    fn is_right(frame: &[u8], l3: usize) -> bool {
        let segment = &frame[l3 + 20..];
        let pseudo = sum(&frame[l3 + 12..l3 + 20]) + 17 + 10;
        sum(&frame[l3..l3 + 20]) == 0 && (pseudo + sum(segment)).is_multiple_of(0xffff)
    }

    #[test]
    fn an_empty_edit_changes_nothing() {
        assert_eq!(edited(|_, _| {}), frame());
        assert!(is_right(&frame(), 18));
    }

    #[test]
    fn addresses_ports_and_ttl_keep_checksums_right() {
        let out = edited(|set, image| {
            set[52..56].copy_from_slice(&[192, 168, 7, 9]);
            set[58..60].copy_from_slice(&[0x12, 0x34]);
            image.byte_mask = 0x0cf0_0000_0000_0000;
            image.ttl_decrements = 3;
        });
        assert_eq!(out[34..38], [192, 168, 7, 9]);
        assert_eq!(out[40..42], [0x12, 0x34]);
        assert_eq!(out[26], 61);
        assert!(is_right(&out, 18));
    }

    #[test]
    fn a_tag_is_popped_rewritten_and_pushed() {
        let popped = edited(|_, image| image.pops = 1);
        assert_eq!(popped[12..14], [8, 0]);
        let rewritten = edited(|set, image| {
            set[4..6].copy_from_slice(&[0, 7]);
            image.tci_mask = 0x0fff;
        });
        assert_eq!(rewritten[12..18], [0x81, 0, 0x30, 7, 8, 0]);
        let pushed = edited(|_, image| {
            let push = twinpath_abi::entry::Push { tpid: 0x88a8, tci: 9 };
            image.pushes = [Some(push), None];
        });
        assert_eq!(pushed[12..18], [0x88, 0xa8, 0, 9, 0x81, 0]);
    }
}
