//! Clients that break the protocol: each ends as it should, and the next one finds a good card.

use crate::served::Service;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use twinpath_abi::bus::CardMemory as _;
use twinpath_abi::register::IDENTITY_VALUE;
use twinpath_host_driver::vfio_user::bus::RemoteBus;
use twinpath_host_driver::vfio_user::message::body::{DmaMap, RegionAccess};
use twinpath_host_driver::vfio_user::message::header::{Command, Header, Kind};
use twinpath_host_driver::vfio_user::message::interrupt::{MSIX, SetInterrupts, set};
use twinpath_host_driver::vfio_user::message::version::Version;
use twinpath_host_driver::vfio_user::sealed;

const GREETING: &[u8] = b"\0\0\x01\0{\"capabilities\":{}}\0";

fn message(id: u16, command: u16, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(16 + body.len()).unwrap();
    let mut message = Vec::from(Header { id, command, bytes, kind: Kind::Command }.encode());
    message.extend_from_slice(body);
    message
}

fn connect(service: &Service) -> UnixStream {
    let stream = UnixStream::connect(service.path()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn greeted(service: &Service) -> UnixStream {
    let mut stream = connect(service);
    stream.write_all(&message(0, Command::Version as u16, GREETING)).unwrap();
    let (header, body) = reply(&mut stream);
    assert_eq!((header.id, header.kind), (0, Kind::Reply));
    assert_eq!(Version::decode(&body), Ok(Version::ours()));
    stream
}

fn reply(stream: &mut UnixStream) -> (Header, Vec<u8>) {
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    let header = Header::decode(&header).unwrap();
    let mut body = vec![0; header.bytes as usize - 16];
    stream.read_exact(&mut body).unwrap();
    (header, body)
}

/// Sends a message with descriptors, and returns the error number of the answer, 0 for none.
fn ask(stream: &mut UnixStream, command: Command, body: &[u8], with: &[BorrowedFd<'_>]) -> u32 {
    send_with(stream, &message(7, command as u16, body), with);
    let (header, _) = reply(stream);
    assert_eq!((header.id, header.command), (7, command as u16));
    match header.kind {
        Kind::Refusal(error) => error,
        Kind::Reply => 0,
        kind => panic!("{kind:?}"),
    }
}

fn send_with(stream: &UnixStream, bytes: &[u8], with: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(with)));
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// The server has closed the connection, whatever it said before.
fn is_closed(mut stream: UnixStream) {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// The next client is served.
fn is_well(service: &Service) {
    let bus = RemoteBus::new(service.path(), 1 << 16, 3, Duration::from_secs(5)).unwrap();
    bus.connect().unwrap();
    assert_eq!(twinpath_abi::bus::Bus::read32(&bus, 0), IDENTITY_VALUE);
}

#[test]
fn greetings_that_mean_nothing_are_refused_and_hung_up_on() {
    let service = Service::start(2);
    let deep = [b"\0\0\x01\0".as_slice(), &[b'['; 3000], b"\0"].concat();
    let bodies: [&[u8]; 6] = [
        b"",
        b"\0\0\x01\0{\"capabilities\":\0",
        b"\x01\0\0\0{}\0",
        b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":-5}}\0",
        b"\0\0\x01\0\xff\xfe\0",
        &deep,
    ];
    for body in bodies {
        let mut stream = connect(&service);
        assert_eq!(ask(&mut stream, Command::Version, body, &[stdin().as_fd()]), 22);
        is_closed(stream);
    }
    // Whoever does not greet is not answered but with an error.
    let mut stream = connect(&service);
    assert_ne!(ask(&mut stream, Command::DeviceReset, &[], &[stdin().as_fd()]), 0);
    is_closed(stream);
    is_well(&service);
}

fn stdin() -> std::io::Stdin {
    std::io::stdin()
}

#[test]
fn headers_that_mean_nothing_end_the_connection() {
    let service = Service::start(2);
    let mut good = message(1, 4, &[0; 16]);
    good[8] = 0;
    for (at, value) in [(4, 15_u32), (4, 0), (4, u32::MAX), (8, 3), (8, 0x20), (8, 1)] {
        let mut stream = greeted(&service);
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        stream.write_all(&bytes).unwrap();
        is_closed(stream);
    }
    is_well(&service);
}

#[test]
fn silence_in_the_middle_of_a_message_is_not_waited_for() {
    let service = Service::start(2);
    is_closed(connect(&service));
    let mut stream = greeted(&service);
    stream.write_all(&message(1, 9, &[0; 16])[..20]).unwrap();
    is_closed(stream);
    // Nor is a client that sends a byte at a time.
    let mut stream = greeted(&service);
    for byte in message(1, 10, &[0; 200]) {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::yield_now();
    }
    drop(stream);
    is_well(&service);
}

#[test]
fn accesses_beyond_regions_and_counts_that_lie_are_refused() {
    let service = Service::start(2);
    let mut stream = greeted(&service);
    let mut refused = |command, region, offset, count: u32, data: &[u8]| {
        let access = RegionAccess { offset, region, count };
        let body = [&access.encode(), data].concat();
        let error = ask(&mut stream, command, &body, &[stdin().as_fd()]);
        assert_eq!(error, 22, "{access:?} {} bytes", data.len());
    };
    refused(Command::RegionRead, 0, 0x1_0000, 1, &[]);
    refused(Command::RegionRead, 0, 0xffff, 2, &[]);
    refused(Command::RegionRead, 0, u64::MAX, 4, &[]);
    refused(Command::RegionRead, 0, 0, u32::MAX, &[]);
    refused(Command::RegionRead, 7, 256, 1, &[]);
    refused(Command::RegionRead, 1, 0, 4, &[]);
    refused(Command::RegionRead, u32::MAX, 0, 4, &[]);
    refused(Command::RegionWrite, 0, 0, 8, &[0; 4]);
    refused(Command::RegionWrite, 0, 0, 4, &[0; 8]);
    refused(Command::RegionWrite, 7, 255, 2, &[0; 2]);
    assert_eq!(ask(&mut stream, Command::RegionInfo, &[0; 8], &[stdin().as_fd()]), 22);
    assert_eq!(ask(&mut stream, Command::DmaRead, &[0; 16], &[stdin().as_fd()]), 95);
    stream.write_all(&message(9, 999, &[1; 40])).unwrap();
    assert_eq!(reply(&mut stream).0.kind, Kind::Refusal(95));
    assert_eq!(service.memory.load32(0), IDENTITY_VALUE);
}

#[test]
fn maps_that_would_harm_the_card_are_refused() {
    let service = Service::start(2);
    let mut stream = greeted(&service);
    let file = sealed::create("arena", 8192).unwrap();
    let loose = rustix::fs::memfd_create("loose", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&loose, 8192).unwrap();
    let good = DmaMap { flags: 3, offset: 0, address: 0x10_0000, bytes: 4096 };
    let mut ask_map = |map: DmaMap, with: &[BorrowedFd<'_>]| {
        ask(&mut stream, Command::DmaMap, &map.encode(), with)
    };
    let file = file.as_fd();
    let harmful = [
        (DmaMap { bytes: 0, ..good }, 22),
        (DmaMap { bytes: 100, ..good }, 22),
        (DmaMap { bytes: 12288, ..good }, 22),
        (DmaMap { bytes: 1 << 63, ..good }, 22),
        (DmaMap { offset: 8192, ..good }, 22),
        (DmaMap { offset: u64::MAX - 4095, ..good }, 22),
        (DmaMap { address: u64::MAX - 4095, bytes: 8192, ..good }, 22),
        (DmaMap { address: 0x10_0001, ..good }, 22),
        (DmaMap { flags: 8, ..good }, 22),
    ];
    for (map, error) in harmful {
        assert_eq!(ask_map(map, &[file]), error, "{map:?}");
    }
    // A file that can be cut off would kill the card's process when it is.
    assert_eq!(ask_map(good, &[loose.as_fd()]), 1);
    assert_ne!(ask_map(good, &[stdin().as_fd()]), 0);
    assert_eq!(ask_map(good, &[file, file]), 22);
    assert_eq!(ask_map(good, &[file]), 0);
    assert_eq!(ask_map(good, &[file]), 17, "twice");
    // What is given for reading only is not written.
    let read_only = DmaMap { flags: 1, address: 0x20_0000, ..good };
    assert_eq!(ask_map(read_only, &[file]), 0);
    assert!(service.memory.dma_write(0x20_0000, &[1]).is_err());
    service.memory.dma_read(0x20_0000, &mut [0]).unwrap();
    let error = (0..300)
        .map(|index| ask_map(DmaMap { address: (1 << 40) + index * 4096, ..good }, &[file]))
        .find(|error| *error != 0);
    assert_eq!(error, Some(28), "the number of maps is bounded");
}

#[test]
fn only_bells_ring_and_only_vectors_there_are() {
    let service = Service::start(2);
    let mut stream = greeted(&service);
    let (flags, index) = (set::EVENTFD | set::TRIGGER, MSIX);
    let good = SetInterrupts { flags, index, start: 0, count: 1 };
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let (pipe, full) = rustix::pipe::pipe().unwrap();
    let mut ask_set = |request: SetInterrupts, with: &[BorrowedFd<'_>]| {
        ask(&mut stream, Command::SetInterrupts, &request.encode(), with)
    };
    // The card would wait for ever on a full pipe.
    assert_eq!(ask_set(good, &[full.as_fd()]), 22);
    drop(pipe);
    let bell = bell.as_fd();
    assert_eq!(ask_set(SetInterrupts { start: 3, ..good }, &[bell]), 22);
    assert_eq!(ask_set(SetInterrupts { start: u32::MAX, ..good }, &[bell]), 22);
    assert_eq!(ask_set(SetInterrupts { count: 2, ..good }, &[bell]), 22);
    assert_eq!(ask_set(SetInterrupts { index: 0, ..good }, &[bell]), 22);
    assert_eq!(ask_set(SetInterrupts { index: 99, ..good }, &[bell]), 22);
    assert_eq!(ask_set(SetInterrupts { flags: u32::MAX, ..good }, &[bell]), 22);
    assert_eq!(ask_set(good, &[bell]), 0);
    // More descriptors than anybody agreed on.
    send_with(&stream, &message(1, Command::SetInterrupts as u16, &good.encode()), &[bell; 17]);
    is_closed(stream);
    is_well(&service);
}

#[test]
fn random_bytes_leave_the_server_serving() {
    let service = Service::start(2);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let mut stream = greeted(&service);
        for _ in 0..5 {
            let length = usize::try_from(random() % 64).unwrap();
            let body: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[0]).collect();
            let command = u16::try_from(random() % 16).unwrap();
            if stream.write_all(&message(1, command, &body)).is_err() {
                break;
            }
        }
    }
    is_well(&service);
}
