//! Servers that break the protocol: every call ends, with an error that says what happened.

use crate::served::socket;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use twinpath_abi::bus::Bus as _;
use twinpath_host_driver::vfio_user::bus::{ConnectError, RemoteBus};
use twinpath_host_driver::vfio_user::client::{CallError, Client, HostMemory};
use twinpath_host_driver::vfio_user::connection::ConnectionError;
use twinpath_host_driver::vfio_user::message::body::DmaAccess;
use twinpath_host_driver::vfio_user::message::header::{Command, Header, Kind};
use twinpath_host_driver::vfio_user::message::version::Version;

const PATIENCE: Duration = Duration::from_millis(200);

/// A server that does what a test says, with one client.
fn server(act: impl FnOnce(UnixStream) + Send + 'static) -> (PathBuf, JoinHandle<()>) {
    let path = socket("hostile");
    let listener = UnixListener::bind(&path).unwrap();
    let gone = path.clone();
    let thread = std::thread::spawn(move || {
        act(listener.accept().unwrap().0);
        std::fs::remove_file(gone).unwrap();
    });
    (path, thread)
}

fn take(stream: &mut UnixStream) -> Header {
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    let header = Header::decode(&header).unwrap();
    stream.read_exact(&mut vec![0; header.bytes as usize - 16]).unwrap();
    header
}

fn answer(stream: &mut UnixStream, header: Header, body: &[u8]) {
    let bytes = u32::try_from(16 + body.len()).unwrap();
    let header = Header { bytes, ..header };
    stream.write_all(&[&header.encode(), body].concat()).unwrap();
}

/// Takes and answers the greeting.
fn greet(stream: &mut UnixStream) {
    let header = take(stream);
    answer(stream, Header { kind: Kind::Reply, ..header }, &Version::ours().encode());
}

/// Memory of the host: one page of sevens.
struct Sevens;

impl HostMemory for Sevens {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), rustix::io::Errno> {
        if address + out.len() as u64 > 4096 {
            return Err(rustix::io::Errno::FAULT);
        }
        out.fill(7);
        Ok(())
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), rustix::io::Errno> {
        Err(rustix::io::Errno::ACCESS)
    }
}

fn client(path: &PathBuf) -> Result<Client, CallError> {
    Client::greet(UnixStream::connect(path).unwrap(), PATIENCE, Arc::new(Sevens))
}

/// What becomes of a question for the device, answered by `act` after the greeting.
fn asked(act: impl FnOnce(&mut UnixStream, Header) + Send + 'static) -> CallError {
    let (path, thread) = server(|mut stream| {
        greet(&mut stream);
        let header = take(&mut stream);
        act(&mut stream, header);
        // Until the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = client(&path).unwrap();
    let error = client.device_info().unwrap_err();
    drop(client);
    thread.join().unwrap();
    error
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let (path, thread) = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let bus = RemoteBus::new(&path, 4096, 1, PATIENCE).unwrap();
    let error = bus.connect().unwrap_err();
    let silent = CallError::Connection(ConnectionError::Silent(PATIENCE));
    assert_eq!(error.to_string(), silent.to_string());
    assert_eq!(bus.read32(0), u32::MAX);
    drop(bus);
    thread.join().unwrap();
    assert!(matches!(asked(|_, _| {}), CallError::Connection(ConnectionError::Silent(_))));
}

#[test]
fn a_server_that_hangs_up_is_gone() {
    let error = asked(|stream, _| stream.shutdown(std::net::Shutdown::Both).unwrap());
    assert!(matches!(error, CallError::Connection(ConnectionError::Closed)), "{error}");
    let error = asked(|stream, header| {
        let half = Header { kind: Kind::Reply, bytes: 32, ..header };
        stream.write_all(&half.encode()).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
    assert!(matches!(error, CallError::Connection(ConnectionError::Closed)), "{error}");
}

#[test]
fn answers_to_something_else_are_not_believed() {
    let other_id = |stream: &mut UnixStream, header: Header| {
        let id = header.id.wrapping_add(1);
        answer(stream, Header { id, kind: Kind::Reply, ..header }, &[0; 16]);
    };
    assert!(matches!(asked(other_id), CallError::Confused { .. }));
    let other_command = |stream: &mut UnixStream, header: Header| {
        answer(stream, Header { command: 5, kind: Kind::Reply, ..header }, &[0; 16]);
    };
    assert!(matches!(asked(other_command), CallError::Confused { .. }));
    let short = |stream: &mut UnixStream, header: Header| {
        answer(stream, Header { kind: Kind::Reply, ..header }, &[0; 15]);
    };
    assert!(matches!(asked(short), CallError::Body { .. }));
}

#[test]
fn lengths_that_lie_and_crumbs_end_the_connection() {
    let long = |stream: &mut UnixStream, header: Header| {
        let header = Header { bytes: u32::MAX, kind: Kind::Reply, ..header };
        stream.write_all(&header.encode()).unwrap();
    };
    assert!(matches!(asked(long), CallError::Connection(ConnectionError::Header(_))));
    let crumbs = |stream: &mut UnixStream, header: Header| {
        let header = Header { bytes: 16 + 4000, kind: Kind::Reply, ..header };
        let _ = stream.write_all(&header.encode());
        for _ in 0..4000 {
            if stream.write_all(&[0]).is_err() {
                break;
            }
            std::thread::yield_now();
        }
    };
    // Few large pieces, if the client was late; then the body is whole, and zeros are no error.
    let (path, thread) = server(move |mut stream| {
        greet(&mut stream);
        let header = take(&mut stream);
        crumbs(&mut stream, header);
    });
    let mut client = client(&path).unwrap();
    match client.device_info() {
        Err(CallError::Connection(ConnectionError::Crumbs)) | Ok(_) => {}
        Err(error) => panic!("{error}"),
    }
    drop(client);
    thread.join().unwrap();
}

#[test]
fn refusals_carry_their_reason() {
    let refused = |stream: &mut UnixStream, header: Header| {
        answer(stream, Header { kind: Kind::Refusal(13), ..header }, &[]);
    };
    let error = asked(refused);
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[test]
fn a_server_that_only_asks_is_answered_so_often_and_no_more() {
    let (path, thread) = server(|mut stream| {
        greet(&mut stream);
        let ask = |address, count| DmaAccess { address, count }.encode();
        let header = take(&mut stream);
        let request = Header { command: Command::DmaRead as u16, kind: Kind::Command, ..header };
        answer(&mut stream, request, &ask(16, 4));
        let mut reply = [0; 36];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[32..], [7; 4]);
        // Beyond the host's memory, more than a message holds, and what is no question for a host.
        for (command, body) in [(11, ask(4095, 2)), (11, ask(0, u64::MAX)), (9, ask(0, 4))] {
            answer(&mut stream, Header { command, ..request }, &body);
            let mut reply = [0; 16];
            stream.read_exact(&mut reply).unwrap();
            let kind = Header::decode(&reply).unwrap().kind;
            assert!(matches!(kind, Kind::Refusal(_)), "{kind:?}");
        }
        let quiet = Header { kind: Kind::Quiet, ..request };
        let bytes = Header { bytes: 32, ..quiet }.encode();
        let flood = [bytes.as_slice(), &ask(0, 4)].concat().repeat(2000);
        let _ = stream.write_all(&flood);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = client(&path).unwrap();
    assert!(matches!(client.device_info(), Err(CallError::Confused { .. })));
    drop(client);
    thread.join().unwrap();
}

#[test]
fn another_device_is_not_driven() {
    let (path, thread) = server(|mut stream| {
        greet(&mut stream);
        let header = take(&mut stream);
        let mut body = [0; 20];
        (body[8], body[12]) = (7, 4);
        body[16..].copy_from_slice(&[0x36, 0x1b, 0x06, 0x00]);
        answer(&mut stream, Header { kind: Kind::Reply, ..header }, &body);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let bus = RemoteBus::new(&path, 4096, 1, PATIENCE).unwrap();
    let error = bus.connect().unwrap_err();
    assert!(matches!(error, ConnectError::OtherDevice { vendor: 0x1b36, device: 6 }), "{error}");
    drop(bus);
    thread.join().unwrap();
}

#[test]
fn what_a_killed_process_has_asked_does_not_confuse_the_next() {
    let (path, thread) = server(|mut stream| {
        greet(&mut stream);
        // Two questions of the first process are answered when the second is there already.
        let stale = [take(&mut stream), take(&mut stream)];
        let asked = take(&mut stream);
        for header in stale {
            answer(&mut stream, Header { kind: Kind::Reply, ..header }, &[0; 16]);
        }
        answer(&mut stream, Header { kind: Kind::Refusal(22), ..asked }, &[]);
        answer(&mut stream, Header { kind: Kind::Reply, ..stale[0] }, &[0; 16]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let first = client(&path).unwrap();
    let socket = UnixStream::from(first.duplicate().unwrap());
    let mut raw = socket.try_clone().unwrap();
    for id in [40, 41] {
        let command = Command::InterruptInfo as u16;
        let header = Header { id, command, bytes: 32, kind: Kind::Command };
        raw.write_all(&[&header.encode()[..], &[0; 16]].concat()).unwrap();
    }
    drop((first, raw));
    let mut second = Client::resume(socket, PATIENCE, Arc::new(Sevens), 7).unwrap();
    let error = second.interrupt_info(2).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    (0..3).for_each(|_| second.attend().unwrap());
    drop(second);
    thread.join().unwrap();
}
