//! A card of few lines for the driver's own tests: rings, tables and counters as `docs/nic-abi.md`
//! says, no packets but those a test delivers. It can be frozen and made to lie.

mod execute;

use std::collections::VecDeque;
use std::sync::Arc;
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::capability::{Bank, Capability, action};
use twinpath_abi::command::{COMMAND_BYTES, Command, opcode};
use twinpath_abi::completion::{COMPLETION_BYTES, Completion, Counters, Status};
use twinpath_abi::entry::{EntryImage, NO_ENTRY};
use twinpath_abi::key::KeyBytes;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::receive::{MirrorPart, RECEIVE_BYTES, Receive, ReceiveReason};
use twinpath_abi::register::{self, Register, control, queue, status};
use twinpath_abi::transmit::{TRANSMIT_BYTES, Transmit};

struct Stored {
    image: EntryImage,
    held: bool,
    ends: Option<(u32, u64)>,
}

/// The card.
pub(super) struct Fake {
    pub memory: Arc<SharedMemory>,
    pub capability: Capability,
    tables: Vec<Vec<Option<Stored>>>,
    masks: Vec<KeyBytes>,
    counters: Vec<Option<Counters>>,
    clock: u64,
    generation: u32,
    /// DELETEs that wait for a generation, since the last commit.
    endings: u32,
    fetched: u32,
    completed: u32,
    waiting: VecDeque<Completion>,
    delivered: [u64; 2],
    transmitted: [u32; 2],
    /// Frames the host sent: port index and bytes.
    pub sent: Vec<(u16, Vec<u8>)>,
    /// Statuses other than done.
    pub refusals: Vec<Status>,
    /// Does nothing, not even a heartbeat.
    pub frozen: bool,
    /// Fetches no commands.
    pub deaf: bool,
    /// Changes each completion before it is written.
    pub lie: Option<fn(&mut Completion)>,
}

fn capability() -> Capability {
    Capability {
        ports: 2,
        queues: 2,
        ternary: 8,
        counters: 4_000,
        hold_frames: 64,
        hold_entries: 16,
        tunnels: 4,
        ring_log2_max: [8, 9, 6, 6],
        vectors: 3,
        actions: action::ALL,
        ttl_decrements: 4,
        counter_staleness_ns: 0,
        reset_ms_max: 10,
        command_ms_max: 10,
        port_frames: 64,
        clock_ns: 1,
        packet_latency_ns: 0,
        command_latency_ns: 0,
        command_interval_ns: 0,
        banks: vec![Bank { slots: 64, stash: 4 }, Bank { slots: 16, stash: 0 }],
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        let memory = Arc::new(SharedMemory::new(register::BAR_BYTES, 16 << 20, 3));
        let capability = capability();
        let fake = Self {
            memory,
            tables: Vec::new(),
            masks: Vec::new(),
            counters: Vec::new(),
            capability,
            clock: 0,
            generation: 0,
            endings: 0,
            fetched: 0,
            completed: 0,
            waiting: VecDeque::new(),
            delivered: [0; 2],
            transmitted: [0; 2],
            sent: Vec::new(),
            refusals: Vec::new(),
            frozen: false,
            deaf: false,
            lie: None,
        };
        fake.set(&register::IDENTITY, register::IDENTITY_VALUE);
        fake.set(&register::VERSION, twinpath_abi::ABI_VERSION);
        fake.write_capability();
        fake
    }

    pub(super) fn write_capability(&self) {
        let block = self.capability.encode();
        for (offset, word) in (register::CAPABILITY..).step_by(4).zip(block.as_chunks::<4>().0) {
            self.memory.write32(offset, u32::from_le_bytes(*word));
        }
    }

    pub(super) fn set(&self, register: &Register, value: u32) {
        self.memory.write32(register.offset, value);
    }

    fn read(&self, register: &Register) -> u32 {
        self.memory.read32(register.offset)
    }

    /// Every register and all DMA memory read all ones from now on: the card is unplugged.
    pub(super) fn unplug(&mut self) {
        self.frozen = true;
        for offset in (0..register::BAR_BYTES).step_by(4) {
            self.memory.write32(offset, u32::MAX);
        }
    }

    pub(super) fn step(&mut self, now_ns: u64) {
        if self.frozen {
            return;
        }
        self.clock = now_ns;
        self.memory.write64(register::CLOCK.offset, now_ns);
        self.set(&register::HEARTBEAT, u32::try_from(now_ns / 1_000_000).unwrap());
        let request = self.read(&register::RESET_REQUEST);
        if request != self.read(&register::RESET_DONE) {
            self.reset(request);
        }
        let wanted = self.read(&register::CONTROL);
        let bypass = if wanted & control::TABLES == 0 { status::BYPASS } else { 0 };
        if self.read(&register::EPOCH) > 0 {
            self.set(&register::STATUS, status::READY | bypass);
        }
        if wanted & control::RINGS != 0 {
            self.transmit();
            self.flush();
            while !self.deaf && self.fetched != self.read(&register::COMMAND_PRODUCER) {
                self.fetch();
            }
        }
    }

    fn reset(&mut self, request: u32) {
        let banks = self.capability.banks.iter().map(Bank::places);
        let places = banks.chain([self.capability.ternary]);
        self.tables = places.map(|n| (0..n).map(|_| None).collect()).collect();
        self.masks = vec![[0; 64]; self.capability.banks.len()];
        self.counters = vec![None; self.capability.counters as usize];
        (self.fetched, self.completed, self.generation, self.endings) = (0, 0, 0, 0);
        (self.delivered, self.transmitted) = ([0; 2], [0; 2]);
        for zeroed in [&register::CONTROL, &register::COMMAND_PRODUCER, &register::GENERATION] {
            self.set(zeroed, 0);
        }
        self.set(&register::COMMAND_CONSUMER, 0);
        self.set(&register::COMPLETION_CONSUMER, 0);
        self.waiting.clear();
        for index in 0..2 {
            self.memory.write32(at(index, &queue::TX_CONSUMER), 0);
        }
        self.set(&register::EPOCH, self.read(&register::EPOCH) + 1);
        self.set(&register::RESET_DONE, request);
    }

    fn transmit(&mut self) {
        for index in 0..2_u32 {
            let log2 = self.memory.read32(at(index, &queue::TX_SIZE_LOG2));
            let base = Iova(self.memory.read64(at(index, &queue::TX_BASE)));
            let taken = &mut self.transmitted[index as usize];
            while *taken != self.memory.read32(at(index, &queue::TX_PRODUCER)) {
                let slot = u64::from(*taken & ((1 << log2) - 1));
                let mut bytes = [0; TRANSMIT_BYTES];
                self.memory.copy_out(base.plus(slot * 32), &mut bytes);
                let descriptor = Transmit::decode(&bytes);
                let mut frame = vec![0; descriptor.length as usize];
                self.memory.copy_out(Iova(descriptor.address), &mut frame);
                self.sent.push((descriptor.port, frame));
                *taken += 1;
            }
            self.memory.write32(at(index, &queue::TX_CONSUMER), *taken);
        }
    }

    /// Gives a frame to the host.
    pub(super) fn deliver(&mut self, index: u32, frame: &[u8], change: impl Fn(&mut Receive)) {
        let log2 = self.memory.read32(at(index, &queue::RX_SIZE_LOG2));
        let sequence = self.delivered[index as usize] + 1;
        self.delivered[index as usize] = sequence;
        let slot = (sequence - 1) & ((1 << log2) - 1);
        let stride = u64::from(self.memory.read32(at(index, &queue::RX_STRIDE)));
        let buffers = Iova(self.memory.read64(at(index, &queue::RX_BUFFERS)));
        self.memory.copy_in(buffers.plus(slot * stride), frame);
        let mut descriptor = Receive {
            timestamp: self.clock,
            length: u32::try_from(frame.len()).unwrap(),
            generation: self.generation,
            entry: NO_ENTRY,
            mark: 0,
            port: 1,
            reason: Some(ReceiveReason::NoEntry),
            mirror: MirrorPart::NONE,
            sequence,
        };
        change(&mut descriptor);
        let base = Iova(self.memory.read64(at(index, &queue::RX_BASE)));
        self.memory.copy_in(base.plus(slot * RECEIVE_BYTES as u64), &descriptor.encode());
    }

    fn fetch(&mut self) {
        let log2 = self.read(&register::COMMAND_SIZE_LOG2);
        let base = Iova(self.memory.read64(register::COMMAND_BASE.offset));
        let slot = u64::from(self.fetched & ((1 << log2) - 1));
        let mut bytes = [0; COMMAND_BYTES];
        self.memory.copy_out(base.plus(slot * 64), &mut bytes);
        self.fetched += 1;
        self.set(&register::COMMAND_CONSUMER, self.fetched);
        let tag = Command::tag(&bytes);
        let command = Command::decode(&bytes).expect("the driver writes commands");
        match self.execute(&command, tag) {
            Ok(Some((counters, detail))) => {
                self.complete((tag, command.opcode()), Status::Done, counters, detail);
            }
            Ok(None) => {}
            Err(status) => {
                self.refusals.push(status);
                self.complete((tag, command.opcode()), status, None, 0);
            }
        }
    }

    /// Writes a completion.
    pub(super) fn complete(
        &mut self,
        (tag, opcode): (u64, u8),
        status: Status,
        counters: Option<Counters>,
        detail: u32,
    ) {
        let mut completion = Completion {
            delivered: [0; 16],
            tag,
            counters,
            as_of: self.clock,
            epoch: self.read(&register::EPOCH),
            entry: detail,
            detail,
            status: status as u16,
            opcode,
            complete: false,
            consumer: self.fetched,
        };
        for (low, delivered) in completion.delivered.iter_mut().zip(self.delivered) {
            *low = u32::try_from(delivered).unwrap();
        }
        if let Some(lie) = self.lie {
            lie(&mut completion);
        }
        self.waiting.push_back(completion);
        self.flush();
    }

    /// Writes completions that wait for a free slot.
    fn flush(&mut self) {
        let log2 = self.read(&register::COMPLETION_SIZE_LOG2);
        let base = Iova(self.memory.read64(register::COMPLETION_BASE.offset));
        while self.completed - self.read(&register::COMPLETION_CONSUMER) < 1 << log2 {
            let Some(completion) = self.waiting.pop_front() else { break };
            let slot = u64::from(self.completed & ((1 << log2) - 1));
            let bytes = completion.encode(Completion::phase(self.completed, log2));
            self.memory.copy_in(base.plus(slot * COMPLETION_BYTES as u64), &bytes);
            self.completed += 1;
        }
    }

    /// A packet of this key: counts on the entry that serves it; its id.
    pub(super) fn hit(&mut self, key: &KeyBytes) -> Option<u32> {
        for (table, places) in self.tables.iter().enumerate() {
            let serves = |stored: &&Stored| {
                let image = &stored.image;
                let mask = self.masks.get(table).unwrap_or(&image.mask);
                let bits = key.iter().zip(mask).map(|(key, mask)| key & mask);
                bits.eq(image.matching) && image.from <= self.generation
            };
            if let Some(stored) = places.iter().flatten().find(serves) {
                let id = stored.image.id;
                let counters = self.counters[stored.image.counter as usize].as_mut().unwrap();
                counters.packets += 1;
                counters.bytes += 100;
                counters.last_hit = self.clock;
                return Some(id);
            }
        }
        None
    }

    /// Cancels a held install as if its queue had overflowed.
    pub(super) fn overflow(&mut self, id: u32) {
        let places = self.tables.iter_mut().flatten();
        let held = |slot: &Option<Stored>| slot.as_ref().is_some_and(|s| s.image.id == id);
        let stored = places.into_iter().find(|slot| held(slot)).unwrap().take().unwrap();
        self.counters[stored.image.counter as usize] = None;
        self.complete((0, opcode::HOLD_OVERFLOW), Status::HoldOverflow, None, id);
    }
}

fn at(index: u32, register: &Register) -> u32 {
    register::QUEUE_ARRAY + index * register::QUEUE_STRIDE + register.offset
}
