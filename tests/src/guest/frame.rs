//! Frames for the rocker's wires.

/// The station with that number: `02:00:00:00:00:NN`.
#[must_use]
pub const fn station(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// Every station.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// An untagged frame of 64 bytes with an experimental Ethertype, told apart by `number`.
#[must_use]
pub fn plain(target: [u8; 6], source: [u8; 6], number: u16) -> Vec<u8> {
    let mut frame = [&target[..], &source, &[0x88, 0xb5], &number.to_be_bytes()].concat();
    frame.resize(64, 0xa5);
    frame
}

/// The same frame with a tag.
#[must_use]
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0], &vlan.to_be_bytes(), rest].concat()
}

/// An IPv4 UDP frame of 64 bytes with a right header checksum.
#[must_use]
pub fn ipv4(addresses: [[u8; 6]; 2], target: [u8; 4], ttl: u8) -> Vec<u8> {
    let [destination, source] = addresses;
    let mut header = [0x45, 0, 0, 50, 0, 0, 0x40, 0, ttl, 17, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0];
    header[16..].copy_from_slice(&target);
    let words = header.as_chunks::<2>().0;
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ports = [0x12, 0x34, 0x56, 0x78, 0, 30, 0, 0];
    let mut frame = [&destination[..], &source, &[8, 0], &header, &ports].concat();
    frame.resize(64, 0);
    frame
}
