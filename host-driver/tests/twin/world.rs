//! Card, driver, queues and a clock, and the short words the suite speaks in.

use crate::rig::Rig;
use std::sync::Arc;
use twinpath_abi::capability::Bank;
use twinpath_flow::card::{
    CounterSink, Done, Entry, EntryCounts, EntryId, Event, FlowOp, Generation, OpTag, Refusal,
    RxMeta, Sweep, TableId,
};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic, TxFrame};
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_hw_sim::Profile;

/// Port numbers of the card's ports 0 to 3.
pub(crate) const PORTS: [u16; 4] = [1, 2, 30, 31];
/// One step of the clock.
pub(crate) const STEP_NS: u64 = 10_000;

/// Frames a receive burst brought.
#[derive(Default)]
pub(crate) struct Frames(pub Vec<(RxMeta, Vec<u8>)>);

impl RxSink for Frames {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        self.0.push((meta, bytes));
    }
}

/// Entries a sweep reported.
#[derive(Default)]
pub(crate) struct Counted(pub Vec<EntryCounts>);

impl CounterSink for Counted {
    fn begin(&mut self, _: Time, _: &Sweep) {}

    fn entry(&mut self, counts: &EntryCounts) {
        self.0.push(*counts);
    }
}

/// Everything.
pub(crate) struct World<R: Rig> {
    pub rig: R,
    pub twin: Twin<R::Bus>,
    pub queues: Vec<Box<dyn CardQueue>>,
    pub now: Time,
    pub events: Vec<Event>,
    pub settings: Settings,
    pub arena: usize,
    tag: u64,
}

/// A small card: one bank of so many slots a way, a ternary table of 8.
pub(crate) fn profile(slots: u32, stash: u32) -> Profile {
    let mut profile = Profile::named("tiny").unwrap();
    profile.ports = 4;
    profile.queues = 2;
    profile.banks = vec![Bank { slots, stash }];
    profile.ternary = 8;
    profile.hold_frames = 16;
    profile.hold_entries = 4;
    profile
}

pub(crate) fn ports() -> PortTable {
    let port = |number: &u16| Port { mtu_in: 1_518, ..Port::physical(*number) };
    PortTable::new(PORTS.iter().map(port).collect()).unwrap()
}

impl<R: Rig> World<R> {
    /// A card that is up, its bank keyed by IPv4 destination.
    pub(crate) fn new(profile: Profile) -> Self {
        let settings = Settings {
            queues: 2,
            command_log2: 8,
            receive_log2: 7,
            transmit_log2: 6,
            ..Settings::default()
        };
        let arena = dma_bytes(&settings, &ports(), profile.capacity());
        let rig = R::new(profile, arena);
        let twin = Twin::attach(rig.bus(), ports(), settings, Time(0));
        let (queues, events) = (Vec::new(), Vec::new());
        let now = Time(0);
        let mut world = Self { rig, twin, queues, now, events, settings, arena, tag: 0 };
        world.come_up();
        world
    }

    /// Waits for the card, takes its queues and sets the mask of its bank.
    pub(crate) fn come_up(&mut self) {
        for _ in 0..1_000 {
            self.run(1);
            if self.events.iter().any(|event| matches!(event, Event::Up(_))) {
                break;
            }
        }
        self.queues = self.twin.take_queues();
        assert_eq!(self.queues.len(), 2, "{:?} {:?}", self.events, self.twin.failure());
        self.events.clear();
        self.set_mask();
    }

    /// Sets the mask of the bank.
    pub(crate) fn set_mask(&mut self) {
        let tag = self.tag();
        let mask = Key::ZERO.with(Field::IpDst, 0xffff_ffff).head;
        self.operate(FlowOp::SetMask { tag, table: TableId(0), mask: Box::new(mask) }).unwrap();
    }

    /// Lets card and driver work for so many steps of the clock.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.now = Time(self.now.0 + STEP_NS);
            self.rig.step(self.now.0);
            self.twin.poll(self.now, &mut self.events);
        }
    }

    pub(crate) fn tag(&mut self) -> OpTag {
        self.tag += 1;
        OpTag(self.tag)
    }

    /// Submits one operation, waiting out back-pressure.
    pub(crate) fn submit(&mut self, op: FlowOp) -> OpTag {
        for _ in 0..1_000 {
            if self.twin.submit(self.now, std::slice::from_ref(&op)) == 1 {
                return op.tag();
            }
            self.run(1);
        }
        panic!("{op:?} was not taken: {:?}", self.events);
    }

    /// Submits one operation and waits for its end.
    pub(crate) fn operate(&mut self, op: FlowOp) -> Result<Done, Refusal> {
        let tag = self.submit(op);
        self.finish(tag)
    }

    /// Waits for the end of an operation.
    pub(crate) fn finish(&mut self, wanted: OpTag) -> Result<Done, Refusal> {
        for _ in 0..10_000 {
            if let Some(result) = self.result(wanted) {
                return result;
            }
            self.run(1);
        }
        panic!("operation {wanted:?} never ended: {:?}", self.events);
    }

    /// The end of an operation, if it has come; other events stay.
    pub(crate) fn result(&mut self, wanted: OpTag) -> Option<Result<Done, Refusal>> {
        let of = |event: &Event| matches!(event, Event::Done { tag, .. } if *tag == wanted);
        let index = self.events.iter().position(of)?;
        match self.events.swap_remove(index) {
            Event::Done { result, .. } => Some(result),
            _ => None,
        }
    }

    pub(crate) fn add(&mut self, entry: Entry) -> Result<Done, Refusal> {
        let tag = self.tag();
        self.operate(FlowOp::Add { tag, entry: Box::new(entry), hold: false })
    }

    pub(crate) fn hold(&mut self, entry: Entry) -> Result<Done, Refusal> {
        let tag = self.tag();
        self.operate(FlowOp::Add { tag, entry: Box::new(entry), hold: true })
    }

    pub(crate) fn delete(&mut self, id: u32) -> Result<Done, Refusal> {
        let tag = self.tag();
        self.operate(FlowOp::Delete { tag, id: EntryId(id), until: None })
    }

    pub(crate) fn commit(&mut self, generation: u32) -> Result<Done, Refusal> {
        let tag = self.tag();
        self.operate(FlowOp::Commit { tag, generation: Generation(generation) })
    }

    /// A frame arrives on a port, and the card has time for it.
    pub(crate) fn send(&mut self, port: usize, frame: &[u8]) {
        self.rig.port_in(port, frame, self.now.0);
        self.run(1);
    }

    /// All frames that have left a port.
    pub(crate) fn out(&mut self, port: usize) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.rig.port_out(port)).collect()
    }

    /// All frames that came to the host, queue by queue.
    pub(crate) fn received(&mut self) -> Vec<(RxMeta, Vec<u8>)> {
        let mut frames = Frames::default();
        for queue in &mut self.queues {
            while queue.rx_burst(32, &mut frames).unwrap() > 0 {}
        }
        frames.0
    }

    /// Sends a frame from the host.
    pub(crate) fn inject(&mut self, queue: usize, port: u16, frame: &[u8]) {
        let frames = [TxFrame { port: PortNo(port), data: frame }];
        assert_eq!(self.queues[queue].tx_burst(&frames), 1);
    }

    /// The next sweep.
    pub(crate) fn sweep(&mut self) -> (Sweep, Vec<EntryCounts>) {
        // The first call may report a sweep asked for long ago.
        let mut counted = Counted::default();
        self.twin.sweep_counters(self.now, &mut counted);
        for _ in 0..1_000 {
            self.run(1);
            counted.0.clear();
            if let Some(sweep) = self.twin.sweep_counters(self.now, &mut counted) {
                return (sweep, counted.0);
            }
        }
        panic!("no sweep came");
    }
}

/// A UDP frame to `target`, marked with `number` in its last bytes.
pub(crate) fn udp(target: u32, number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 8, 7]);
    frame.extend(target.to_be_bytes());
    let sum = frame[14..34].as_chunks::<2>().0.iter();
    let sum: u32 = sum.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16));
    frame[24..26].copy_from_slice(&sum.to_be_bytes()[2..]);
    frame.extend([0x04, 0, 0x00, 53, 0, 30, 0, 0]);
    frame.resize(60, 0);
    frame.extend(number.to_be_bytes());
    frame
}

/// The mark of [`udp`].
pub(crate) fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.last_chunk().unwrap())
}

/// An entry of the bank for `target`, to port number 2.
pub(crate) fn entry(id: u32, target: u32) -> Entry {
    entry_to(id, target, &[2])
}

/// An entry of the bank for `target`, to these port numbers.
pub(crate) fn entry_to(id: u32, target: u32, outputs: &[u16]) -> Entry {
    let mut matching = MaskedKey::default();
    matching.constrain(Field::IpDst, u128::from(target), 0xffff_ffff);
    let outputs = outputs.iter().map(|port| PortNo(*port)).collect();
    Entry {
        id: EntryId(id),
        table: TableId(0),
        matching,
        edit: Arc::new(Edit { outputs, ..Edit::default() }),
        ttl_threshold: None,
        from: Generation(0),
    }
}

/// An edit that sets the Ethernet destination and sends to a port number.
pub(crate) fn to_mac(mac: u64, port: u16) -> Edit {
    let mut edit = Edit { outputs: vec![PortNo(port)], ..Edit::default() };
    edit.set_value.set(Field::EthDst, u128::from(mac));
    edit.set_mask.set(Field::EthDst, Field::EthDst.full_mask());
    edit
}
