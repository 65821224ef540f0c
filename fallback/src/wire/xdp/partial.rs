//! Checksums that a sender on this machine left to its card, where nothing says so beside the frame.
//!
//! A veth hands such a frame to an AF_XDP socket as it is: the field holds the folded sum of the
//! pseudo header. A right checksum may have that value too, by chance; but then the sum of all else
//! is zero, and completing gives the same value again. So a frame that was right is never changed.

use super::super::checksum;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// VLAN tags looked behind.
const TAGS_MAX: usize = 2;

/// Where the transport header is and what its pseudo header sums to.
struct Transport {
    at: usize,
    end: usize,
    field: usize,
    pseudo_sum: u64,
}

fn half(frame: &[u8], at: usize) -> Option<usize> {
    let bytes = frame.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

fn parse(frame: &[u8]) -> Option<Transport> {
    let mut kind_at = 12;
    for _ in 0..TAGS_MAX {
        if matches!(half(frame, kind_at)?, 0x8100 | 0x88a8) {
            kind_at += 4;
        }
    }
    let network = kind_at + 2;
    let (at, end, protocol, addresses) = match half(frame, kind_at)? {
        0x0800 => {
            let first = *frame.get(network)?;
            let header_len = usize::from(first & 0x0f) * 4;
            let is_fragment = half(frame, network + 6)? & 0x3fff != 0;
            if first >> 4 != 4 || header_len < 20 || is_fragment {
                return None;
            }
            let end = network + half(frame, network + 2)?;
            (network + header_len, end, frame.get(network + 9)?, network + 12..network + 20)
        }
        0x86dd => {
            let end = network + 40 + half(frame, network + 4)?;
            (network + 40, end, frame.get(network + 6)?, network + 8..network + 40)
        }
        _ => return None,
    };
    let field = at + if *protocol == TCP { 16 } else { 6 };
    if !matches!(*protocol, TCP | UDP) || field + 2 > end || end > frame.len() {
        return None;
    }
    let start = u64::from(*protocol) + (end - at) as u64;
    let pseudo_sum = checksum::add(start, frame.get(addresses)?);
    Some(Transport { at, end, field, pseudo_sum })
}

/// Completes the checksum of TCP or UDP if it was left to the card.
pub(super) fn complete(frame: &mut [u8]) {
    let Some(transport) = parse(frame) else { return };
    let Transport { at, end, field, pseudo_sum } = transport;
    let pending = !checksum::finish(pseudo_sum);
    if half(frame, field) != Some(usize::from(pending)) {
        return;
    }
    let sum = checksum::finish_udp(checksum::add(0, &frame[at..end]));
    frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame of one tag or none, with its checksum field zero; and where the field is.
    fn frame(is_tagged: bool, protocol: u8, payload: &[u8]) -> (Vec<u8>, usize) {
        let mut frame = vec![2; 12];
        if is_tagged {
            frame.extend([0x81, 0, 0, 7]);
        }
        let header_len = if protocol == TCP { 20 } else { 8 };
        let total = u16::try_from(20 + header_len + payload.len()).unwrap();
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let at = frame.len();
        frame.resize(at + header_len, 3);
        let field = at + if protocol == TCP { 16 } else { 6 };
        frame[field..field + 2].fill(0);
        frame.extend(payload);
        frame.extend([9; 6]); // Padding is no part of the sum.
        (frame, field)
    }

    fn put(frame: &mut [u8], field: usize, value: u16) {
        frame[field..field + 2].copy_from_slice(&value.to_be_bytes());
    }

    proptest! {
        #[test]
        fn what_was_left_is_completed_and_what_is_right_stays(
            is_tagged: bool, is_tcp: bool, mut payload in prop::collection::vec(any::<u8>(), 2..80),
            is_ambiguous: bool,
        ) {
            let protocol = if is_tcp { TCP } else { UDP };
            if is_ambiguous {
                // Makes all but the pseudo header sum to zero beside a field that equals its sum:
                // then the right checksum has the pending value.
                payload[..2].fill(0);
                let (mut bare, field) = frame(is_tagged, protocol, &payload);
                let transport = parse(&bare).unwrap();
                put(&mut bare, field, !checksum::finish(transport.pseudo_sum));
                let twice = checksum::add(transport.pseudo_sum, &bare[transport.at..transport.end]);
                payload[..2].copy_from_slice(&checksum::finish(twice).to_be_bytes());
            }
            let (mut right, field) = frame(is_tagged, protocol, &payload);
            let transport = parse(&right).unwrap();
            let whole = &right[transport.at..transport.end];
            let sum = checksum::finish_udp(checksum::add(transport.pseudo_sum, whole));
            put(&mut right, field, sum);
            let mut pending = right.clone();
            put(&mut pending, field, !checksum::finish(transport.pseudo_sum));
            if is_ambiguous {
                prop_assert_eq!(&pending, &right);
            }
            complete(&mut pending);
            prop_assert_eq!(&pending, &right);
            complete(&mut pending);
            prop_assert_eq!(&pending, &right);
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            complete(&mut bytes);
            if bytes.len() > 14 {
                bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
                complete(&mut bytes);
            }
        }
    }
}
