//! Receive rings: frames to the host (`docs/nic-abi.md` §3.7, §11).

use crate::registers::{load64, low32, of_queue};
use twinpath_abi::bus::CardMemory;
use twinpath_abi::receive::{RECEIVE_BYTES, Receive};
use twinpath_abi::register::{queue, syndrome};

/// A receive ring in use.
#[derive(Debug)]
pub(crate) struct ReceiveQueue {
    queue: u32,
    descriptors: u64,
    buffers: u64,
    size: u32,
    stride: u32,
    delivered: u64,
    /// Whether interrupt and producer register lag behind.
    changed: bool,
}

/// Why a frame did not reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// No room: dropped.
    Overrun,
    /// The ring cannot be used: a fault.
    Fault(u32),
}

impl ReceiveQueue {
    /// Opens the ring from its registers.
    pub(crate) fn open(memory: &impl CardMemory, queue: u32, log2_max: u32) -> Result<Self, u32> {
        let load = |register| memory.load32(of_queue(queue, register));
        let (size_log2, stride) = (load(queue::RX_SIZE_LOG2), load(queue::RX_STRIDE));
        let descriptors = load64(memory, of_queue(queue, queue::RX_BASE));
        let buffers = load64(memory, of_queue(queue, queue::RX_BUFFERS));
        let fits = (4..=log2_max).contains(&size_log2)
            && (256..=65_536).contains(&stride)
            && stride.is_multiple_of(64)
            && descriptors.is_multiple_of(64)
            && buffers.is_multiple_of(64)
            && descriptors <= u64::MAX / 2
            && buffers <= u64::MAX / 2;
        if !fits {
            return Err(syndrome::RING);
        }
        let size = 1 << size_log2;
        Ok(Self { queue, descriptors, buffers, size, stride, delivered: 0, changed: true })
    }

    pub(crate) fn queue(&self) -> u32 {
        self.queue
    }

    /// Frames delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether it is half full or more: no place for samples.
    pub(crate) fn is_half_full(&self, memory: &impl CardMemory) -> bool {
        let consumer = memory.load32(of_queue(self.queue, queue::RX_CONSUMER));
        low32(self.delivered).wrapping_sub(consumer) >= self.size / 2
    }

    /// Writes a frame and its descriptor, `aim` slots too far; `receive.sequence` is set here.
    pub(crate) fn deliver(
        &mut self,
        memory: &impl CardMemory,
        frame: &[u8],
        mut receive: Receive,
        aim: u32,
    ) -> Result<(), Undelivered> {
        let consumer = memory.load32(of_queue(self.queue, queue::RX_CONSUMER));
        let produced = low32(self.delivered);
        let waiting = produced.wrapping_sub(consumer);
        if waiting > self.size {
            return Err(Undelivered::Fault(syndrome::INDEX));
        }
        if waiting == self.size || frame.len() > self.stride as usize {
            return Err(Undelivered::Overrun);
        }
        let slot = u64::from(produced.wrapping_add(aim) & (self.size - 1));
        let buffer = self.buffers + slot * u64::from(self.stride);
        let descriptor = self.descriptors + slot * RECEIVE_BYTES as u64;
        let dma = Undelivered::Fault(syndrome::DMA);
        memory.dma_write(buffer, frame).map_err(|_| dma)?;
        receive.sequence = self.delivered + 1;
        memory.dma_write(descriptor, &receive.encode()).map_err(|_| dma)?;
        self.delivered += 1;
        self.changed = true;
        Ok(())
    }

    /// Whether there are frames that the host has not been told of.
    pub(crate) fn is_behind(&self) -> bool {
        self.changed
    }

    /// Brings the register up to date; the interrupt that announces it.
    pub(crate) fn publish(&mut self, memory: &impl CardMemory) -> Option<u16> {
        std::mem::take(&mut self.changed).then(|| {
            self.store_index(memory);
            u16::try_from(1 + self.queue).expect("at most 16 queues")
        })
    }

    /// Writes the register.
    pub(crate) fn store_index(&self, memory: &impl CardMemory) {
        memory.store32(of_queue(self.queue, queue::RX_PRODUCER), low32(self.delivered));
    }
}
