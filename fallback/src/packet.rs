//! Frames in buffers with headroom, and the bounded pools that buffers come from and return to.

mod arena;

use std::fmt;
use twinpath_flow::card::Generation;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

use arena::{Buffer, STRIDE};
pub(crate) use arena::{Lent, region};
pub use arena::{Pages, pages};

/// Longest frame received, in bytes without FCS.
pub const FRAME_MAX: usize = 9216;

/// Bytes before a received frame, for tags and tunnel headers.
pub const HEADROOM: usize = 256;

/// Bytes that can be received into a buffer. A frame that is longer than [`FRAME_MAX`] arrives cut,
/// yet still longer than that.
pub const ROOM: usize = FRAME_MAX + 1;

/// Bytes of a cache line.
const LINE: usize = 64;
const _: () = assert!(HEADROOM + ROOM + LINE <= STRIDE);

/// Buffers moved at once between a pool and the arena.
const CHUNK: usize = 64;

/// A frame in its buffer, with what is known about it besides its bytes: 32 bytes, no counts.
///
/// Give it back to a pool when done. Dropping it is allowed: the buffer is not lost, but the pool it
/// was taken from goes on counting it among those in use.
pub struct Packet {
    buffer: Buffer,
    /// When it was received; when it leaves, for one that is sent.
    pub time: Time,
    /// Generation of the pipeline that decides it.
    pub generation: Generation,
    /// Physical port it came in on.
    pub port: PortNo,
    /// Physical port it is sent out of, once that is decided.
    pub leaves_by: PortNo,
    start: u16,
    len: u16,
}

const _: () = assert!(size_of::<Packet>() == 32);

const HEADROOM_U16: u16 = 256;
const _: () = assert!(HEADROOM_U16 as usize == HEADROOM);

/// A length or place within a buffer.
fn short(value: usize) -> u16 {
    u16::try_from(value).expect("a place in a buffer of 9,664 bytes")
}

impl Packet {
    fn new(buffer: Buffer) -> Self {
        Self {
            buffer,
            time: Time::default(),
            generation: Generation::default(),
            port: PortNo::default(),
            leaves_by: PortNo::default(),
            start: HEADROOM_U16,
            len: 0,
        }
    }

    /// The frame, without FCS.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        let start = usize::from(self.start);
        &self.buffer.bytes()[start..start + usize::from(self.len)]
    }

    /// The frame, to be changed in place.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.start);
        &mut self.buffer.bytes_mut()[start..start + usize::from(self.len)]
    }

    /// The 64 bytes from the frame's beginning, whatever its length: bytes behind a short frame are
    /// unspecified.
    ///
    /// # Panics
    /// Never: a buffer has a line more than the longest frame.
    #[must_use]
    pub fn first_line(&self) -> &[u8; LINE] {
        self.buffer.bytes()[usize::from(self.start)..]
            .first_chunk()
            .expect("a buffer has a line more than the longest frame")
    }

    /// The 64 bytes from place `at` of the frame on, likewise.
    ///
    /// # Panics
    /// The frame is not that long.
    #[must_use]
    pub(crate) fn line_at(&self, at: usize) -> &[u8; LINE] {
        assert!(at <= self.len(), "place {at} of a frame of {}", self.len());
        self.buffer.bytes()[usize::from(self.start) + at..]
            .first_chunk()
            .expect("a buffer has a line more than the longest frame")
    }

    /// [`Self::first_line`], to be changed in place; bytes behind a short frame may be changed too.
    ///
    /// # Panics
    /// Never: a buffer has a line more than the longest frame.
    pub fn first_line_mut(&mut self) -> &mut [u8; LINE] {
        self.buffer.bytes_mut()[usize::from(self.start)..]
            .first_chunk_mut()
            .expect("a buffer has a line more than the longest frame")
    }

    /// Length of the frame in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether the frame has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be put in front of the frame.
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.start)
    }

    /// Where to receive into: [`ROOM`] bytes behind full headroom. Contents are unspecified; call
    /// [`Self::set_received`] afterwards. The frame is empty until then.
    pub fn receive_buffer(&mut self) -> &mut [u8] {
        self.start = HEADROOM_U16;
        self.len = 0;
        &mut self.buffer.bytes_mut()[HEADROOM..HEADROOM + ROOM]
    }

    /// Makes the first `len` bytes of [`Self::receive_buffer`] the frame; of a longer one as much
    /// as there is room for.
    pub fn set_received(&mut self, len: usize) {
        self.start = HEADROOM_U16;
        self.len = short(len.min(ROOM));
    }

    /// Copies `frame` in, behind full headroom. `false`, and nothing done, when it is longer than
    /// [`FRAME_MAX`].
    #[must_use]
    pub fn fill(&mut self, frame: &[u8]) -> bool {
        if frame.len() > FRAME_MAX {
            return false;
        }
        self.fill_cut(frame);
        true
    }

    /// Copies `frame` in, behind full headroom, or as much of it as there is room for.
    pub(crate) fn fill_cut(&mut self, frame: &[u8]) {
        let len = frame.len().min(ROOM);
        self.receive_buffer()[..len].copy_from_slice(&frame[..len]);
        self.set_received(len);
    }

    /// Makes this packet a copy of `other`, headroom and all.
    pub fn copy_from(&mut self, other: &Self) {
        self.start = other.start;
        self.len = other.len;
        self.port = other.port;
        self.time = other.time;
        self.generation = other.generation;
        self.frame_mut().copy_from_slice(other.frame());
    }

    /// Opens `count` bytes in front of the frame and returns the whole frame, or `None`, and
    /// nothing done, when the headroom is used up. The new bytes are unspecified.
    pub fn push_front(&mut self, count: usize) -> Option<&mut [u8]> {
        self.start = short(self.headroom().checked_sub(count)?);
        self.len = short(self.len() + count);
        Some(self.frame_mut())
    }

    /// Cuts `count` bytes off the front.
    ///
    /// # Panics
    /// When the frame is shorter.
    pub fn pull_front(&mut self, count: usize) {
        assert!(count <= self.len(), "cutting {count} bytes off a frame of {}", self.len);
        self.start += short(count);
        self.len -= short(count);
    }

    /// Cuts the frame to at most `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = short(self.len().min(len));
    }
}

/// What AF_XDP sockets need: frames named by their distance from the arena's beginning.
impl Packet {
    /// Distance of the buffer's first byte from the arena's beginning.
    pub(crate) fn buffer_offset(&self) -> usize {
        self.buffer.offset()
    }

    /// Lends the buffer to the kernel; distance of the buffer's first byte, and the frame's place
    /// behind that.
    pub(crate) fn lend(self, lent: &mut Lent) -> (usize, usize) {
        let start = self.headroom();
        (lent.lend(self.buffer), start)
    }

    /// The packet whose frame of `len` bytes begins at `offset`, if it was lent and can be so.
    pub(crate) fn take_back(lent: &mut Lent, offset: usize, len: usize) -> Option<Self> {
        let mut packet = Self::new(lent.take_back(offset)?);
        let start = offset % STRIDE;
        if start + len + LINE <= STRIDE {
            (packet.start, packet.len) = (short(start), short(len));
        }
        Some(packet)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("port", &self.port)
            .field("time", &self.time)
            .field("generation", &self.generation)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A worker's buffers: at most `limit` are in use at a time, idle ones are kept for reuse, the one
/// given back last first.
///
/// All pools share the process' arena, so a packet may be given to any of them. When packets pass
/// from one worker to another, the first says so by [`PacketPool::hand_over`], the other by
/// [`PacketPool::take_over`]; so the limits hold without any counter that both write.
pub struct PacketPool {
    idle: Vec<Buffer>,
    limit: usize,
    /// Packets taken and not given back; below zero when others' came here.
    in_use: isize,
}

impl fmt::Debug for PacketPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketPool")
            .field("idle", &self.idle.len())
            .field("limit", &self.limit)
            .field("in_use", &self.in_use)
            .finish()
    }
}

fn signed(count: usize) -> isize {
    isize::try_from(count).unwrap_or(isize::MAX)
}

impl PacketPool {
    /// A pool of at most `limit` packets; the arena is asked for buffers when they are needed.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { idle: Vec::new(), limit, in_use: 0 }
    }

    /// Lets `more` packets more be in use, for instance those that a wire's queue may hold.
    pub const fn widen(&mut self, more: usize) {
        self.limit = self.limit.saturating_add(more);
    }

    /// Packets that can still be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(signed(self.limit) - self.in_use).unwrap_or_default()
    }

    /// An empty packet with full headroom, or `None` when `limit` packets are in use or the arena
    /// has no more: the caller receives no more, or drops a copy under a cause.
    #[inline]
    pub fn take(&mut self) -> Option<Packet> {
        self.take_buffer().map(Packet::new)
    }

    /// Appends `count` such packets to `into`, or as many as there are.
    #[inline]
    pub fn take_many(&mut self, count: usize, into: &mut Vec<Packet>) {
        let count = count.min(self.room());
        if self.idle.len() < count {
            arena::take((count - self.idle.len()).max(CHUNK.min(self.room())), &mut self.idle);
        }
        let rest = self.idle.len().saturating_sub(count);
        self.in_use += signed(self.idle.len() - rest);
        into.extend(self.idle.drain(rest..).rev().map(Packet::new));
    }

    /// Takes packets back.
    #[inline]
    pub fn give_many(&mut self, packets: impl ExactSizeIterator<Item = Packet>) {
        self.in_use -= signed(packets.len());
        self.idle.extend(packets.map(|packet| packet.buffer));
        self.shrink();
    }

    /// Takes a packet back, wherever it was taken.
    #[inline]
    pub fn give(&mut self, packet: Packet) {
        self.give_buffer(packet.buffer);
    }

    #[inline]
    fn take_buffer(&mut self) -> Option<Buffer> {
        if self.in_use >= signed(self.limit) {
            return None;
        }
        if self.idle.is_empty() {
            arena::take(CHUNK.min(self.room()), &mut self.idle);
        }
        let buffer = self.idle.pop()?;
        self.in_use += 1;
        Some(buffer)
    }

    #[inline]
    fn give_buffer(&mut self, buffer: Buffer) {
        self.in_use -= 1;
        self.idle.push(buffer);
        self.shrink();
    }

    /// Gives buffers back to the arena: only when packets of others end here.
    #[inline]
    fn shrink(&mut self) {
        if self.idle.len() > self.limit + CHUNK {
            arena::give(self.idle.len() - self.limit, &mut self.idle);
        }
    }

    /// `count` packets taken here will be given to another pool.
    pub fn hand_over(&mut self, count: usize) {
        self.in_use -= signed(count);
    }

    /// `count` packets taken from another pool will be given here.
    pub fn take_over(&mut self, count: usize) {
        self.in_use += signed(count);
    }
}

impl Drop for PacketPool {
    fn drop(&mut self) {
        arena::give(usize::MAX, &mut self.idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_out_no_more_than_its_limit_and_reuses() {
        let mut pool = PacketPool::new(2);
        let first = pool.take().unwrap();
        let _second = pool.take().unwrap();
        assert!(pool.take().is_none());
        let address = first.frame().as_ptr();
        pool.give(first);
        assert_eq!(pool.take().unwrap().frame().as_ptr(), address);
        pool.widen(1);
        assert!(pool.take().is_some());
    }

    #[test]
    fn packets_change_pools_and_both_limits_hold() {
        let (mut left, mut right) = (PacketPool::new(2), PacketPool::new(1));
        for round in 0..200 {
            let packet = left.take().unwrap_or_else(|| panic!("round {round}"));
            left.hand_over(1);
            right.take_over(1);
            assert!(right.take().is_none());
            std::thread::scope(|scope| {
                let pool = &mut right;
                scope.spawn(move || pool.give(packet)).join().unwrap();
            });
        }
        assert!(right.idle.len() <= 1 + CHUNK, "what gathers goes back to the arena");
        assert_eq!((left.room(), right.room()), (2, 1));
    }

    #[test]
    fn bytes_go_in_front_until_the_headroom_is_used_up() {
        let mut packet = PacketPool::new(1).take().unwrap();
        assert!(packet.fill(&[1, 2, 3]));
        packet.push_front(HEADROOM).unwrap()[0] = 9;
        assert_eq!(packet.len(), HEADROOM + 3);
        assert!(packet.push_front(1).is_none());
        packet.pull_front(HEADROOM);
        assert_eq!(packet.frame(), [1, 2, 3]);
        assert!(!packet.fill(&[0; FRAME_MAX + 1]));
    }

    #[test]
    fn the_first_line_is_there_behind_the_shortest_and_the_longest_frame() {
        let mut packet = PacketPool::new(1).take().unwrap();
        assert!(packet.fill(&[7; 3]));
        assert_eq!(packet.first_line()[..3], [7; 3]);
        assert!(packet.fill(&[8; FRAME_MAX]));
        packet.pull_front(FRAME_MAX - 1);
        assert_eq!(packet.first_line()[0], 8);
        packet.first_line_mut()[0] = 9;
        assert_eq!(packet.frame(), [9]);
        packet.set_received(70_000);
        assert!(packet.len() > FRAME_MAX, "a longer frame shows that it is too long");
    }
}
