//! The driver of the twin card over memory that lies: at any read of a register or of DMA memory,
//! something else may stand there. Every operation taken ends once, every wait ends, and after a
//! reset an honest card works again.

mod lies;

use crate::script::Script;
use lies::LyingBus;
use std::collections::HashSet;
use std::sync::Arc;
use twinpath_abi::capability::Bank;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_flow::card::{
    CounterSink, Entry, EntryCounts, EntryId, Event, FlowOp, Generation, Health, OpTag, RxMeta,
    Sweep, TableId,
};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic as _, TxFrame};
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_hw_sim::{Card, Profile};

/// Steps of one input at most.
const STEPS_MAX: usize = 200;
/// One step of the clock.
const STEP_NS: u64 = 100_000;
/// Longest frame of the ports.
const MTU: u16 = 1_518;

fn profile() -> Profile {
    let mut profile = Profile::named("tiny").expect("a known profile");
    (profile.ports, profile.queues) = (2, 2);
    profile.banks = vec![Bank { slots: 16, stash: 2 }];
    profile.ternary = 8;
    profile
}

fn ports() -> PortTable {
    let port = |number: u16| Port { mtu_in: MTU, ..Port::physical(number) };
    PortTable::new(vec![port(1), port(2)]).expect("two ports")
}

struct Nobody;

impl CounterSink for Nobody {
    fn begin(&mut self, _: Time, _: &Sweep) {}
    fn entry(&mut self, _: &EntryCounts) {}
}

impl RxSink for Nobody {
    fn frame(&mut self, _: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        assert!(length <= 9_216, "a frame of {length} bytes");
        fill(&mut vec![0; length]);
    }
}

struct World {
    bus: Arc<LyingBus>,
    card: Card<SharedMemory>,
    twin: Twin<LyingBus>,
    queues: Vec<Box<dyn CardQueue>>,
    now: Time,
    next: u32,
    pending: HashSet<OpTag>,
    is_up: bool,
}

/// Bytes: lies, then what driver, card and world do.
pub(super) fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(script.piece());
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        world.act(&mut script);
    }
    world.recover();
}

impl World {
    fn new(lies: &[u8]) -> Self {
        let settings = Settings {
            queues: 2,
            command_log2: 6,
            receive_log2: 4,
            transmit_log2: 4,
            ..Settings::default()
        };
        let arena = dma_bytes(&settings, &ports(), profile().capacity());
        let memory = SharedMemory::new(BAR_BYTES, arena, 3);
        let bus = Arc::new(LyingBus::new(memory.clone(), lies));
        let card = Card::new(profile(), memory);
        let twin = Twin::attach(Arc::clone(&bus), ports(), settings, Time(0));
        Self {
            bus,
            card,
            twin,
            queues: Vec::new(),
            now: Time(0),
            next: 0,
            pending: HashSet::new(),
            is_up: false,
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let value = u32::from(script.byte());
        match choice % 16 {
            0..=3 => self.turn(u64::from(value)),
            4 => self.submit(|tag| FlowOp::SetMask {
                tag,
                table: TableId(0),
                mask: Box::new(mask()),
            }),
            5 | 6 => self.add(value, choice % 16 == 6),
            7 => {
                let id = EntryId(value);
                let until = (choice & 16 != 0).then_some(Generation(value));
                self.submit(|tag| FlowOp::Delete { tag, id, until });
            }
            8 => self.submit(|tag| FlowOp::Release { tag, id: EntryId(value) }),
            9 => self.submit(|tag| FlowOp::Commit { tag, generation: Generation(value) }),
            10 => self.submit(|tag| FlowOp::Inspect { tag }),
            11 => {
                let frame = [value.to_le_bytes()[0]; 64];
                self.card.port_in(usize::from(choice & 16 != 0), &frame, self.now.0);
            }
            12 => self.burst(),
            13 => {
                let _ = self.twin.sweep_counters(self.now, &mut Nobody);
            }
            14 => self.bus.scribble(script.word32(), script.word64()),
            _ => {
                let _ = self.twin.reset(self.now);
            }
        }
    }

    /// Card and driver work for a while.
    fn turn(&mut self, steps: u64) {
        for _ in 0..=steps % 16 {
            self.now.0 += STEP_NS;
            self.card.step(self.now.0);
            self.poll();
        }
    }

    fn poll(&mut self) {
        let mut events = Vec::new();
        self.twin.poll(self.now, &mut events);
        for event in events {
            match event {
                Event::Done { tag, .. } => {
                    assert!(self.pending.remove(&tag), "{tag:?} ended twice, or never began");
                }
                Event::Up(_) => {
                    self.is_up = true;
                    self.queues = self.twin.take_queues();
                }
                Event::Dead(_) => self.is_up = false,
                _ => {}
            }
        }
    }

    fn submit(&mut self, op: impl FnOnce(OpTag) -> FlowOp) {
        self.next += 1;
        let tag = OpTag(self.next.into());
        let op = op(tag);
        if self.twin.submit(self.now, std::slice::from_ref(&op)) == 1 {
            self.pending.insert(tag);
        }
    }

    fn add(&mut self, value: u32, hold: bool) {
        let key = Key::ZERO.with(Field::IpDst, value.into());
        let entry = Entry {
            id: EntryId(value),
            table: TableId(u8::from(value >= 128)),
            matching: MaskedKey::new(&key, Key { head: mask(), tail: Line::ZERO }),
            edit: Arc::new(Edit { outputs: vec![PortNo(2)], ..Edit::default() }),
            ttl_threshold: None,
            from: Generation(0),
        };
        self.submit(|tag| FlowOp::Add { tag, entry: Box::new(entry), hold });
    }

    fn burst(&mut self) {
        for queue in &mut self.queues {
            let _ = queue.rx_burst(16, &mut Nobody);
            let data = [7; 60];
            let frames = [TxFrame { port: PortNo(1), data: &data }; 3];
            let sent = queue.tx_burst(&frames);
            assert!(sent <= frames.len());
        }
    }

    /// No more lies: a new card behind the same bus comes up and takes an entry.
    fn recover(&mut self) {
        self.bus.be_honest();
        self.queues.clear();
        self.card = Card::new(profile(), self.bus.vacated());
        let _ = self.twin.reset(self.now);
        self.is_up = false;
        for _ in 0..4 {
            for _ in 0..3_000 {
                self.turn(15);
                if self.is_up {
                    break;
                }
            }
            if self.is_up {
                break;
            }
            let _ = self.twin.reset(self.now);
        }
        let health = self.twin.health(self.now);
        assert!(
            self.is_up,
            "the card does not come up again: {health:?} {:?}",
            self.twin.failure()
        );
        assert!(matches!(health, Health::Good | Health::Bypass), "{health:?}");
        assert!(self.pending.is_empty(), "operations without an end: {:?}", self.pending);
        self.submit(|tag| FlowOp::SetMask { tag, table: TableId(0), mask: Box::new(mask()) });
        self.turn(15);
        self.add(5, false);
        self.turn(15);
        assert!(self.pending.is_empty(), "an honest card answers");
    }
}

fn mask() -> Line {
    Key::ZERO.with(Field::IpDst, 0xffff_ffff).head
}
