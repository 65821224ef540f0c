//! Segments against what Linux' own software segmentation must give: lengths, numbers, flags and
//! checksums of each, computed here by hand-made headers.

use super::super::vnet::HEADER_LEN;
use super::*;

fn virtio(kind: u8, segment_len: u16, start: u16, offset: u16) -> VirtioHeader {
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = 1;
    bytes[1] = kind;
    bytes[4..6].copy_from_slice(&segment_len.to_ne_bytes());
    bytes[6..8].copy_from_slice(&start.to_ne_bytes());
    bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
    VirtioHeader::read(&bytes)
}

fn ipv4(protocol: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0x12, 0xff, 0x40, 0, 64, protocol, 0, 0];
    put_half(&mut header, 2, length(20 + payload));
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    header
}

fn ipv6(protocol: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
    put_half(&mut header, 4, length(payload));
    header.extend([0x20; 16]);
    header.extend([0x30; 16]);
    header
}

/// TCP with flags CWR, PSH, ACK, FIN and twelve bytes of options.
fn tcp(payload: usize) -> Vec<u8> {
    let mut header =
        vec![0, 80, 0, 90, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1, 0x80, 0x99, 1, 0, 0, 0, 0, 0];
    header.extend([1; 12]);
    header.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
    header
}

fn ethernet(kind: u16, rest: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(kind.to_be_bytes());
    rest.iter().for_each(|part| frame.extend(*part));
    frame
}

fn cut(frame: &[u8], header: &VirtioHeader) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    segment(frame, header, &mut Vec::new(), |part| segments.push(part.clone())).unwrap();
    segments
}

/// The sum over a whole IPv4 header, or over transport and pseudo header, must fold to zero.
fn assert_sums(frame: &[u8], network: Network) {
    if !network.is_v6 {
        assert_eq!(checksum::finish(checksum::add(0, &frame[network.at..network.l4_at])), 0);
    }
    let sum = network.pseudo_header(frame, frame.len() - network.l4_at);
    assert_eq!(checksum::finish(checksum::add(sum, &frame[network.l4_at..])), 0);
}

#[test]
fn tcp_over_ipv4_becomes_segments_with_their_own_numbers() {
    let transport = tcp(2_500);
    let frame = ethernet(0x0800, &[&ipv4(TCP, transport.len()), &transport]);
    let segments = cut(&frame, &virtio(1, 1_000, 34, 16));
    let lengths: Vec<usize> = segments.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1_066, 1_066, 566]);
    let flags: Vec<u8> = segments.iter().map(|segment| segment[47]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19], "CWR only first, PSH and FIN only last");
    for (number, part) in segments.iter().enumerate() {
        assert_eq!(usize::from(half(part, 16)), part.len() - 14);
        assert_eq!(half(part, 18), 0x12ff + u16::try_from(number).unwrap());
        let sequence = u32::from_be_bytes(part[38..42].try_into().unwrap());
        assert_eq!(sequence, 0xffff_fff0u32.wrapping_add(u32::try_from(number).unwrap() * 1_000));
        assert_sums(part, Network::parse(part).unwrap());
    }
    let payload: Vec<u8> = segments.iter().flat_map(|part| part[66..].to_vec()).collect();
    assert_eq!(payload, transport[32..]);
}

#[test]
fn a_full_64_kilobytes_are_cut_without_loss() {
    let transport = tcp(65_535 - 20 - 32);
    let frame = ethernet(0x0800, &[&ipv4(TCP, transport.len()), &transport]);
    let segments = cut(&frame, &virtio(1, 1_448, 34, 16));
    let payload: Vec<u8> = segments.iter().flat_map(|part| part[66..].to_vec()).collect();
    assert_eq!(payload, transport[32..]);
    assert_eq!(segments.len(), 46);
}

#[test]
fn tcp_over_ipv6_and_udp_segments_have_right_sums() {
    let transport = tcp(300);
    let frame = ethernet(0x86dd, &[&ipv6(TCP, transport.len()), &transport]);
    for part in cut(&frame, &virtio(4, 100, 54, 16)) {
        assert_eq!(usize::from(half(&part, 18)), part.len() - 54);
        assert_sums(&part, Network::parse(&part).unwrap());
    }
    let mut transport = vec![0, 53, 0, 99, 0, 0, 0, 0];
    transport.extend((0..250u8).collect::<Vec<_>>());
    let frame = ethernet(0x0800, &[&ipv4(UDP, transport.len()), &transport]);
    let segments = cut(&frame, &virtio(5, 100, 34, 6));
    assert_eq!(segments.len(), 3);
    for part in segments {
        assert_eq!(usize::from(half(&part, 38)), part.len() - 34);
        assert_sums(&part, Network::parse(&part).unwrap());
    }
}

#[test]
fn segments_inside_a_vxlan_tunnel_have_right_outer_headers() {
    let transport = tcp(2_100);
    let inner = ethernet(0x0800, &[&ipv4(TCP, transport.len()), &transport]);
    let mut udp = vec![0xc0, 0, 0x12, 0xb5, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 42, 0];
    udp.extend(&inner);
    let frame = ethernet(0x0800, &[&ipv4(UDP, udp.len()), &udp]);
    let start = u16::try_from(14 + 20 + 16 + 14 + 20).unwrap();
    let segments = cut(&frame, &virtio(1, 1_000, start, 16));
    assert_eq!(segments.len(), 3);
    for part in segments {
        let outer = Network::parse(&part).unwrap();
        assert_eq!(usize::from(half(&part, 38)), part.len() - 34);
        assert_sums(&part, outer);
        let from = part[50..].to_vec();
        assert_eq!(usize::from(half(&from, 16)), from.len() - 14);
        assert_sums(&from, Network::parse(&from).unwrap());
    }
}

#[test]
fn a_checksum_left_to_the_card_is_completed() {
    let mut frame = ethernet(0x0800, &[&ipv4(UDP, 12), &[0, 53, 0, 99, 0, 12, 0, 0, 1, 2, 3, 4]]);
    let network = Network::parse(&frame).unwrap();
    set_lengths(&mut frame, network, 0);
    // The stack leaves the folded sum of the pseudo header in the field.
    let pseudo = !checksum::finish(network.pseudo_header(&frame, 12));
    put_half(&mut frame, 40, pseudo);
    assert!(virtio(0, 0, 34, 6).complete(&mut frame));
    assert_sums(&frame, network);
    assert!(!virtio(0, 0, 60, 6).complete(&mut frame), "outside the frame");
}

#[test]
fn what_cannot_be_cut_is_refused_and_nothing_panics() {
    let transport = tcp(300);
    let frame = ethernet(0x0800, &[&ipv4(TCP, transport.len()), &transport]);
    let sink = |_: &mut Vec<u8>| {};
    for header in [virtio(1, 0, 34, 16), virtio(5, 100, 34, 6), virtio(1, 100, 60, 16)] {
        assert_eq!(segment(&frame, &header, &mut Vec::new(), sink), Err(Unsegmentable));
    }
    for length in 0..frame.len() {
        for start in [34, 50] {
            segment(&frame[..length], &virtio(1, 9, start, 16), &mut Vec::new(), sink).ok();
        }
    }
}
