//! A server that answers the driver with anything: connecting ends, with an error or a bus that can
//! be used; so do the calls after it.

use crate::script::Script;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::cell::RefCell;
use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::register::BAR_BYTES;
use twinpath_host_driver::vfio_user::bus::RemoteBus;
use twinpath_host_driver::vfio_user::identity::ConfigSpace;
use twinpath_host_driver::vfio_user::message::body::{DmaAccess, RegionAccess};
use twinpath_host_driver::vfio_user::message::header::{Command, HEADER_BYTES, Header, Kind};
use twinpath_host_driver::vfio_user::message::interrupt::InterruptInfo;
use twinpath_host_driver::vfio_user::message::region::RegionInfo;
use twinpath_host_driver::vfio_user::message::version::Version;
use twinpath_host_driver::vfio_user::sealed;

/// Longer waits are hangs: the far end closes when its script is over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Replies of one script at most.
const REPLIES_MAX: usize = 64;
/// DMA memory.
const ARENA: usize = 1 << 16;

thread_local! {
    static BUS: RefCell<Option<RemoteBus>> = const { RefCell::new(None) };
}

/// Bytes: replies, each a choice and what it asks for.
pub(super) fn run(data: &[u8]) {
    BUS.with_borrow_mut(|bus| {
        let nowhere = Path::new("/nonexistent/fuzz");
        let bus = bus.get_or_insert_with(|| {
            RemoteBus::new(nowhere, ARENA, 3, PATIENCE).expect("memory for a bus")
        });
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        std::thread::scope(|scope| {
            scope.spawn(move || answer(theirs, Script::new(data)));
            if bus.adopt(ours).is_ok() {
                bus.read32(0);
                bus.write32(8, 1);
                if let Ok(at) = bus.alloc(64) {
                    bus.copy_in(at, &[1; 64]);
                }
                bus.is_connected();
                bus.reset_function();
                bus.is_connected();
            }
            bus.disconnect();
            assert_eq!(bus.read32(0), u32::MAX, "a function that is gone reads all ones");
        });
    });
}

/// Answers what comes as the script says, then hangs up.
fn answer(mut stream: UnixStream, mut script: Script<'_>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    for _ in 0..REPLIES_MAX {
        let mut header = [0; HEADER_BYTES];
        if script.is_over() || stream.read_exact(&mut header).is_err() {
            break;
        }
        let Ok(header) = Header::decode(&header) else { break };
        let mut request = vec![0; header.bytes as usize - HEADER_BYTES];
        if stream.read_exact(&mut request).is_err() {
            break;
        }
        reply(&stream, header, &request, &mut script);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Bits of a choice.
mod choice {
    /// The right body, else one of the script.
    pub(super) const RIGHT: u8 = 1;
    /// First a question of the server's own.
    pub(super) const ASK: u8 = 2;
    /// The header lies.
    pub(super) const LIE: u8 = 4;
    /// One byte of the body is changed.
    pub(super) const CHANGE: u8 = 8;
    /// A file that is not sealed.
    pub(super) const UNSEALED: u8 = 16;
    /// Many files.
    pub(super) const FILES: u8 = 32;
}

fn reply(stream: &UnixStream, header: Header, request: &[u8], script: &mut Script<'_>) {
    let wanted = script.byte();
    if wanted & choice::ASK != 0 {
        let access = DmaAccess { address: script.word64(), count: script.word16().into() };
        let command = if script.byte() & 1 == 0 { Command::DmaRead } else { Command::DmaWrite };
        let body = [&access.encode(), script.piece()].concat();
        let header = Header { command: command as u16, kind: Kind::Quiet, ..header };
        send(stream, header, &body, &[]);
    }
    let mut body = if wanted & choice::RIGHT == 0 {
        script.piece().to_vec()
    } else {
        right(header.command, request)
    };
    if wanted & choice::CHANGE != 0 && !body.is_empty() {
        let at = usize::from(script.word16()) % body.len();
        body[at] = script.byte();
    }
    let mut header = Header { kind: Kind::Reply, ..header };
    if wanted & choice::LIE != 0 {
        header.id ^= script.word16() & 3;
        header.command ^= script.word16() & 1;
        if script.byte() & 1 != 0 {
            header.kind = Kind::Refusal(script.word32());
        }
    }
    let count = if wanted & choice::FILES != 0 { 20 } else { 1 };
    let is_region = header.command == Command::RegionInfo as u16;
    let files: Vec<OwnedFd> =
        (0..count).filter(|_| is_region || count > 1).filter_map(|_| file(wanted)).collect();
    send(stream, header, &body, &files);
}

/// What a good server answers.
fn right(command: u16, request: &[u8]) -> Vec<u8> {
    match Command::of(command) {
        Some(Command::Version) => Version::ours().encode().to_vec(),
        Some(Command::RegionInfo) => {
            let bytes = BAR_BYTES.into();
            let info = RegionInfo { flags: 7, index: 0, bytes, offset: 0, areas: Vec::new() };
            info.encode(u32::MAX).to_vec()
        }
        Some(Command::InterruptInfo) => {
            InterruptInfo { flags: 1, index: 2, count: 3 }.encode().to_vec()
        }
        Some(Command::RegionRead) => {
            let mut body = request.to_vec();
            let count = RegionAccess::decode(request).map_or(0, |(access, _)| access.count);
            let mut ids = vec![0; count as usize];
            ConfigSpace::new(3).read(0, &mut ids);
            body.extend(ids);
            body
        }
        _ => request.to_vec(),
    }
}

fn file(wanted: u8) -> Option<OwnedFd> {
    if wanted & choice::UNSEALED != 0 {
        return memfd_create("fuzz", MemfdFlags::CLOEXEC).ok();
    }
    sealed::create("fuzz", BAR_BYTES.into()).ok()
}

fn send(stream: &UnixStream, header: Header, body: &[u8], files: &[OwnedFd]) {
    let bytes = u32::try_from(HEADER_BYTES + body.len()).expect("short");
    let message = [&Header { bytes, ..header }.encode(), body].concat();
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
    }
    // A driver that has hung up takes nothing.
    let _ = sendmsg(stream, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL);
}
