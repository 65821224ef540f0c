//! A simulated card with its driver in one process, stepped by hand: frames in, frames out.

use std::collections::HashMap;
use std::sync::Arc;
use twinpath_abi::bus::Bus;
use twinpath_abi::command::{Command, EntryRef, Holding, Operand};
use twinpath_abi::entry::{ENTRY_BYTES, EntryImage};
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::{self, BAR_BYTES};
use twinpath_flow::card::{
    CounterSink, Done, Entry, EntryCounts, EntryId, Event, FlowOp, Found, Generation, OpTag,
    Reason, Refusal, RxMeta, Sweep, TableId,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic};
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_hw_sim::{Card, Profile};

/// Frames the card gave to the host for one frame that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Frames that left, in order per physical port, by ascending port.
    pub outputs: Vec<(PortNo, Vec<u8>)>,
    /// Frames that came to the host.
    pub host: Vec<(Reason, Vec<u8>)>,
}

/// Card, driver and the virtual clock.
pub struct BenchCard {
    card: Card<SharedMemory>,
    memory: SharedMemory,
    driver: Twin<SharedMemory>,
    queues: Vec<Box<dyn CardQueue>>,
    ports: Vec<PortNo>,
    now: Time,
    next: u32,
    done: HashMap<OpTag, Result<Done, Refusal>>,
    missing: Vec<EntryId>,
}

/// How an entry is written behind the driver's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planting {
    /// As a new one.
    New,
    /// Into the one that is there.
    Over,
}

/// Has no use for counters.
struct Nobody;

impl CounterSink for Nobody {
    fn begin(&mut self, _: Time, _: &Sweep) {}
    fn entry(&mut self, _: &EntryCounts) {}
}

impl std::fmt::Debug for BenchCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BenchCard").field("now", &self.now).finish_non_exhaustive()
    }
}

struct Host<'a>(&'a mut Vec<(Reason, Vec<u8>)>);

impl RxSink for Host<'_> {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut frame = vec![0; length];
        fill(&mut frame);
        self.0.push((meta.reason, frame));
    }
}

impl BenchCard {
    /// Brings a card of this profile up with these ports.
    ///
    /// # Panics
    /// When the card does not come up.
    #[must_use]
    pub fn new(mut profile: Profile, ports: &PortTable) -> Self {
        let numbers: Vec<PortNo> = ports.physical().map(|port| port.number).collect();
        profile.ports = u32::try_from(numbers.len().max(2)).expect("few ports");
        let settings = Settings::default();
        let arena = dma_bytes(&settings, ports, profile.capacity());
        let memory = SharedMemory::new(BAR_BYTES, arena, 64);
        let card = Card::new(profile, memory.clone());
        let driver = Twin::attach(Arc::new(memory.clone()), ports.clone(), settings, Time(0));
        let mut bench = Self {
            card,
            memory,
            driver,
            queues: Vec::new(),
            ports: numbers,
            now: Time(0),
            next: 0,
            done: HashMap::new(),
            missing: Vec::new(),
        };
        // Ends: the driver gives up by its own deadline of virtual time.
        while bench.queues.is_empty() {
            assert!(bench.now < Time::from_secs(10), "card did not come up: {:?}", bench.driver);
            bench.turn();
            bench.queues = bench.driver.take_queues();
        }
        bench
    }

    /// Lets 10 µs pass.
    fn turn(&mut self) {
        self.now.0 += 10_000;
        self.card.step(self.now.0);
        let mut events = Vec::new();
        self.driver.poll(self.now, &mut events);
        for event in events {
            match event {
                Event::Done { tag, result } => {
                    self.done.insert(tag, result);
                }
                Event::Dead(cause) => panic!("card died: {cause}"),
                Event::Missing { id } => self.missing.push(id),
                _ => {}
            }
        }
    }

    fn run(&mut self, op: &FlowOp) -> Result<Done, Refusal> {
        let tag = op.tag();
        assert_eq!(self.driver.submit(self.now, std::slice::from_ref(op)), 1, "back-pressure");
        let deadline = self.now.0 + 5_000_000_000;
        loop {
            if let Some(result) = self.done.remove(&tag) {
                return result;
            }
            assert!(self.now.0 < deadline, "no completion of {op:?}");
            self.turn();
        }
    }

    fn tag(&mut self) -> OpTag {
        self.next += 1;
        OpTag(u64::from(self.next))
    }

    /// Slots of a way (`None` for the ternary table) and places of each table.
    #[must_use]
    pub fn geometry(&self) -> Vec<(Option<u32>, u32)> {
        let profile = self.card.profile();
        let banks = profile.banks.iter().map(|bank| (Some(bank.slots), bank.places()));
        banks.chain([(None, profile.ternary)]).collect()
    }

    /// The ternary table: the last of the card's.
    #[must_use]
    pub fn ternary(&self) -> TableId {
        let tables = self.driver.capabilities().tables.len();
        TableId(u8::try_from(tables - 1).expect("at most 33 tables"))
    }

    /// Sets the mask of an exact table.
    ///
    /// # Errors
    /// What the card answered.
    pub fn set_mask(&mut self, table: TableId, mask: &MaskedKey) -> Result<(), Refusal> {
        let tag = self.tag();
        self.run(&FlowOp::SetMask { tag, table, mask: Box::new(mask.mask.head) }).map(drop)
    }

    /// Adds an entry and returns its identity.
    ///
    /// # Errors
    /// What the card answered.
    pub fn add(
        &mut self,
        table: TableId,
        matching: MaskedKey,
        edit: Edit,
        ttl_threshold: Option<u8>,
    ) -> Result<EntryId, Refusal> {
        let tag = self.tag();
        let id = EntryId(self.next);
        let edit = Arc::new(edit);
        let entry = Entry { id, table, matching, edit, ttl_threshold, from: Generation(0) };
        self.run(&FlowOp::Add { tag, entry: Box::new(entry), hold: false }).map(|_| id)
    }

    /// Executes a command through the window (`docs/nic-abi.md` §3.5), as a host without DMA does;
    /// the answer is in the window.
    fn window(&mut self, command: Command) {
        let descriptor = command.encode(0);
        for (at, word) in (0..).step_by(4).zip(descriptor.as_chunks::<4>().0) {
            self.memory.write32(register::WINDOW_COMMAND + at, u32::from_le_bytes(*word));
        }
        let submit = self.memory.read32(register::WINDOW_SUBMIT.offset).wrapping_add(1);
        self.memory.write32(register::WINDOW_SUBMIT.offset, submit);
        let deadline = self.now.0 + 1_000_000_000;
        while self.memory.read32(register::WINDOW_DONE.offset) != submit {
            assert!(self.now.0 < deadline, "the window does not answer");
            self.turn();
        }
    }

    fn window_bytes<const N: usize>(&self, at: u32) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, word) in (at..).step_by(4).zip(bytes.as_chunks_mut::<4>().0) {
            *word = self.memory.read32(at).to_le_bytes();
        }
        bytes
    }

    /// The image of the entry at a place, `None` when there is none.
    pub fn read_entry(&mut self, table: TableId, place: u32) -> Option<[u8; ENTRY_BYTES]> {
        let table = table.0;
        self.window(Command::ReadEntry { table, place, image: Operand::Window });
        let completion: [u8; 128] = self.window_bytes(register::WINDOW_COMPLETION);
        (completion[116..118] == [0, 0]).then(|| self.window_bytes(register::WINDOW_IMAGE))
    }

    /// Takes the entry at a place out behind the driver's back.
    pub fn lose(&mut self, table: TableId, place: u32, id: EntryId) {
        let at = EntryRef { table: table.0, place, id: id.0 };
        self.window(Command::Delete { at, until: None });
    }

    /// Writes an entry behind the driver's back: a new one, or into one that is there.
    pub fn plant(&mut self, table: TableId, place: u32, image: &EntryImage, how: Planting) {
        for (at, word) in
            (register::WINDOW_IMAGE..).step_by(4).zip(image.encode().as_chunks::<4>().0)
        {
            self.memory.write32(at, u32::from_le_bytes(*word));
        }
        let at = EntryRef { table: table.0, place, id: image.id };
        let image = Operand::Window;
        self.window(match how {
            Planting::New => Command::Add { at, holding: Holding::Direct, image },
            Planting::Over => Command::Modify { at, image },
        });
    }

    /// Reads every place back; what was not as written.
    ///
    /// # Panics
    /// When the driver refuses, or never comes to an end.
    pub fn inspect_all(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for _ in 0..1_000_000 {
            let tag = self.tag();
            let done = self.run(&FlowOp::Inspect { tag }).expect("the card can be read");
            let inspected = done.inspected.expect("an inspection says what it found");
            if inspected.found != Found::AsWritten {
                found.push(inspected.found);
            }
            if inspected.is_last {
                // What was purged is gone by then.
                self.turn();
                return found;
            }
        }
        panic!("no place is the last");
    }

    /// Sweeps the counters; entries that the card did not know.
    pub fn missing_in_sweep(&mut self) -> Vec<EntryId> {
        self.missing.clear();
        let mut swept = 0;
        while swept < 2 {
            let sweep = self.driver.sweep_counters(self.now, &mut Nobody);
            swept += u32::from(sweep.is_some());
            self.turn();
        }
        self.missing.sort_unstable();
        self.missing.dedup();
        std::mem::take(&mut self.missing)
    }

    /// Deletes an entry and returns its final counts.
    ///
    /// # Errors
    /// What the card answered.
    pub fn delete(&mut self, id: EntryId) -> Result<Counts, Refusal> {
        let tag = self.tag();
        let done = self.run(&FlowOp::Delete { tag, id, until: None })?;
        Ok(done.counts.expect("the twin card counts"))
    }

    /// One frame comes in; everything it causes in the card is returned.
    ///
    /// # Panics
    /// When the port is not one of the card's.
    pub fn receive(&mut self, port: PortNo, frame: &[u8]) -> Reaction {
        let index = self.ports.iter().position(|number| *number == port).expect("a physical port");
        self.card.port_in(index, frame, self.now.0);
        self.turn();
        let mut reaction = Reaction::default();
        for queue in &mut self.queues {
            queue.rx_burst(64, &mut Host(&mut reaction.host)).expect("the card writes no garbage");
        }
        for (index, number) in self.ports.iter().enumerate() {
            while let Some(frame) = self.card.port_out(index) {
                reaction.outputs.push((*number, frame));
            }
        }
        reaction
    }
}
