//! Transmit rings: frames from the host (`docs/nic-abi.md` §3.7, §12).

use crate::pool::Pool;
use crate::ports::Port;
use crate::registers::{load64, of_queue};
use twinpath_abi::bus::CardMemory;
use twinpath_abi::register::{queue, syndrome};
use twinpath_abi::transmit::{FRAME_MAX, TRANSMIT_BYTES, Transmit};

/// Shortest frame the host may send.
const FRAME_MIN: u32 = 14;

/// A transmit ring in use.
#[derive(Debug)]
pub(crate) struct TransmitQueue {
    queue: u32,
    descriptors: u64,
    size: u32,
    consumer: u32,
    bad: u32,
}

impl TransmitQueue {
    /// Opens the ring from its registers.
    pub(crate) fn open(memory: &impl CardMemory, queue: u32, log2_max: u32) -> Result<Self, u32> {
        let size_log2 = memory.load32(of_queue(queue, queue::TX_SIZE_LOG2));
        let descriptors = load64(memory, of_queue(queue, queue::TX_BASE));
        let fits = (4..=log2_max).contains(&size_log2)
            && descriptors.is_multiple_of(32)
            && descriptors <= u64::MAX / 2;
        if !fits {
            return Err(syndrome::RING);
        }
        Ok(Self { queue, descriptors, size: 1 << size_log2, consumer: 0, bad: 0 })
    }

    /// Frames fetched so far, modulo 2^32.
    pub(crate) fn consumer(&self) -> u32 {
        self.consumer
    }

    pub(crate) fn queue(&self) -> u32 {
        self.queue
    }

    /// Sends all frames given so far; they leave at `due`.
    pub(crate) fn drain(
        &mut self,
        memory: &impl CardMemory,
        ports: &mut [Port],
        pool: &mut Pool,
        due: u64,
    ) -> Result<(), u32> {
        let producer = memory.load32(of_queue(self.queue, queue::TX_PRODUCER));
        if producer.wrapping_sub(self.consumer) > self.size {
            return Err(syndrome::INDEX);
        }
        if producer == self.consumer {
            return Ok(());
        }
        while self.consumer != producer {
            let slot = u64::from(self.consumer & (self.size - 1));
            let mut bytes = [0; TRANSMIT_BYTES];
            let address = self.descriptors + slot * TRANSMIT_BYTES as u64;
            memory.dma_read(address, &mut bytes).map_err(|_| syndrome::DMA)?;
            self.consumer = self.consumer.wrapping_add(1);
            if !send(memory, ports, pool, (Transmit::decode(&bytes), due)) {
                self.bad = self.bad.wrapping_add(1);
                memory.store32(of_queue(self.queue, queue::TX_BAD), self.bad);
            }
        }
        self.store_index(memory);
        Ok(())
    }

    /// Writes the register.
    pub(crate) fn store_index(&self, memory: &impl CardMemory) {
        memory.store32(of_queue(self.queue, queue::TX_CONSUMER), self.consumer);
    }
}

/// Whether the descriptor was good; a frame dropped at its port was.
fn send(
    memory: &impl CardMemory,
    ports: &mut [Port],
    pool: &mut Pool,
    (transmit, due): (Transmit, u64),
) -> bool {
    let Some(port) = ports.get_mut(usize::from(transmit.port)) else {
        return false;
    };
    if !(FRAME_MIN..=FRAME_MAX).contains(&transmit.length) {
        return false;
    }
    let mut frame = pool.zeroed(transmit.length as usize);
    if memory.dma_read(transmit.address, &mut frame).is_err() {
        pool.give(frame);
        return false;
    }
    if let Err(dropped) = port.send(frame, due) {
        pool.give(dropped);
    }
    true
}
