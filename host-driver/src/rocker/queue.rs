//! The packet queue: receive and transmit rings of all ports, as one pair for one worker.
//!
//! No lock, no allocation per packet. Received frames come port by port, at most a share each, so
//! that a flooded port does not starve the others. Sending is done when the doorbell's store
//! returns, so one set of buffers serves all ports.

use super::attribute as attr;
use super::io::RockerIo;
use super::layout::TLV_BYTES;
use super::port::PortMap;
use super::register::RingRegisters;
use super::ring::{Completion, Ring, RingSize, Work};
use super::tlv::{Malformed, Tlvs};
use crate::gate::Gate;
use crate::nic::{CardQueue, RxSink, TxFrame};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twinpath_abi::bus::Iova;
use twinpath_flow::card::{DeathCause, Generation, Reason, RxMeta};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Transmit descriptors per port.
pub(crate) const TX_RING: RingSize = RingSize::log2(6);
/// Frames sent with one doorbell at most; a transmit ring takes them all.
pub(crate) const TX_BURST: u32 = 32;
/// Shortest frame sent.
const FRAME_MIN: usize = 14;
/// Error of a frame longer than its buffer (`EMSGSIZE`).
const TOO_LONG: u16 = 90;

/// Memory of one port's rings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortMemory {
    /// Receive descriptors.
    pub rx_base: Iova,
    /// Receive slots: TLVs, then the frame.
    pub rx_slots: Iova,
    /// Transmit descriptors.
    pub tx_base: Iova,
}

/// Memory of all packet rings.
#[derive(Clone, Debug)]
pub(crate) struct QueueMemory {
    /// Configured ports, ascending.
    pub ports: Vec<PortMemory>,
    /// Size of the receive rings.
    pub rx: RingSize,
    /// [`TX_BURST`] slots for sending.
    pub tx_slots: Iova,
    /// Bytes of a slot.
    pub slot_bytes: u64,
    /// Longest frame in a slot.
    pub frame_bytes: u16,
}

/// What driver and queue both know.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Opens and shuts the queue.
    pub gate: Gate,
    /// Time of the driver's last look at the device; frames carry no time of their own.
    pub now: AtomicU64,
    /// Received frames lost because they were longer than any port allows.
    pub too_long: AtomicU64,
}

impl Shared {
    pub(crate) const fn new() -> Self {
        Self { gate: Gate::new(), now: AtomicU64::new(0), too_long: AtomicU64::new(0) }
    }
}

/// Rings of one port.
#[derive(Debug)]
struct PortRings {
    number: PortNo,
    memory: PortMemory,
    rx: Ring,
    tx: Ring,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue<I> {
    io: Arc<I>,
    shared: Arc<Shared>,
    ports: Vec<PortRings>,
    tx_slots: Iova,
    slot_bytes: u64,
    frame_bytes: u16,
    /// Port to begin the next burst with.
    turn: usize,
    delivered: u64,
}

impl<I: RockerIo> Queue<I> {
    /// Sets up the packet rings of the configured ports, every receive descriptor posted.
    pub(crate) fn program(
        io: Arc<I>,
        memory: &QueueMemory,
        map: &PortMap,
        shared: Arc<Shared>,
    ) -> Self {
        let rx = |registers, base| Some(Ring::program(&*io, registers, base, memory.rx));
        let ports = port_rings(&*io, memory, map, rx).expect("a ring can be programmed");
        Self::with(io, memory, ports, shared)
    }

    /// Goes on with the receive rings of a former driver, and what waits there; `None` when they are
    /// other ones.
    pub(crate) fn resume(
        io: Arc<I>,
        memory: &QueueMemory,
        map: &PortMap,
        shared: Arc<Shared>,
    ) -> Option<Self> {
        let rx = |registers, base| {
            Ring::is_programmed(&*io, registers, base, memory.rx)
                .then(|| Ring::resume(&*io, registers, base, memory.rx))?
        };
        let ports = port_rings(&*io, memory, map, rx)?;
        Some(Self::with(io, memory, ports, shared))
    }

    fn with(io: Arc<I>, memory: &QueueMemory, ports: Vec<PortRings>, shared: Arc<Shared>) -> Self {
        let mut queue = Self {
            io,
            shared,
            ports,
            tx_slots: memory.tx_slots,
            slot_bytes: memory.slot_bytes,
            frame_bytes: memory.frame_bytes,
            turn: 0,
            delivered: 0,
        };
        for index in 0..queue.ports.len() {
            queue.post(index);
        }
        queue
    }

    /// Posts every free receive slot of a port.
    fn post(&mut self, index: usize) {
        let (io, frame_bytes) = (&*self.io, self.frame_bytes);
        let port = &mut self.ports[index];
        while let Some(slot) = port.rx.vacancy() {
            let buffer = port.memory.rx_slots.plus(u64::from(slot) * self.slot_bytes);
            let frame = buffer.plus(u64::from(TLV_BYTES));
            let mut request = [0; 32];
            put(&mut request[..16], (attr::RX_ADDRESS, 16), &frame.0.to_le_bytes());
            put(&mut request[16..], (attr::RX_LENGTH_MAX, 10), &frame_bytes.to_le_bytes());
            io.copy_in(buffer, &request);
            let work = Work { buffer, buffer_bytes: TLV_BYTES, tlv_bytes: 32 };
            port.rx.push(io, work, u64::from(slot));
        }
        port.rx.ring(io);
    }

    /// Hands at most `max` frames of one port to `sink`; returns how many descriptors were used.
    fn receive(
        &mut self,
        index: usize,
        max: usize,
        sink: &mut dyn RxSink,
    ) -> Result<u32, DeathCause> {
        let mut used = 0;
        let mut frames = 0;
        while frames < max {
            let port = &mut self.ports[index];
            let slot = port.rx.oldest();
            let Some(completion) = port.rx.pop(&*self.io) else { break };
            used += 1;
            let buffer = port.memory.rx_slots.plus(u64::from(slot) * self.slot_bytes);
            let number = port.number;
            if completion.cookie != u64::from(slot) {
                return Err(DeathCause::Garbage);
            }
            if let Some(length) = self.length(buffer, completion)? {
                self.hand(sink, (number, buffer), length);
                frames += 1;
            }
        }
        Ok(used)
    }

    /// Length of a received frame; `None` when it was lost.
    fn length(&self, buffer: Iova, completion: Completion) -> Result<Option<u16>, DeathCause> {
        match completion.error {
            0 => {}
            TOO_LONG => {
                self.shared.too_long.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            _ => return Err(DeathCause::Garbage),
        }
        let mut bytes = [0; TLV_BYTES as usize];
        self.io.copy_out(buffer, &mut bytes);
        let tlvs = bytes.get(..usize::from(completion.tlv_bytes)).ok_or(DeathCause::Garbage)?;
        let found = |Malformed| DeathCause::Garbage;
        let length = Tlvs::new(tlvs).find(attr::RX_LENGTH).map_err(found)?;
        let length = length.and_then(|tlv| tlv.number()).ok_or(DeathCause::Garbage)?;
        u16::try_from(length)
            .ok()
            .filter(|length| *length <= self.frame_bytes)
            .map(Some)
            .ok_or(DeathCause::Garbage)
    }

    fn hand(&mut self, sink: &mut dyn RxSink, (port, buffer): (PortNo, Iova), length: u16) {
        self.delivered += 1;
        let meta = RxMeta {
            port,
            // Only what no entry takes comes to the host.
            reason: Reason::NoEntry,
            entry: None,
            // The device has none; the host takes the one in force.
            generation: Generation(0),
            time: Time(self.shared.now.load(Ordering::Relaxed)),
            mirror: None,
        };
        let io = &self.io;
        let frame = buffer.plus(u64::from(TLV_BYTES));
        sink.frame(meta, usize::from(length), &mut |into| io.copy_out(frame, into));
    }

    /// Sends frames of one port with one doorbell.
    fn send(&mut self, index: usize, frames: &[TxFrame<'_>]) -> Result<(), DeathCause> {
        let io = &*self.io;
        let tx = &mut self.ports[index].tx;
        let mut pushed = 0;
        for frame in frames {
            let sendable = (FRAME_MIN..=usize::from(self.frame_bytes)).contains(&frame.data.len());
            let length = u16::try_from(frame.data.len()).ok().filter(|_| sendable);
            let Some(length) = length else {
                self.shared.gate.drop_frame();
                continue;
            };
            let buffer = self.tx_slots.plus(pushed * self.slot_bytes);
            let data = buffer.plus(u64::from(TLV_BYTES));
            io.copy_in(data, frame.data);
            io.copy_in(buffer, &one_fragment(data, length));
            let work = Work { buffer, buffer_bytes: TLV_BYTES, tlv_bytes: 48 };
            tx.push(io, work, pushed);
            pushed += 1;
        }
        if pushed == 0 {
            return Ok(());
        }
        tx.ring(io);
        for sequence in 0..pushed {
            // All are done, or the device cannot write to memory any more.
            let completion = tx.pop(io).ok_or(DeathCause::Deadline)?;
            if completion.cookie != sequence {
                return Err(DeathCause::Garbage);
            }
            if completion.error != 0 {
                self.shared.gate.drop_frame();
            }
        }
        tx.give_back(io, u32::try_from(pushed).unwrap_or(TX_BURST));
        Ok(())
    }
}

/// The rings of the configured ports; `rx` makes those for receiving, or says that it cannot. Those for
/// sending are empty whenever nobody sends.
fn port_rings(
    io: &impl RockerIo,
    memory: &QueueMemory,
    map: &PortMap,
    rx: impl Fn(RingRegisters, Iova) -> Option<Ring>,
) -> Option<Vec<PortRings>> {
    let rings = map.configured().zip(&memory.ports).map(|((port, number), ring)| {
        let registers = |offset| RingRegisters::numbered(2 * port.number() + offset);
        Some(PortRings {
            number,
            memory: *ring,
            rx: rx(registers(1), ring.rx_base)?,
            tx: Ring::program(io, registers(0), ring.tx_base, TX_RING),
        })
    });
    rings.collect()
}

/// One TLV of a fixed shape; `length` includes the header and not the padding.
fn put(at: &mut [u8], (kind, length): (u32, u16), value: &[u8]) {
    at[..4].copy_from_slice(&kind.to_le_bytes());
    at[4..6].copy_from_slice(&length.to_le_bytes());
    at[8..8 + value.len()].copy_from_slice(value);
}

/// The TLVs that send one fragment.
fn one_fragment(data: Iova, length: u16) -> [u8; 48] {
    let mut request = [0; 48];
    put(&mut request, (attr::TX_FRAGMENTS, 48), &[]);
    put(&mut request[8..], (attr::TX_FRAGMENT, 40), &[]);
    put(&mut request[16..], (attr::TX_ADDRESS, 16), &data.0.to_le_bytes());
    put(&mut request[32..], (attr::TX_LENGTH, 10), &length.to_le_bytes());
    request
}

impl<I: RockerIo> CardQueue for Queue<I> {
    fn index(&self) -> usize {
        0
    }

    fn rx_burst(&mut self, max: usize, sink: &mut dyn RxSink) -> Result<usize, DeathCause> {
        let shared = Arc::clone(&self.shared);
        let Some(_pass) = shared.gate.enter() else { return Ok(0) };
        let before = self.delivered;
        let ports = self.ports.len();
        for step in 0..ports {
            let taken = usize::try_from(self.delivered - before).unwrap_or(max);
            let left = max.saturating_sub(taken);
            let share = left.div_ceil(ports - step);
            let index = (self.turn + step) % ports;
            let used = self.receive(index, share, sink).inspect_err(|_| shared.gate.accuse())?;
            if used > 0 {
                self.post(index);
                self.ports[index].rx.give_back(&*self.io, used);
            }
        }
        self.turn = (self.turn + 1) % ports.max(1);
        shared.gate.publish_taken(self.delivered);
        Ok(usize::try_from(self.delivered - before).unwrap_or(max))
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }

    fn tx_burst(&mut self, frames: &[TxFrame<'_>]) -> usize {
        let shared = Arc::clone(&self.shared);
        let Some(_pass) = shared.gate.enter() else { return 0 };
        let runs = frames.chunk_by(|a, b| a.port == b.port);
        for run in runs.flat_map(|run| run.chunks(TX_BURST as usize)) {
            match self.ports.binary_search_by_key(&run[0].port, |port| port.number) {
                Ok(index) => {
                    if self.send(index, run).is_err() {
                        shared.gate.accuse();
                        return frames.len();
                    }
                }
                Err(_) => run.iter().for_each(|_| shared.gate.drop_frame()),
            }
        }
        frames.len()
    }
}
