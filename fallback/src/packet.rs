//! Frame buffers with headroom, and the bounded pool they come from and return to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use twinpath_flow::card::Generation;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Longest frame received, in bytes without FCS.
pub const FRAME_MAX: usize = 9216;

/// Bytes before a received frame, for tags and tunnel headers.
pub const HEADROOM: usize = 256;

const BUFFER_LEN: usize = HEADROOM + FRAME_MAX;

/// A frame in its buffer, with what is known about it besides its bytes.
///
/// Give it back to its pool when done. Dropping it is allowed (the pool notices), but then a later
/// [`PacketPool::take`] allocates.
pub struct Packet {
    buffer: Box<[u8]>,
    start: usize,
    len: usize,
    out: Arc<AtomicUsize>,
    /// Physical port it came in on.
    pub port: PortNo,
    /// When it was received.
    pub time: Time,
    /// Generation of the pipeline that decides it.
    pub generation: Generation,
}

impl Packet {
    /// The frame, without FCS.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    /// The frame, to be changed in place.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    /// Length of the frame in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be put in front of the frame.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start
    }

    /// Where to receive into: [`FRAME_MAX`] bytes behind full headroom. Contents are unspecified;
    /// call [`Self::set_received`] afterwards. The frame is empty until then.
    pub fn receive_buffer(&mut self) -> &mut [u8] {
        self.start = HEADROOM;
        self.len = 0;
        &mut self.buffer[HEADROOM..]
    }

    /// Makes the first `len` bytes of [`Self::receive_buffer`] the frame.
    ///
    /// # Panics
    /// When `len` is above [`FRAME_MAX`].
    pub fn set_received(&mut self, len: usize) {
        assert!(len <= FRAME_MAX, "a frame of {len} bytes does not fit a buffer");
        self.start = HEADROOM;
        self.len = len;
    }

    /// Copies `frame` in, behind full headroom. `false`, and nothing done, when it is longer than
    /// [`FRAME_MAX`].
    #[must_use]
    pub fn fill(&mut self, frame: &[u8]) -> bool {
        if frame.len() > FRAME_MAX {
            return false;
        }
        self.receive_buffer()[..frame.len()].copy_from_slice(frame);
        self.set_received(frame.len());
        true
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
        self.start = self.start.checked_sub(count)?;
        self.len += count;
        Some(self.frame_mut())
    }

    /// Cuts `count` bytes off the front.
    ///
    /// # Panics
    /// When the frame is shorter.
    pub fn pull_front(&mut self, count: usize) {
        assert!(count <= self.len, "cutting {count} bytes off a frame of {}", self.len);
        self.start += count;
        self.len -= count;
    }

    /// Cuts the frame to at most `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.out.fetch_sub(1, Ordering::Relaxed);
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

/// A bounded pool of packets: at most `limit` exist, idle ones are kept for reuse.
#[derive(Debug)]
pub struct PacketPool {
    idle: Vec<Packet>,
    limit: usize,
    existing: Arc<AtomicUsize>,
}

impl PacketPool {
    /// A pool of at most `limit` packets; buffers are made when first needed.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { idle: Vec::new(), limit, existing: Arc::default() }
    }

    /// An empty packet with full headroom, or `None` when `limit` packets are in use: the caller
    /// receives no more, or drops a copy under a cause.
    pub fn take(&mut self) -> Option<Packet> {
        if let Some(mut packet) = self.idle.pop() {
            packet.set_received(0);
            return Some(packet);
        }
        if self.existing.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        self.existing.fetch_add(1, Ordering::Relaxed);
        Some(Packet {
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
            start: HEADROOM,
            len: 0,
            out: Arc::clone(&self.existing),
            port: PortNo::default(),
            time: Time::default(),
            generation: Generation::default(),
        })
    }

    /// Takes a packet back. One of another pool is freed.
    pub fn give(&mut self, packet: Packet) {
        if Arc::ptr_eq(&packet.out, &self.existing) {
            self.idle.push(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_makes_no_more_than_its_limit_and_reuses() {
        let mut pool = PacketPool::new(2);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        pool.give(first);
        assert!(pool.take().is_some());
        drop(second);
        assert!(pool.take().is_some(), "a dropped packet makes room");
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
}
