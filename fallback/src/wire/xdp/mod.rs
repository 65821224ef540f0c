//! A queue of an existing interface as a wire, through an AF_XDP socket.
//!
//! The memory that the kernel is told of is the arena of all packet buffers. So a frame is received
//! into a packet's buffer and sent out of it, by this wire or another: only descriptors move. While
//! the kernel has a buffer it is *lent* ([`Lent`]): in the fill or receive ring, or on its way out.
//!
//! The kernel takes a page of each buffer at most: it drops and counts received frames above 3,840
//! bytes.

mod bpf;
mod open;
mod partial;
mod ring;
pub(super) mod spec;
mod sys;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::tap::sys as interface;
use super::{FrameSink, Wire, WireCounters, WireError};
use crate::packet::{Lent, Packet, PacketPool};
pub(super) use open::open;
use ring::{Consumer, ENTRIES, Producer};
pub use spec::{Mode, XdpSpec};

/// Longest frame that the kernel takes from us: one page.
const SENT_MAX: usize = 4096;
/// Buffers of the byte-wise calls of [`Wire`].
const OWN_PACKETS: usize = 2 * ENTRIES as usize;
/// Bits of a received descriptor's address that name the buffer; above them is the frame's place.
const PLACE_SHIFT: u32 = 48;
/// Calls of `receive` between questions for the kernel's drops.
const CALLS_UNASKED_MAX: u32 = 1024;
/// Calls in a row for one full ring: the kernel sends 32 frames a call.
const CALLS_MAX: u32 = ENTRIES / 16;

/// Whether frames may carry checksums that their sender left to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksums {
    Whole,
    MayBePartial,
}

/// The wire. Fields are dropped in this order: what lets the kernel use buffers before `lent`.
struct Xdp {
    name: String,
    /// The program's attachment.
    _link: OwnedFd,
    _promiscuous: OwnedFd,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    rx: Consumer<libc::xdp_desc>,
    tx: Producer<libc::xdp_desc>,
    socket: OwnedFd,
    lent: Lent,
    control: OwnedFd,
    /// Bytes of the arena that the kernel knows.
    known: usize,
    checksums: Checksums,
    is_busy_polling: bool,
    own: PacketPool,
    batch: Vec<Packet>,
    descriptors: Vec<libc::xdp_desc>,
    addresses: Vec<u64>,
    counters: WireCounters,
    /// Drops of our own, beside those that the kernel counts.
    dropped: WireCounters,
    calls_unasked: u32,
    removed: bool,
}

impl Xdp {
    /// Lends the kernel its first buffers to receive into.
    fn stock(&mut self) {
        let mut pool = PacketPool::new(ENTRIES as usize);
        while self.fill.room() > 0
            && let Some(packet) = pool.take()
        {
            if self.is_known(&packet) {
                let (buffer, _) = packet.lend(&mut self.lent);
                self.fill.push(buffer as u64);
            }
        }
        self.fill.publish();
    }

    fn is_known(&self, packet: &Packet) -> bool {
        packet.buffer_offset() + SENT_MAX <= self.known
    }

    /// Takes sent packets back.
    fn reclaim(&mut self, pool: &mut PacketPool) {
        self.completion.take(ENTRIES as usize, &mut self.addresses);
        for address in self.addresses.drain(..) {
            let offset = usize::try_from(address).unwrap_or(usize::MAX);
            if let Some(packet) = Packet::take_back(&mut self.lent, offset, 0) {
                pool.give(packet);
            }
        }
    }

    /// The packet of a received descriptor; the kernel gets a buffer of `pool` for its own.
    fn swap(&mut self, descriptor: &libc::xdp_desc, pool: &mut PacketPool) -> Option<Packet> {
        let place = descriptor.addr >> PLACE_SHIFT;
        let buffer = descriptor.addr & ((1 << PLACE_SHIFT) - 1);
        let offset = usize::try_from(buffer + place).ok()?;
        let length = usize::try_from(descriptor.len).ok()?;
        let packet = Packet::take_back(&mut self.lent, offset, length)?;
        let Some(mut other) = pool.take() else {
            self.restock(packet, pool);
            return None;
        };
        if self.is_known(&other) {
            self.restock(other, pool);
            Some(packet)
        } else {
            // A buffer the kernel cannot fill: the frame moves instead.
            other.copy_from(&packet);
            self.restock(packet, pool);
            Some(other)
        }
    }

    fn restock(&mut self, packet: Packet, pool: &mut PacketPool) {
        if self.fill.room() > 0 {
            let (buffer, _) = packet.lend(&mut self.lent);
            self.fill.push(buffer as u64);
        } else {
            pool.give(packet);
        }
    }

    /// Puts a packet into the ring to the kernel; gives it back when that cannot be.
    fn enqueue(&mut self, packet: Packet, pool: &mut PacketPool) -> Result<(), Packet> {
        if self.removed || packet.len() > SENT_MAX {
            return Err(packet);
        }
        if self.tx.room() == 0 {
            self.tx.publish();
            self.call();
            self.reclaim(pool);
        }
        if self.tx.room() == 0 {
            return Err(packet);
        }
        let packet = if self.is_known(&packet) { packet } else { self.moved(packet, pool)? };
        let length = packet.len();
        let (buffer, start) = packet.lend(&mut self.lent);
        let address = (buffer + start) as u64;
        let len = u32::try_from(length).expect("checked to be at most a page");
        self.tx.push(libc::xdp_desc { addr: address, len, options: 0 });
        self.counters.sent += Counts::one(length);
        Ok(())
    }

    /// The packet's frame in a buffer that the kernel knows.
    fn moved(&self, packet: Packet, pool: &mut PacketPool) -> Result<Packet, Packet> {
        let Some(mut other) = pool.take() else { return Err(packet) };
        if !self.is_known(&other) {
            pool.give(other);
            return Err(packet);
        }
        other.copy_from(&packet);
        pool.give(packet);
        Ok(other)
    }

    /// Lets the kernel send what waits in the ring.
    fn call(&self) {
        let mut waiting = self.tx.waiting();
        for _ in 0..CALLS_MAX {
            if waiting == 0 || !self.tx.wants_call() {
                return;
            }
            let result = sys::call_to_send(self.socket.as_fd());
            let before = std::mem::replace(&mut waiting, self.tx.waiting());
            // It stops after so many frames, or when nothing more goes now.
            if !goes_on(&result) || waiting >= before {
                return;
            }
        }
    }

    /// Adds the kernel's drops, and sees whether the interface is gone.
    fn ask(&mut self) -> Result<(), WireError> {
        self.calls_unasked = 0;
        if let Some(told) = sys::statistics(self.socket.as_fd()) {
            let received = told.rx_dropped + told.rx_ring_full;
            self.counters.receive_dropped = self.dropped.receive_dropped + received;
            self.counters.send_dropped = self.dropped.send_dropped + told.tx_invalid_descs;
        }
        let state = interface::is_up(self.control.as_fd(), &self.name);
        if state.is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV)) {
            self.removed = true;
            return Err(WireError::Removed { wire: format!("xdp:{}", self.name) });
        }
        Ok(())
    }

    fn drop_sent(&mut self, count: u64) {
        self.dropped.send_dropped += count;
        self.counters.send_dropped += count;
    }
}

/// Whether there may be more to send after a call that answered so.
fn goes_on(answer: &io::Result<()>) -> bool {
    answer.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::WouldBlock)
}

impl Wire for Xdp {
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        let mut own = std::mem::replace(&mut self.own, PacketPool::new(0));
        let mut batch = std::mem::take(&mut self.batch);
        let result = self.receive_packets(now, limit, &mut own, &mut batch);
        for packet in batch.drain(..) {
            sink(packet.frame(), packet.time);
            own.give(packet);
        }
        (self.own, self.batch) = (own, batch);
        result
    }

    fn receive_packets(
        &mut self,
        now: Time,
        limit: usize,
        pool: &mut PacketPool,
        into: &mut Vec<Packet>,
    ) -> Result<usize, WireError> {
        self.reclaim(pool);
        if self.removed {
            return Ok(0);
        }
        if self.is_busy_polling || self.fill.wants_call() {
            sys::call_to_receive(self.socket.as_fd());
        }
        let mut descriptors = std::mem::take(&mut self.descriptors);
        self.rx.take(limit.min(pool.room()), &mut descriptors);
        let taken = descriptors.len();
        let before = into.len();
        for descriptor in descriptors.drain(..) {
            let Some(mut packet) = self.swap(&descriptor, pool) else {
                self.dropped.receive_dropped += 1;
                self.counters.receive_dropped += 1;
                continue;
            };
            if self.checksums == Checksums::MayBePartial {
                partial::complete(packet.frame_mut());
            }
            self.counters.received += Counts::one(packet.len());
            packet.time = now;
            into.push(packet);
        }
        self.descriptors = descriptors;
        if taken > 0 {
            self.fill.publish();
        }
        self.calls_unasked += 1;
        if self.calls_unasked >= CALLS_UNASKED_MAX {
            self.ask()?;
        }
        Ok(into.len() - before)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _time: Time) {}

    fn send(&mut self, frame: &[u8], _departure: Time) {
        let mut own = std::mem::replace(&mut self.own, PacketPool::new(0));
        self.reclaim(&mut own);
        let sent = own.take().is_some_and(|mut packet| {
            packet.fill_cut(frame);
            self.enqueue(packet, &mut own).map_err(|packet| own.give(packet)).is_ok()
        });
        self.own = own;
        self.drop_sent(u64::from(!sent));
    }

    fn send_packets(&mut self, packets: &mut Vec<Packet>, _departure: Time, pool: &mut PacketPool) {
        self.reclaim(pool);
        for packet in packets.drain(..) {
            if let Err(packet) = self.enqueue(packet, pool) {
                pool.give(packet);
                self.drop_sent(1);
            }
        }
        self.tx.publish();
        self.call();
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.tx.publish();
        self.call();
        Ok(())
    }

    fn has_queued(&self) -> bool {
        self.tx.waiting() > 0
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
        self.flush()?;
        // A removed interface is no failure of the end.
        let _ = self.ask();
        self.removed = true;
        Ok(())
    }
}
