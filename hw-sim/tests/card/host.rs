//! A host without a driver: it writes descriptors by hand, as `docs/nic-abi.md` says.

use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::command::{Command, EntryRef, Holding, Operand};
use twinpath_abi::completion::{COMPLETION_BYTES, Completion, PHASE_BIT, PHASE_WORD, Status};
use twinpath_abi::entry::{EditImage, EntryImage, FOREVER};
use twinpath_abi::key::KeyBytes;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::port::{NO_LIMIT, SetPort};
use twinpath_abi::receive::{RECEIVE_BYTES, Receive};
use twinpath_abi::register as reg;
use twinpath_abi::transmit::Transmit;
use twinpath_hw_sim::{Card, Profile};

/// Binary logarithm of every ring.
pub(crate) const LOG2: u32 = 5;
/// Slots of every ring.
pub(crate) const SLOTS: u32 = 1 << LOG2;
/// Bytes of a receive buffer.
pub(crate) const STRIDE: u32 = 2048;

/// Card and host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) card: Card<SharedMemory>,
    pub(crate) memory: SharedMemory,
    pub(crate) now: u64,
    commands: Iova,
    completions: Iova,
    receive: Vec<(Iova, Iova)>,
    transmit: Vec<(Iova, Iova)>,
    pub(crate) produced: u32,
    pub(crate) completed: u32,
    pub(crate) received: Vec<u32>,
    pub(crate) sent: Vec<u32>,
    image: Iova,
}

/// A received frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) meta: Receive,
    pub(crate) bytes: Vec<u8>,
}

impl Host {
    /// A card of profile `name` with two queues, brought up, tables on, four ports enabled with
    /// numbers 1 to 4.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(Profile::named(name).unwrap())
    }

    pub(crate) fn with(profile: Profile) -> Self {
        let memory = SharedMemory::new(reg::BAR_BYTES, 4 << 20, 17);
        let card = Card::new(profile, memory.clone());
        let alloc = |bytes: u32| memory.alloc(bytes as usize).unwrap();
        let (commands, completions) = (alloc(SLOTS * 64), alloc(SLOTS * 128));
        let receive = (0..2).map(|_| (alloc(SLOTS * 64), alloc(SLOTS * STRIDE))).collect();
        let transmit = (0..2).map(|_| (alloc(SLOTS * 32), alloc(SLOTS * STRIDE))).collect();
        let image = alloc(4096);
        let mut host = Self {
            card,
            memory,
            now: 0,
            commands,
            completions,
            receive,
            transmit,
            produced: 0,
            completed: 0,
            received: vec![0; 2],
            sent: vec![0; 2],
            image,
        };
        host.bring_up();
        host
    }

    pub(crate) fn bring_up(&mut self) {
        let done = self.memory.read32(reg::RESET_DONE.offset);
        self.memory.write32(reg::RESET_REQUEST.offset, done.wrapping_add(1));
        self.card.step(self.now);
        (self.produced, self.completed) = (0, 0);
        (self.received, self.sent) = (vec![0; 2], vec![0; 2]);
        self.open_rings();
        self.memory.write32(reg::CONTROL.offset, reg::control::RINGS | reg::control::TABLES);
        self.card.step(self.now);
        for index in 0..4 {
            self.command(Command::SetPort(SetPort {
                index,
                number: u16::try_from(index + 1).unwrap(),
                enabled: true,
                mtu_in: 9216,
                mtu_out: NO_LIMIT,
            }));
        }
    }

    fn open_rings(&self) {
        let memory = &self.memory;
        memory.copy_in(self.completions, &vec![0; (SLOTS * 128) as usize]);
        memory.write64(reg::COMMAND_BASE.offset, self.commands.0);
        memory.write32(reg::COMMAND_SIZE_LOG2.offset, LOG2);
        memory.write64(reg::COMPLETION_BASE.offset, self.completions.0);
        memory.write32(reg::COMPLETION_SIZE_LOG2.offset, LOG2);
        for (index, (ring, buffers)) in (0_u32..).zip(&self.receive) {
            let base = reg::QUEUE_ARRAY + index * reg::QUEUE_STRIDE;
            memory.copy_in(*ring, &vec![0; (SLOTS * 64) as usize]);
            memory.write64(base + reg::queue::RX_BASE.offset, ring.0);
            memory.write64(base + reg::queue::RX_BUFFERS.offset, buffers.0);
            memory.write32(base + reg::queue::RX_SIZE_LOG2.offset, LOG2);
            memory.write32(base + reg::queue::RX_STRIDE.offset, STRIDE);
            let (ring, _) = self.transmit[index as usize];
            memory.write64(base + reg::queue::TX_BASE.offset, ring.0);
            memory.write32(base + reg::queue::TX_SIZE_LOG2.offset, LOG2);
            memory.write32(base + reg::queue::ENABLE.offset, 1);
        }
    }

    /// Gives a command without waiting.
    pub(crate) fn post(&mut self, command: Command) {
        self.post_raw(&command.encode(u64::from(self.produced) + 1000));
    }

    /// Gives 64 bytes as a command.
    pub(crate) fn post_raw(&mut self, descriptor: &[u8; 64]) {
        let slot = u64::from(self.produced % SLOTS);
        self.memory.copy_in(self.commands.plus(slot * 64), descriptor);
        self.produced += 1;
        self.memory.write32(reg::COMMAND_PRODUCER.offset, self.produced);
    }

    /// Takes the next completion, if there is one.
    pub(crate) fn completion(&mut self) -> Option<Completion> {
        let slot = u64::from(self.completed % SLOTS);
        let at = self.completions.plus(slot * COMPLETION_BYTES as u64);
        let word = self.memory.load64(at.plus(PHASE_WORD as u64));
        if (word & PHASE_BIT != 0) != Completion::phase(self.completed, LOG2) {
            return None;
        }
        let mut bytes = [0; COMPLETION_BYTES];
        self.memory.copy_out(at, &mut bytes);
        self.completed += 1;
        self.memory.write32(reg::COMPLETION_CONSUMER.offset, self.completed);
        Some(Completion::decode(&bytes))
    }

    /// Lets the card work until it is idle.
    pub(crate) fn settle(&mut self) {
        self.card.step(self.now);
        self.now += 1_000_000;
        self.card.step(self.now);
    }

    /// Executes a command that is answered at once.
    pub(crate) fn command(&mut self, command: Command) -> Completion {
        self.post(command);
        self.settle();
        let completion = self.completion().expect("the command is answered");
        assert_eq!(completion.tag, u64::from(self.produced) + 999);
        completion
    }

    /// As [`Host::command`], and it succeeds.
    pub(crate) fn done(&mut self, command: Command) -> Completion {
        let completion = self.command(command);
        assert_eq!(completion.status, Status::Done as u16, "{command:?}");
        completion
    }

    /// Puts an operand where [`Host::image`] says.
    pub(crate) fn operand(&self, bytes: &[u8]) -> Operand {
        self.memory.copy_in(self.image, bytes);
        Operand::Dma(self.image.0)
    }

    pub(crate) fn add(&mut self, at: EntryRef, image: &EntryImage, holding: Holding) -> Completion {
        let image = self.operand(&image.encode());
        self.command(Command::Add { at, holding, image })
    }

    /// Takes the next frame of a queue.
    pub(crate) fn receive(&mut self, queue: usize) -> Option<Frame> {
        let slot = u64::from(self.received[queue] % SLOTS);
        let (ring, buffers) = self.receive[queue];
        let mut bytes = [0; RECEIVE_BYTES];
        self.memory.copy_out(ring.plus(slot * 64), &mut bytes);
        let meta = Receive::decode(&bytes);
        if meta.sequence != u64::from(self.received[queue]) + 1 {
            return None;
        }
        let mut frame = vec![0; meta.length as usize];
        self.memory.copy_out(buffers.plus(slot * u64::from(STRIDE)), &mut frame);
        self.received[queue] += 1;
        let index = u32::try_from(queue).unwrap();
        let base = reg::QUEUE_ARRAY + index * reg::QUEUE_STRIDE;
        self.memory.write32(base + reg::queue::RX_CONSUMER.offset, self.received[queue]);
        Some(Frame { meta, bytes: frame })
    }

    /// Takes all frames of all queues.
    pub(crate) fn receive_all(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for queue in 0..2 {
            frames.extend(std::iter::from_fn(|| self.receive(queue)));
        }
        frames
    }

    /// Gives a frame to a transmit ring.
    pub(crate) fn transmit(&mut self, queue: usize, port: u16, bytes: &[u8]) {
        let slot = u64::from(self.sent[queue] % SLOTS);
        let (ring, buffers) = self.transmit[queue];
        let address = buffers.plus(slot * u64::from(STRIDE));
        self.memory.copy_in(address, bytes);
        let length = u32::try_from(bytes.len()).unwrap();
        let descriptor = Transmit { address: address.0, length, port };
        self.memory.copy_in(ring.plus(slot * 32), &descriptor.encode());
        self.sent[queue] += 1;
        let index = u32::try_from(queue).unwrap();
        let base = reg::QUEUE_ARRAY + index * reg::QUEUE_STRIDE;
        self.memory.write32(base + reg::queue::TX_PRODUCER.offset, self.sent[queue]);
    }

    /// Reads a 64-bit port counter.
    pub(crate) fn port_counter(&self, port: u32, register: reg::Register) -> u64 {
        self.memory.read64(reg::PORT_ARRAY + port * reg::PORT_STRIDE + register.offset)
    }

    /// All frames that have left a port.
    pub(crate) fn left(&mut self, port: usize) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.card.port_out(port)).collect()
    }
}

/// An IPv4 UDP frame of 60 bytes to 10.0.0.`host`, its last byte `mark`.
pub(crate) fn frame(host: u8, mark: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 1, 1, 10, 0, 0, host]);
    bytes.extend([0x10, 0, 0x20, 0, 0, 26, 0, 0]);
    bytes.resize(59, 0);
    bytes.push(mark);
    bytes
}

/// The mask over in_port, Ethertype and IPv4 destination, and the value for [`frame`].
pub(crate) fn matching(port: u8, host: u8) -> (KeyBytes, KeyBytes) {
    let (mut mask, mut value) = ([0; 64], [0; 64]);
    mask[..4].fill(0xff);
    mask[52..56].fill(0xff);
    value[..4].copy_from_slice(&[0, port, 8, 0]);
    value[52..56].copy_from_slice(&[10, 0, 0, host]);
    (mask, value)
}

/// An entry for the ternary table that sends frames to 10.0.0.`host` from port number 1 to `outputs`.
pub(crate) fn entry(id: u32, host: u8, outputs: u64) -> EntryImage {
    let (mask, value) = matching(1, host);
    EntryImage {
        matching: value,
        mask,
        set: [0; 64],
        edit: EditImage { outputs, ..EditImage::default() },
        from: 0,
        until: FOREVER,
        id,
        counter: id,
    }
}

/// A place in the ternary table of profile tiny (two banks before it).
pub(crate) fn ternary(place: u32, id: u32) -> EntryRef {
    EntryRef { table: 2, place, id }
}
