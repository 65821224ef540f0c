//! Tunnels taken off in the parser (`docs/nic-abi.md` §5.7).

use crate::checksum;
use crate::packet::Packet;
use crate::parser::{Headers, L3, L4, half, parse_frame, parse_packet, word};
use twinpath_abi::key::{ETH_TYPE, IN_PORT, IP_FRAG, IP_TOS, KEY_BYTES, KeyBytes, TUN_ID};
use twinpath_abi::tunnel::{TunnelImage, TunnelKind};

/// Where the UDP payload starts: no tag, no IP options.
const PAYLOAD: usize = 42;
/// Congestion experienced.
const CONGESTED: u8 = 3;

/// A received frame as the tables see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    /// The key, of the inner frame if there is one.
    pub(crate) key: KeyBytes,
    /// Headers of the inner frame.
    pub(crate) headers: Headers,
    /// Outer bytes in front of the inner frame.
    pub(crate) strip: usize,
    /// Ethertype of the zero-address header put in front, 0 for none.
    pub(crate) prepend: u16,
    /// The frame goes to the host whole.
    pub(crate) exception: bool,
}

impl Parsed {
    /// Makes the received frame in `packet` the inner frame.
    pub(crate) fn open(&self, packet: &mut Packet) {
        packet.strip_front(self.strip);
        if self.prepend != 0 {
            packet.prepend(&self.prepend.to_be_bytes());
            packet.prepend(&[0; 12]);
        }
    }
}

/// Parses a frame received on port `index` with `number`; `tunnels` by index.
pub(crate) fn parse(
    frame: &[u8],
    index: u16,
    number: u16,
    tunnels: &[Option<TunnelImage>],
) -> Parsed {
    let (key, headers) = parse_frame(frame, number);
    let outer = Parsed {
        key,
        headers: headers.unwrap_or_default(),
        strip: 0,
        prepend: 0,
        exception: headers.is_none(),
    };
    let Some(tunnel) = find_tunnel(frame, &outer, index, tunnels) else { return outer };
    let exception = Parsed { exception: true, ..outer };
    if !is_outer_good(frame, &outer.headers) {
        return exception;
    }
    match TunnelHeader::read(tunnel.kind, &frame[PAYLOAD..outer.headers.end]) {
        Some(header) => read_inner(frame, &header, tunnel.number).unwrap_or(exception),
        None => exception,
    }
}

fn find_tunnel<'a>(
    frame: &[u8],
    outer: &Parsed,
    index: u16,
    tunnels: &'a [Option<TunnelImage>],
) -> Option<&'a TunnelImage> {
    let Parsed { headers, key, .. } = outer;
    let candidate = headers.tags == 0
        && headers.l3 == L3::V4
        && headers.l4 == L4::Udp
        && key[IP_FRAG] == 0
        && !tunnels.is_empty();
    if !candidate {
        return None;
    }
    let (source, target) = (&frame[headers.l3_at + 12..][..4], &frame[headers.l3_at + 16..][..4]);
    let port = half(frame, headers.l4_at + 2);
    let claims = |tunnel: &&TunnelImage| {
        tunnel.over == index
            && tunnel.local_ip == *target
            && tunnel.udp_port == port
            && tunnel.remote_ip.is_none_or(|remote| remote == *source)
    };
    let found = tunnels.iter().flatten().filter(claims);
    // The first with a fixed peer, else the first: `min_by_key` keeps the earlier of equals.
    found.min_by_key(|tunnel| tunnel.remote_ip.is_none())
}

/// No SNAP, no options, right header checksum, and a UDP checksum that is right or absent.
fn is_outer_good(frame: &[u8], headers: &Headers) -> bool {
    if headers.l3_at != 14 || headers.l4_at != 34 || checksum::sum(&frame[14..34]) != 0 {
        return false;
    }
    let segment = &frame[34..headers.end];
    let pseudo = checksum::sum(&frame[26..34]) + 17 + u32::from(half(frame, 16)) - 20;
    half(segment, 6) == 0 || (pseudo + checksum::sum(segment)).is_multiple_of(0xffff)
}

/// What stands between UDP header and inner packet.
struct TunnelHeader {
    id: u32,
    bytes: usize,
    /// Ethertype of an inner packet without Ethernet header, else 0.
    kind: u16,
}

impl TunnelHeader {
    /// `None` when the card leaves it to the host.
    fn read(kind: TunnelKind, bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 8 {
            return None;
        }
        match kind {
            TunnelKind::Vxlan => {
                let good = word(bytes, 0) == 0x0800_0000 && bytes[7] == 0;
                good.then_some(Self { id: word(bytes, 4) >> 8, bytes: 8, kind: 0 })
            }
            TunnelKind::Geneve => {
                let skip = 8 + usize::from(bytes[0] & 0x3f) * 4;
                let good = bytes[0] >> 6 == 0 && half(bytes, 2) == 0x6558 && skip <= bytes.len();
                good.then_some(Self { id: word(bytes, 4) >> 8, bytes: skip, kind: 0 })
            }
            TunnelKind::Gtpu => Self::read_gtpu(bytes),
        }
    }

    fn read_gtpu(bytes: &[u8]) -> Option<Self> {
        if bytes[1] != 255 {
            return None;
        }
        let mut skip = 8;
        if bytes[0] & 7 != 0 {
            skip = 12;
            let mut next = *bytes.get(11)?;
            // Ends: an extension of length 0 is left to the host, others advance.
            while bytes[0] & 4 != 0 && next != 0 {
                let length = usize::from(*bytes.get(skip)?) * 4;
                if length == 0 || skip + length > bytes.len() {
                    return None;
                }
                skip += length;
                next = bytes[skip - 1];
            }
        }
        let kind = match bytes.get(skip)? >> 4 {
            4 => 0x0800,
            6 => 0x86dd,
            _ => return None,
        };
        Some(Self { id: word(bytes, 4), bytes: skip, kind })
    }
}

/// `None` when the host must handle the inner packet.
fn read_inner(frame: &[u8], header: &TunnelHeader, number: u16) -> Option<Parsed> {
    let strip = PAYLOAD + header.bytes;
    let inner = &frame[strip..];
    let (mut key, headers) = if header.kind == 0 {
        let (key, headers) = parse_frame(inner, number);
        (key, headers?)
    } else {
        let mut key = [0; KEY_BYTES];
        key[IN_PORT].copy_from_slice(&number.to_be_bytes());
        key[ETH_TYPE].copy_from_slice(&header.kind.to_be_bytes());
        let mut headers = Headers::default();
        parse_packet(inner, header.kind, &mut key, &mut headers);
        headers.l3_at += 14;
        headers.l4_at += 14;
        headers.end += 14;
        headers.pseudo_sum_at += if headers.pseudo_sum_at == 0 { 0 } else { 14 };
        (key, headers)
    };
    key[TUN_ID].copy_from_slice(&header.id.to_be_bytes());
    let is_ip = matches!(key[ETH_TYPE], [0x08, 0x00] | [0x86, 0xdd]);
    let marked = frame[15] & CONGESTED == CONGESTED;
    if marked && is_ip && key[IP_TOS] & CONGESTED != CONGESTED {
        return None;
    }
    Some(Parsed { key, headers, strip, prepend: header.kind, exception: false })
}
