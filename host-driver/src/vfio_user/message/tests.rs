//! Literal bytes of messages, and that no bytes make a reader panic.

use super::body::{DmaMap, DmaUnmap, RegionAccess};
use super::header::{Header, HeaderError, Kind};
use super::region::{Area, RegionInfo};
use super::version::{Version, VersionError};
use super::*;
use proptest::prelude::*;

#[test]
fn a_header_has_the_bytes_of_the_specification() {
    let header = Header { id: 0x1234, command: 9, bytes: 32, kind: Kind::Refusal(22) };
    let bytes = [0x34, 0x12, 9, 0, 32, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0];
    assert_eq!(header.encode(), bytes);
    assert_eq!(Header::decode(&bytes), Ok(header));
    let quiet = Header { kind: Kind::Quiet, ..header };
    assert_eq!(quiet.encode()[8], 0x10);
    assert_eq!(Header::decode(&quiet.encode()), Ok(quiet));
}

#[test]
fn lengths_and_flags_that_mean_nothing_are_refused() {
    let good = Header { id: 1, command: 1, bytes: 16, kind: Kind::Command }.encode();
    let mut bytes = good;
    bytes[4] = 15;
    assert_eq!(Header::decode(&bytes), Err(HeaderError::Length(15)));
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Header::decode(&bytes), Err(HeaderError::Length(u32::MAX)));
    bytes = good;
    bytes[8] = 2;
    assert_eq!(Header::decode(&bytes), Err(HeaderError::Flags(2)));
    // An error is always a reply.
    bytes[8] = 0x20;
    assert_eq!(Header::decode(&bytes), Err(HeaderError::Flags(0x20)));
}

#[test]
fn a_map_has_the_bytes_of_the_specification() {
    let map = DmaMap { flags: 3, offset: 0x1000, address: 0x1_0000_0000, bytes: 0x2000 };
    let mut bytes = [0; 32];
    (bytes[0], bytes[4], bytes[9], bytes[20], bytes[25]) = (32, 3, 0x10, 1, 0x20);
    assert_eq!(map.encode(), bytes);
    assert_eq!(DmaMap::decode(&bytes), Ok(map));
    let unmap = DmaUnmap { flags: 0, address: 0x1_0000_0000, bytes: 0x2000 };
    assert_eq!(DmaUnmap::decode(&unmap.encode()), Ok(unmap));
}

#[test]
fn a_region_tells_its_areas_where_there_is_room() {
    let areas = vec![Area { offset: 0, bytes: 0x1_0000 }];
    let info = RegionInfo { index: 0, flags: 7, bytes: 0x1_0000, offset: 0, areas };
    let body = info.encode(1024);
    assert_eq!(body.len(), 64);
    assert_eq!(body[32..52], [1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (length, read) = RegionInfo::decode(&body).unwrap();
    assert_eq!((length, read), (64, RegionInfo { flags: 15, ..info.clone() }));
    let (length, read) = RegionInfo::decode(&info.encode(32)).unwrap();
    assert_eq!((length, read.areas), (64, Vec::new()));
}

#[test]
fn capability_lists_that_go_nowhere_are_refused() {
    let areas = vec![Area { offset: 0, bytes: 4096 }];
    let body = RegionInfo { index: 0, flags: 7, bytes: 4096, offset: 0, areas }.encode(64);
    // A capability before the list, beyond the end, one that points at itself, too many areas.
    for (at, value) in [(12, 8_u32), (12, 60), (12, u32::MAX), (40, 2), (40, u32::MAX)] {
        let mut bytes = body.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(RegionInfo::decode(&bytes).is_err(), "{value} at {at}");
    }
    let mut bytes = body;
    bytes[32] = 9;
    bytes[36] = 32;
    assert!(RegionInfo::decode(&bytes).is_err(), "a circle");
}

#[test]
fn versions_are_read_as_peers_write_them() {
    assert_eq!(Version::decode(&Version::ours().encode()), Ok(Version::ours()));
    let plain = Version::decode(&[0, 0, 1, 0]).unwrap();
    assert_eq!((plain.descriptors_max, plain.data_max), (1, 1 << 20));
    let text =
        b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":8,\"migration\":{\"pgsize\":4096}}}\0";
    assert_eq!(Version::decode(text).unwrap().descriptors_max, 8);
}

#[test]
fn versions_that_mean_nothing_are_refused() {
    let wrong = Err(VersionError::Capabilities);
    assert_eq!(Version::decode(b"\0\0\x01\0{\"capabilities\":{\0"), wrong);
    assert_eq!(Version::decode(b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":-1}}\0"), wrong);
    assert_eq!(Version::decode(b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":[]}}\0"), wrong);
    assert_eq!(Version::decode(b"\0\0\x01\0\xff\xff\0"), wrong);
    let other = VersionError::Other { major: 1, minor: 0 };
    assert_eq!(Version::decode(b"\x01\0\0\0{}\0"), Err(other));
    assert!(Version::decode(b"\0\0\x01").is_err());
}

#[test]
fn an_access_never_counts_more_than_a_message_holds() {
    let access = RegionAccess { offset: 0, region: 0, count: u32::MAX };
    assert!(RegionAccess::decode(&access.encode()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        if let Some(header) = bytes.first_chunk() {
            let _ = Header::decode(header);
        }
        let _ = Version::decode(&bytes);
        let _ = RegionInfo::decode(&bytes);
        let _ = RegionInfo::decode_request(&bytes);
        let _ = RegionAccess::decode(&bytes);
        let _ = body::DmaAccess::decode(&bytes);
        let _ = body::DeviceInfo::decode(&bytes);
        let _ = interrupt::InterruptInfo::decode(&bytes);
        let _ = interrupt::SetInterrupts::decode(&bytes);
    }
}
