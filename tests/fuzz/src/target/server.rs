//! A client of a served card that sends anything, with and without files: no message ends the
//! server or stops it, and the next client is greeted.

use crate::script::Script;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::cell::RefCell;
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use twinpath_flow::time::Time;
use twinpath_host_driver::vfio_user::memory::ServedMemory;
use twinpath_host_driver::vfio_user::message::header::{Command, Header, Kind};
use twinpath_host_driver::vfio_user::message::version::Version;
use twinpath_host_driver::vfio_user::sealed;
use twinpath_host_driver::vfio_user::server::{Function, Server};
use twinpath_hw_sim::{Card, Profile};

/// Messages of one client at most.
const MESSAGES_MAX: usize = 32;

struct Served {
    server: Server,
    card: Powered,
    path: PathBuf,
    now: Time,
}

struct Powered(Card<ServedMemory>);

impl Function for Powered {
    fn reset(&mut self) {
        self.0.function_reset();
    }
}

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

impl Served {
    fn start() -> Self {
        let path = std::env::temp_dir().join(format!("twinpath-fuzz-card-{}", std::process::id()));
        let server = Server::bind(&path, 3).expect("a socket for the card");
        let card = Card::new(Profile::named("tiny").expect("known"), server.memory());
        Self { server, card: Powered(card), path, now: Time(0) }
    }

    fn turn(&mut self) {
        self.now.0 += 1_000_000;
        self.server.serve(self.now, &mut self.card);
        self.card.0.step(self.now.0);
    }

    fn connect(&mut self) -> UnixStream {
        let client = UnixStream::connect(&self.path).expect("the server listens");
        client.set_nonblocking(true).expect("a socket");
        self.turn();
        client
    }

    fn depart(&mut self, client: UnixStream) {
        drop(client);
        for _ in 0..8 {
            self.turn();
        }
        assert!(!self.server.has_client(), "a client that is gone is forgotten");
    }
}

/// Bytes: messages, each a choice, a command and a body.
pub(super) fn run(data: &[u8]) {
    SERVED.with_borrow_mut(|served| {
        let served = served.get_or_insert_with(Served::start);
        let mut client = served.connect();
        let mut script = Script::new(data);
        for _ in 0..MESSAGES_MAX {
            if script.is_over() {
                break;
            }
            send(&client, &mut script);
            served.turn();
            let mut replies = [0; 65_536];
            let _ = client.read(&mut replies);
        }
        served.depart(client);
        greet_again(served);
    });
}

/// The next client is served.
fn greet_again(served: &mut Served) {
    let mut client = served.connect();
    client
        .write_all(&message(Command::Version as u16, 0, &Version::ours().encode()))
        .expect("room");
    served.turn();
    let mut reply = [0; 16];
    client.read_exact(&mut reply).expect("a reply to the greeting");
    assert_eq!(Header::decode(&reply).expect("a header").kind, Kind::Reply);
    served.depart(client);
}

fn message(command: u16, id: u16, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(16 + body.len()).expect("short");
    let header = Header { id, command, bytes, kind: Kind::Command };
    [&header.encode(), body].concat()
}

/// Sends one message of the script: raw, or under a right header; with files if it says so.
fn send(client: &UnixStream, script: &mut Script<'_>) {
    let choice = script.byte();
    let bytes = match choice & 3 {
        0 => script.piece().to_vec(),
        1 => message(Command::Version as u16, 1, &Version::ours().encode()),
        _ => {
            let command = u16::from(script.byte() % 16);
            message(command, 2, script.piece())
        }
    };
    let files: Vec<OwnedFd> =
        (0..usize::from(choice >> 2) % 20).filter_map(|_| file(choice)).collect();
    let files: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
    }
    // A server that has hung up takes nothing.
    let _ = sendmsg(client, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL);
}

/// Memory sealed as agreed, memory that is not, or a file that is neither.
fn file(choice: u8) -> Option<OwnedFd> {
    match choice >> 6 {
        0 | 1 => sealed::create("fuzz", 1 << 16).ok(),
        2 => memfd_create("fuzz", MemfdFlags::CLOEXEC).ok(),
        _ => std::fs::File::open("/dev/null").ok().map(OwnedFd::from),
    }
}
