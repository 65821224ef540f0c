//! A receive and transmit queue pair, owned by one worker. No lock and no allocation per packet.

use super::ring::{Garbage, Producer, Size};
use super::watch::CardClock;
use crate::gate::Gate;
use crate::nic::{CardQueue, RxSink, TxFrame};
use std::sync::Arc;
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::entry::NO_ENTRY;
use twinpath_abi::receive::{self, RECEIVE_BYTES, Receive, ReceiveReason, SEQUENCE_WORD};
use twinpath_abi::register::{QUEUE_ARRAY, QUEUE_STRIDE, Register, queue};
use twinpath_abi::transmit::{TRANSMIT_BYTES, Transmit};
use twinpath_flow::card::{
    DeathCause, EntryId, Generation, MirrorOrder, MirrorPart, Mirrored, Reason, RxMeta,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;

/// Shortest frame the card sends (`docs/nic-abi.md` §12.1).
const FRAME_MIN: usize = 14;

/// Addresses and sizes of a queue pair's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueMemory {
    /// Receive descriptors.
    pub rx_base: Iova,
    /// Receive buffers.
    pub rx_buffers: Iova,
    /// Binary logarithm of their number.
    pub rx_log2: u32,
    /// Bytes of a receive buffer.
    pub rx_stride: u32,
    /// Transmit descriptors.
    pub tx_base: Iova,
    /// Transmit buffers.
    pub tx_buffers: Iova,
    /// Binary logarithm of their number.
    pub tx_log2: u32,
    /// Bytes of a transmit buffer.
    pub tx_stride: u32,
}

/// What all queues of a card share.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The card's clock.
    pub clock: CardClock,
    /// Port numbers by the card's index.
    pub ports: Arc<[PortNo]>,
}

/// Offset of a queue's register.
pub(crate) fn register_of(index: u16, register: &Register) -> u32 {
    QUEUE_ARRAY + u32::from(index) * QUEUE_STRIDE + register.offset
}

impl QueueMemory {
    /// Clears what the card will write and tells the card where everything is.
    pub(crate) fn program(&self, bus: &impl Bus, index: u16) {
        for slot in 0..1_u64 << self.rx_log2 {
            bus.copy_in(self.rx_base.plus(slot * RECEIVE_BYTES as u64), &[0; RECEIVE_BYTES]);
        }
        let at = |register: &Register| register_of(index, register);
        bus.write64(at(&queue::RX_BASE), self.rx_base.0);
        bus.write64(at(&queue::RX_BUFFERS), self.rx_buffers.0);
        bus.write32(at(&queue::RX_SIZE_LOG2), self.rx_log2);
        bus.write32(at(&queue::RX_STRIDE), self.rx_stride);
        bus.write32(at(&queue::RX_CONSUMER), 0);
        bus.write64(at(&queue::TX_BASE), self.tx_base.0);
        bus.write32(at(&queue::TX_SIZE_LOG2), self.tx_log2);
        bus.write32(at(&queue::TX_PRODUCER), 0);
        bus.write32(at(&queue::ENABLE), 1);
    }
}

impl QueueMemory {
    /// Frames taken so far, of which `low` are the low 32 bits: the newest descriptor has them all.
    fn taken(&self, bus: &impl Bus, low: u32) -> Result<u64, Garbage> {
        let slots = 1_u64 << self.rx_log2;
        let sequence = |slot: u64| {
            let at = self.rx_base.plus(slot * RECEIVE_BYTES as u64);
            bus.load64(at.plus(SEQUENCE_WORD as u64))
        };
        let ours =
            |(slot, sequence): &(u64, u64)| *sequence > 0 && (*sequence - 1) & (slots - 1) == *slot;
        let newest = (0..slots).map(|slot| (slot, sequence(slot))).filter(ours);
        let newest = newest.map(|(_, sequence)| sequence).max().unwrap_or(0);
        let newest_low = u32::try_from(newest & 0xffff_ffff).expect("masked");
        let waiting = u64::from(newest_low.wrapping_sub(low));
        let garbage = Garbage { index: low, low: newest_low, high: newest_low };
        newest.checked_sub(waiting).filter(|_| waiting <= slots).ok_or(garbage)
    }
}

/// A queue pair.
#[derive(Debug)]
pub(crate) struct Queue<B> {
    bus: Arc<B>,
    index: u16,
    memory: QueueMemory,
    around: Surroundings,
    gate: Arc<Gate>,
    delivered: u64,
    tx: Producer,
    tx_size: Size,
}

impl<B: Bus> Queue<B> {
    pub(crate) fn new(
        bus: Arc<B>,
        index: u16,
        memory: QueueMemory,
        around: Surroundings,
        gate: Arc<Gate>,
    ) -> Self {
        let tx_size = Size::new(1 << memory.tx_log2);
        let tx = Producer::new(tx_size);
        Self { bus, index, memory, around, gate, delivered: 0, tx, tx_size }
    }

    /// A queue pair as a former driver left it.
    ///
    /// # Errors
    /// [`Garbage`] when registers and descriptors are not those of rings in use.
    pub(crate) fn resume(
        bus: Arc<B>,
        (index, memory, around, gate): (u16, QueueMemory, Surroundings, Arc<Gate>),
    ) -> Result<Self, Garbage> {
        let read = |register: &Register| bus.read32(register_of(index, register));
        let tx_size = Size::new(1 << memory.tx_log2);
        let tx = Producer::resume(tx_size, read(&queue::TX_PRODUCER), read(&queue::TX_CONSUMER))?;
        let delivered = memory.taken(&*bus, read(&queue::RX_CONSUMER))?;
        gate.publish(tx.produced());
        gate.publish_taken(delivered);
        Ok(Self { bus, index, memory, around, gate, delivered, tx, tx_size })
    }

    fn slot(&self) -> u64 {
        self.delivered & ((1 << self.memory.rx_log2) - 1)
    }

    /// The next descriptor, if the card has written one.
    fn descriptor(&self) -> Result<Option<Receive>, DeathCause> {
        let at = self.memory.rx_base.plus(self.slot() * RECEIVE_BYTES as u64);
        let sequence = self.bus.load64(at.plus(SEQUENCE_WORD as u64));
        if sequence != self.delivered + 1 {
            // What this slot held one lap ago; 0 on the first.
            let earlier = (self.delivered + 1).saturating_sub(1 << self.memory.rx_log2);
            return if sequence == earlier { Ok(None) } else { Err(DeathCause::Garbage) };
        }
        let mut bytes = [0; RECEIVE_BYTES];
        self.bus.copy_out(at, &mut bytes);
        Ok(Some(Receive::decode(&bytes)))
    }

    fn meta(&self, descriptor: &Receive) -> Result<RxMeta, DeathCause> {
        let garbage = DeathCause::Garbage;
        let ports = &self.around.ports;
        let reason = match descriptor.reason.ok_or(garbage)? {
            ReceiveReason::NoEntry => Reason::NoEntry,
            ReceiveReason::Exception => Reason::Exception,
            ReceiveReason::ToHost => Reason::ToHost,
            ReceiveReason::Mirror => Reason::Mirror,
        };
        Ok(RxMeta {
            port: *ports.get(usize::from(descriptor.port)).ok_or(garbage)?,
            reason,
            entry: (descriptor.entry != NO_ENTRY).then_some(EntryId(descriptor.entry)),
            generation: Generation(descriptor.generation),
            time: self.around.clock.host_time(descriptor.timestamp),
            mirror: self.mirror(descriptor, reason)?,
        })
    }

    fn mirror(&self, descriptor: &Receive, reason: Reason) -> Result<Option<Mirrored>, DeathCause> {
        if reason != Reason::Mirror {
            return Ok(None);
        }
        let garbage = DeathCause::Garbage;
        let mirror = &descriptor.mirror;
        let part = if mirror.part == 0 {
            MirrorPart::Received {
                sent: mirror.parts,
                order: match mirror.order.ok_or(garbage)? {
                    receive::MirrorOrder::Sampled => MirrorOrder::Sampled,
                    receive::MirrorOrder::First => MirrorOrder::First,
                    receive::MirrorOrder::Successor => MirrorOrder::Successor,
                },
                counts: Counts { packets: mirror.packets, bytes: mirror.bytes },
            }
        } else {
            let left_by = self.around.ports.get(usize::from(mirror.left_by)).ok_or(garbage)?;
            MirrorPart::Sent(*left_by)
        };
        Ok(Some(Mirrored { sample: mirror.sample, part }))
    }

    fn receive(&mut self, max: usize, sink: &mut dyn RxSink) -> Result<usize, DeathCause> {
        let mut count = 0;
        while count < max {
            let Some(descriptor) = self.descriptor()? else { break };
            let meta = self.meta(&descriptor)?;
            if descriptor.length > self.memory.rx_stride {
                return Err(DeathCause::Garbage);
            }
            let at = self.slot() * u64::from(self.memory.rx_stride);
            let (bus, from) = (&self.bus, self.memory.rx_buffers.plus(at));
            let length = descriptor.length as usize;
            sink.frame(meta, length, &mut |buffer| {
                assert_eq!(buffer.len(), length, "the sink gives a buffer of the frame's length");
                bus.copy_out(from, buffer);
            });
            self.delivered += 1;
            count += 1;
        }
        Ok(count)
    }

    /// Takes over how far the card has sent; a senseless index is reported by the driver.
    fn refresh_tx(&mut self) {
        let consumer = self.bus.read32(register_of(self.index, &queue::TX_CONSUMER));
        if self.tx.consumed_to(consumer).is_err() {
            self.gate.accuse();
        }
    }

    /// Index of the frame's port, if the frame can go.
    fn sendable(&self, frame: &TxFrame<'_>) -> Option<u16> {
        let fits = (FRAME_MIN..=self.memory.tx_stride as usize).contains(&frame.data.len());
        let index = self.around.ports.iter().position(|port| *port == frame.port)?;
        u16::try_from(index).ok().filter(|_| fits)
    }
}

impl<B: Bus + 'static> CardQueue for Queue<B> {
    fn index(&self) -> usize {
        usize::from(self.index)
    }

    fn rx_burst(&mut self, max: usize, sink: &mut dyn RxSink) -> Result<usize, DeathCause> {
        let gate = Arc::clone(&self.gate);
        let Some(_pass) = gate.enter() else { return Ok(0) };
        let before = self.delivered;
        let result = self.receive(max, sink);
        if self.delivered != before {
            gate.publish_taken(self.delivered);
            let low = u32::try_from(self.delivered & 0xffff_ffff).expect("masked");
            self.bus.write32(register_of(self.index, &queue::RX_CONSUMER), low);
        } else {
            gate.note_empty();
        }
        if result.is_err() {
            gate.accuse();
        }
        result
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }

    fn tx_burst(&mut self, frames: &[TxFrame<'_>]) -> usize {
        let gate = Arc::clone(&self.gate);
        let Some(_pass) = gate.enter() else { return 0 };
        if (self.tx.free() as usize) < frames.len() {
            self.refresh_tx();
        }
        let mut sent = 0;
        for frame in frames {
            let Some(port) = self.sendable(frame) else {
                gate.drop_frame();
                sent += 1;
                continue;
            };
            let Some(index) = self.tx.next() else { break };
            let slot = self.tx_size.slot(index) as u64;
            let buffer = self.memory.tx_buffers.plus(slot * u64::from(self.memory.tx_stride));
            self.bus.copy_in(buffer, frame.data);
            let length = u32::try_from(frame.data.len()).expect("not above the stride");
            let descriptor = Transmit { address: buffer.0, length, port };
            let at = self.memory.tx_base.plus(slot * TRANSMIT_BYTES as u64);
            self.bus.copy_in(at, &descriptor.encode());
            self.tx.push();
            sent += 1;
        }
        gate.publish(self.tx.produced());
        self.bus.write32(register_of(self.index, &queue::TX_PRODUCER), self.tx.produced());
        sent
    }
}
