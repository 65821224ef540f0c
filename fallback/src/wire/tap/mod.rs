//! A TAP interface as a wire: what the kernel sends into the interface arrives, what is sent comes
//! out of it. Frames are whole: a TAP without extra headers has no offloads.

pub(super) mod sys;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::queue::SendQueue;
use super::{FrameSink, Opened, Wire, WireCounters, WireError};

/// Longest frame a TAP can hand us: 64 KB of MTU, Ethernet header, two tags.
const FRAME_MAX: usize = 65_536 + 22;
/// Shortest frame a TAP takes: an Ethernet header.
const FRAME_MIN: usize = 14;

const REMEDY: &str = "run as root or with CAP_NET_ADMIN, or let root prepare it: \
                      `ip tuntap add NAME mode tap user USER && ip link set NAME up`";

struct Tap {
    name: String,
    device: File,
    buffer: Box<[u8]>,
    queue: SendQueue,
    counters: WireCounters,
    removed: bool,
}

/// Opens or creates the TAP interface `name` and brings it up.
pub(super) fn open(name: &str) -> Result<Opened, WireError> {
    let wire = || format!("tap:{name}");
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => WireError::NoTun { wire: wire() },
            ErrorKind::PermissionDenied => {
                let operation = "open /dev/net/tun";
                WireError::Permission { wire: wire(), operation, remedy: REMEDY }
            }
            _ => WireError::System { wire: wire(), operation: "open /dev/net/tun", source },
        })?;
    sys::attach_tap(device.as_fd(), name).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            let operation = "create or attach to the TAP";
            WireError::Permission { wire: wire(), operation, remedy: REMEDY }
        }
        Some(libc::EBUSY) => WireError::Busy { wire: wire() },
        Some(libc::EINVAL | libc::EEXIST) => WireError::NotTap { wire: wire() },
        _ => WireError::System { wire: wire(), operation: "attach to the TAP", source },
    })?;
    let system = |operation| move |source| WireError::System { wire: wire(), operation, source };
    let control = sys::control_socket().map_err(system("open a control socket"))?;
    let mut warnings = Vec::new();
    if !sys::is_up(control.as_fd(), name).map_err(system("ask for the interface's state"))?
        && let Err(cause) = sys::bring_up(control.as_fd(), name)
    {
        let text = format!("tap:{name}: is down ({cause}); `ip link set {name} up` starts it");
        warnings.push(text);
    }
    let tap = Tap {
        name: name.to_owned(),
        device,
        buffer: vec![0; FRAME_MAX].into_boxed_slice(),
        queue: SendQueue::default(),
        counters: WireCounters::default(),
        removed: false,
    };
    Ok(Opened { wire: Box::new(tap), notices: Vec::new(), warnings })
}

/// What became of a frame offered to the kernel.
enum Offer {
    Taken,
    Refused,
    Later,
}

impl Offer {
    fn count(&self, counters: &mut WireCounters, frame_len: usize) {
        match self {
            Self::Taken => counters.sent += Counts::one(frame_len),
            Self::Refused => counters.send_dropped += 1,
            Self::Later => {}
        }
    }
}

impl Tap {
    fn offer(mut device: &File, frame: &[u8]) -> Offer {
        match device.write(frame) {
            Ok(_) => Offer::Taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Offer::Later,
            // EIO: the interface is down; EBADFD: it is gone, as `receive` will tell.
            Err(_) => Offer::Refused,
        }
    }
}

impl Wire for Tap {
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        let mut taken = 0;
        while taken < limit && !self.removed {
            match self.device.read(&mut self.buffer) {
                Ok(length) => {
                    let frame = &self.buffer[..length];
                    self.counters.received += Counts::one(length);
                    sink(frame, now);
                    taken += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                Err(source) => {
                    self.removed = true;
                    let wire = format!("tap:{}", self.name);
                    return Err(match source.raw_os_error() {
                        Some(libc::EBADFD) => WireError::Removed { wire },
                        _ => WireError::System { wire, operation: "receive", source },
                    });
                }
            }
        }
        Ok(taken)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _time: Time) {}

    fn send(&mut self, frame: &[u8], _departure: Time) {
        if frame.len() < FRAME_MIN {
            self.counters.send_dropped += 1;
            return;
        }
        let offer =
            if self.queue.is_empty() { Self::offer(&self.device, frame) } else { Offer::Later };
        offer.count(&mut self.counters, frame.len());
        if matches!(offer, Offer::Later) && !self.queue.push(frame) {
            self.counters.send_dropped += 1;
        }
    }

    fn flush(&mut self) -> Result<(), WireError> {
        // Ends: every turn takes a frame off the queue, or leaves.
        loop {
            let Some(frame) = self.queue.oldest(1).next() else { break };
            let (length, offer) = (frame.len(), Self::offer(&self.device, frame));
            if matches!(offer, Offer::Later) {
                break;
            }
            offer.count(&mut self.counters, length);
            self.queue.pop(1);
        }
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
        (!self.removed).then(|| self.device.as_fd())
    }

    fn counters(&self) -> WireCounters {
        self.counters
    }

    fn finish(&mut self) -> Result<(), WireError> {
        self.flush()?;
        self.counters.send_dropped += self.queue.len() as u64;
        self.queue.pop(usize::MAX);
        Ok(())
    }
}
