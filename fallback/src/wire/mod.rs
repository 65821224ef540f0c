//! Where frames come from and go to: captures, TAP, packet and AF_XDP sockets, a generator, nothing.
//!
//! A wire is asked and told in bursts and never blocks. Two kinds of time exist. *Live* wires
//! (interfaces) stamp a frame with the `now` they are given. *Virtual* wires (captures, generator,
//! null) bring their own arrival times; the caller asks each for [`Wire::next_arrival`], takes the
//! port with the earliest (ties to the lower port) and receives from it up to that time.
//!
//! [`spec`] is the text of a `wire = "…"` line; `docs/wires.md` is the manual.

mod checksum;
pub mod error;
pub mod generator;
mod null;
mod packet;
mod parameters;
mod pcap;
mod queue;
pub mod spec;
mod tap;
mod xdp;

use std::os::fd::BorrowedFd;

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use crate::packet::{Packet, PacketPool};

pub use error::WireError;
pub use packet::{PacketSpec, Reception as PacketReception};
pub use spec::{WireSpec, WireSpecError};
pub use xdp::{Mode as XdpMode, XdpSpec};

/// Takes received frames: bytes without FCS, and arrival time.
pub type FrameSink<'a> = dyn FnMut(&[u8], Time) + 'a;

/// What a wire counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounters {
    /// Frames handed to the sink.
    pub received: Counts,
    /// Frames given to the world.
    pub sent: Counts,
    /// Frames the wire could not send: its queue was full, or the world refused them.
    pub send_dropped: u64,
    /// Frames the kernel dropped before we read them, as far as it says so.
    pub receive_dropped: u64,
}

/// One port's connection to the world.
pub trait Wire: Send {
    /// Hands at most `limit` frames that have arrived by `now` to `sink` and returns how many.
    /// Live wires stamp frames with `now`; virtual wires hand out frames whose own arrival time is
    /// at most `now`. A GSO frame becomes several, so a live wire may exceed `limit` by those.
    ///
    /// # Errors
    /// The capture is corrupt, or the interface is gone. The wire stays callable and finished.
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError>;

    /// As [`Self::receive`], into packets of `pool` that are appended to `into`; port and generation
    /// are the caller's to set. A wire that can receives straight into them; the others' frames are
    /// copied once. When the pool is empty frames stay where they are. Returns how many arrived;
    /// segments of a GSO frame that found no buffer are among those and missing in `into`.
    ///
    /// # Errors
    /// As [`Self::receive`].
    fn receive_packets(
        &mut self,
        now: Time,
        limit: usize,
        pool: &mut PacketPool,
        into: &mut Vec<Packet>,
    ) -> Result<usize, WireError> {
        let limit = limit.min(pool.room());
        self.receive(now, limit, &mut |frame, time| {
            if let Some(mut packet) = pool.take() {
                packet.fill_cut(frame);
                packet.time = time;
                into.push(packet);
            }
        })
    }

    /// Arrival time of the next frame of a virtual wire; `None` when there is none, and for live
    /// wires. If reading failed, the last known time, so that `receive` gets called and tells.
    fn next_arrival(&mut self) -> Option<Time>;

    /// Moves a virtual source so that its first frame arrives at `time`; for runs that mix virtual
    /// with live wires. Call it before the first `receive`. Live wires ignore it.
    fn start_at(&mut self, time: Time);

    /// Sends one frame, or queues it if the world is not ready; when the queue is full the frame is
    /// dropped and counted in [`WireCounters::send_dropped`]. `departure` becomes its timestamp in a
    /// capture.
    fn send(&mut self, frame: &[u8], departure: Time);

    /// As [`Self::send`] for all `packets` in order; the list is empty afterwards. The buffers go
    /// to `pool`, at once or, where the world reads them itself, with a later call.
    fn send_packets(&mut self, packets: &mut Vec<Packet>, departure: Time, pool: &mut PacketPool) {
        for packet in packets.drain(..) {
            self.send(packet.frame(), departure);
            pool.give(packet);
        }
    }

    /// Tries to empty the send queue. Call it after each burst and when the descriptor is writable.
    ///
    /// # Errors
    /// The output capture could not be written, for instance a full disk; told once, and again by
    /// [`Wire::finish`]. Frames sent after that are counted as dropped. Sockets do not fail here.
    fn flush(&mut self) -> Result<(), WireError>;

    /// Whether frames wait in the send queue (poll for writability then).
    fn has_queued(&self) -> bool;

    /// Whether the source is finite and drained. Live wires are never finished unless they failed.
    fn is_finished(&self) -> bool;

    /// Whether the wire's time is its own (captures, generator, null).
    fn is_virtual(&self) -> bool;

    /// Descriptor to poll for readability (and writability while [`Wire::has_queued`]).
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// What was counted so far; cheap.
    fn counters(&self) -> WireCounters;

    /// Writes out everything; later frames are dropped.
    ///
    /// # Errors
    /// The output could not be written (now or at an earlier `send`), for instance a full disk.
    fn finish(&mut self) -> Result<(), WireError>;
}

/// An opened wire and what the operator should know about how it was opened.
pub struct Opened {
    /// The wire.
    pub wire: Box<dyn Wire>,
    /// Remarks on how it works, one line each, for instance whether the kernel copies.
    pub notices: Vec<String>,
    /// What the operator should see to, one line each, for instance that the interface is down.
    pub warnings: Vec<String>,
}

impl Opened {
    /// A wire of which nothing is to be said.
    pub fn quiet(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), notices: Vec::new(), warnings: Vec::new() }
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opened").field("notices", &self.notices).finish_non_exhaustive()
    }
}
