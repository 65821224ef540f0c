//! An existing interface as a wire, through a packet socket: everything it receives arrives.
//!
//! Frames arrive as the wire would have shown them: the VLAN tag the kernel took off is put back
//! with its type, a checksum left to the card is completed, and a large frame left to the card to
//! cut (GSO, up to 64 KB) is cut here. All three are told by the socket beside each frame
//! (`PACKET_AUXDATA`, `PACKET_VNET_HDR`), so no setting of the interface or of its peer is changed.
//! Turning the offloads off instead would not do: the frames of a veth's peer are shaped by the
//! peer's settings, and that may be out of reach in another namespace.

mod blocks;
mod segment;
pub(super) mod spec;
mod sys;
mod vnet;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::queue::SendQueue;
use super::tap::sys as interface;
use super::{FrameSink, Opened, Wire, WireCounters, WireError};
use blocks::Blocks;
pub use spec::{PacketSpec, Reception};
use sys::{Auxiliary, BATCH, Slot};
use vnet::{HEADER_LEN, Segmentation, VirtioHeader};

/// Longest message: virtio header, Ethernet header with an inner tag, 64 KB.
const MESSAGE_MAX: usize = HEADER_LEN + 18 + 65_536;
/// Both addresses, which stand before a VLAN tag.
const ADDRESSES_LEN: usize = 12;
const TAG_LEN: usize = 4;
/// Busy calls of `receive` between questions for the kernel's drops.
const CALLS_UNASKED_MAX: u32 = 1024;
const REMEDY: &str = "run as root or with CAP_NET_RAW and CAP_NET_ADMIN";
/// Link types that carry Ethernet frames: Ethernet itself and the loopback interface.
const ETHERNET: [u16; 2] = [1, 772];

struct Packet {
    name: String,
    /// Received frames, when they come in blocks.
    blocks: Option<Blocks>,
    socket: OwnedFd,
    control: OwnedFd,
    slots: Box<[Slot]>,
    scratch: Vec<u8>,
    queue: SendQueue,
    counters: WireCounters,
    /// Calls of `receive` until the kernel is asked for its drops again.
    calls_unasked: u32,
    removed: bool,
}

/// Opens a packet socket on an interface.
pub(super) fn open(spec: &PacketSpec) -> Result<Opened, WireError> {
    let name = &spec.interface;
    let wire = || format!("packet:{name}");
    let failed = |operation: &'static str| {
        move |source: io::Error| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                WireError::Permission { wire: wire(), operation, remedy: REMEDY }
            }
            Some(libc::ENODEV | libc::ENXIO) => WireError::NoInterface { wire: wire() },
            _ => WireError::System { wire: wire(), operation, source },
        }
    };
    let control = interface::control_socket().map_err(failed("open a control socket"))?;
    let index = interface::index(control.as_fd(), name).map_err(failed("find the interface"))?;
    let link_type =
        interface::link_type(control.as_fd(), name).map_err(failed("ask for the link type"))?;
    if !ETHERNET.contains(&link_type) {
        return Err(WireError::NotEthernet { wire: wire(), link_type });
    }
    let socket = sys::open(index).map_err(failed("open a packet socket"))?;
    let blocks = match spec.reception {
        Reception::Calls => None,
        Reception::Blocks => Some(Blocks::open(socket.as_fd()).map_err(failed("map the blocks"))?),
    };
    sys::bind(socket.as_fd(), index).map_err(failed("bind to the interface"))?;
    let notices = vec![format!(
        "packet:{name}: offloads stay as they are; VLAN tags, checksums and large frames the kernel \
         left to the card are put right on receipt"
    )];
    let mut warnings = Vec::new();
    if !interface::is_up(control.as_fd(), name).map_err(failed("ask for the interface's state"))? {
        warnings.push(format!("packet:{name}: is down; `ip link set {name} up` starts it"));
    }
    let slot = |_| Slot {
        buffer: vec![0; MESSAGE_MAX].into_boxed_slice(),
        length: 0,
        is_truncated: false,
        auxiliary: Auxiliary::default(),
    };
    let packet = Packet {
        name: name.to_owned(),
        blocks,
        socket,
        control,
        slots: (0..BATCH).map(slot).collect(),
        scratch: Vec::with_capacity(MESSAGE_MAX),
        queue: SendQueue::default(),
        counters: WireCounters::default(),
        calls_unasked: 0,
        removed: false,
    };
    Ok(Opened { wire: Box::new(packet), notices, warnings })
}

/// Puts the tag back that the kernel took off; `frame` starts `TAG_LEN` into `room`.
fn insert_tag(room: &mut [u8], tag: [u8; TAG_LEN]) {
    room.copy_within(TAG_LEN..TAG_LEN + ADDRESSES_LEN, 0);
    room[ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN].copy_from_slice(&tag);
}

impl Auxiliary {
    /// Type and control information of the tag that was taken off.
    fn tag(self) -> Option<[u8; TAG_LEN]> {
        if self.status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let is_typed = self.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let kind = if is_typed { self.vlan_type } else { 0x8100 };
        let [a, b] = kind.to_be_bytes();
        let [c, d] = self.vlan_tci.to_be_bytes();
        Some([a, b, c, d])
    }
}

impl Slot {
    /// Hands the frame, made whole, to `sink`: one call, or one per segment. False when the frame
    /// could not be made whole.
    fn deliver(&mut self, scratch: &mut Vec<u8>, mut sink: impl FnMut(&[u8])) -> bool {
        let Some(header) = self.buffer[..self.length].first_chunk::<HEADER_LEN>() else {
            return false;
        };
        let header = VirtioHeader::read(header);
        let tag = self.auxiliary.tag();
        if self.is_truncated || self.length < HEADER_LEN + ADDRESSES_LEN + 2 {
            return false;
        }
        if header.segmentation != Segmentation::None {
            let frame = &self.buffer[HEADER_LEN..self.length];
            let result = segment::segment(frame, &header, scratch, |part| {
                if let Some(tag) = tag {
                    part.splice(ADDRESSES_LEN..ADDRESSES_LEN, tag);
                }
                sink(part);
            });
            return result.is_ok();
        }
        if !header.complete(&mut self.buffer[HEADER_LEN..self.length]) {
            return false;
        }
        let Some(tag) = tag else {
            sink(&self.buffer[HEADER_LEN..self.length]);
            return true;
        };
        // The virtio header has been read; its end makes room for the tag.
        let room = &mut self.buffer[HEADER_LEN - TAG_LEN..self.length];
        insert_tag(room, tag);
        sink(room);
        true
    }
}

impl Packet {
    /// Whether an error of the socket means that the interface is gone for good.
    fn is_gone(&self) -> bool {
        interface::is_up(self.control.as_fd(), &self.name)
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV))
    }

    fn failed(&mut self, source: io::Error) -> Result<(), WireError> {
        match source.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(()),
            // The kernel could not describe the frame by a virtio header and has thrown it away.
            Some(libc::EINVAL) => {
                self.counters.receive_dropped += 1;
                Ok(())
            }
            // Down, or gone. A socket whose interface went down works again when it comes up.
            Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) if !self.is_gone() => Ok(()),
            cause => {
                self.removed = true;
                let wire = format!("packet:{}", self.name);
                Err(match cause {
                    Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => {
                        WireError::Removed { wire }
                    }
                    _ => WireError::System { wire, operation: "receive", source },
                })
            }
        }
    }
}

impl Packet {
    /// Takes at most `want` messages into the first slots; how many. The socket's error, if there
    /// is none.
    fn take(&mut self, want: usize) -> io::Result<usize> {
        let Some(blocks) = &mut self.blocks else {
            return sys::receive(self.socket.as_fd(), &mut self.slots[..want]);
        };
        let mut count = 0;
        while count < want && blocks.next(&mut self.slots[count]) {
            count += 1;
        }
        if count == 0 {
            sys::take_error(self.socket.as_fd())?;
        }
        Ok(count)
    }
}

impl Wire for Packet {
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        let mut taken = 0;
        while taken < limit && !self.removed {
            let want = (limit - taken).min(BATCH);
            let count = match self.take(want) {
                Ok(count) => count,
                Err(error) => {
                    self.failed(error)?;
                    break;
                }
            };
            for slot in &mut self.slots[..count] {
                let received = &mut self.counters.received;
                let is_whole = slot.deliver(&mut self.scratch, |frame| {
                    *received += Counts::one(frame.len());
                    taken += 1;
                    sink(frame, now);
                });
                self.counters.receive_dropped += u64::from(!is_whole);
            }
            if count < want {
                break;
            }
        }
        self.calls_unasked += 1;
        if taken == 0 || self.calls_unasked >= CALLS_UNASKED_MAX {
            self.ask_dropped();
        }
        Ok(taken)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _time: Time) {}

    fn send(&mut self, frame: &[u8], _departure: Time) {
        if self.removed || !self.queue.push(frame) {
            self.counters.send_dropped += 1;
        }
        if self.queue.len() == BATCH {
            self.drain();
        }
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.drain();
        Ok(())
    }

    fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    fn is_finished(&self) -> bool {
        self.removed
    }

    fn is_virtual(&self) -> bool {
        false
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.removed).then(|| self.socket.as_fd())
    }

    fn counters(&self) -> WireCounters {
        self.counters
    }

    fn finish(&mut self) -> Result<(), WireError> {
        self.drain();
        self.ask_dropped();
        self.counters.send_dropped += self.queue.len() as u64;
        self.queue.pop(usize::MAX);
        Ok(())
    }
}

impl Packet {
    /// Adds what the kernel dropped since it was asked last; it forgets what it has told.
    fn ask_dropped(&mut self) {
        self.calls_unasked = 0;
        let dropped = sys::take_dropped(self.socket.as_fd());
        self.counters.receive_dropped += u64::from(dropped);
    }

    /// Sends what waits until the kernel takes no more.
    fn drain(&mut self) {
        // Ends: every turn takes at least one frame off the queue, or leaves.
        while !self.queue.is_empty() {
            match sys::send(self.socket.as_fd(), self.queue.oldest(BATCH)) {
                Ok(count) => {
                    for frame in self.queue.oldest(count) {
                        self.counters.sent += Counts::one(frame.len());
                    }
                    self.queue.pop(count.max(1));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                // Too long for the interface, interface down, no buffers: this one frame is lost.
                Err(_) => {
                    self.counters.send_dropped += 1;
                    self.queue.pop(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
