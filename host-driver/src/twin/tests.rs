//! The driver against a card of few lines: life cycle, operations, and a card that lies.

mod fake;
mod garbage;
mod life;
mod operations;
mod packets;

use super::{Settings, Twin};
use crate::nic::SmartNic;
use fake::Fake;
use std::sync::Arc;
use twinpath_abi::memory::SharedMemory;
use twinpath_flow::card::{
    CounterSink, Done, Entry, EntryCounts, EntryId, Event, FlowOp, Generation, OpTag, Refusal,
    Sweep, TableId,
};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::time::Time;

/// The driver and its card, in one clock.
struct Rig {
    card: Fake,
    twin: Twin<SharedMemory>,
    now: Time,
    tag: u64,
    events: Vec<Event>,
}

fn ports() -> PortTable {
    let port = |number: u16| Port { mtu_in: 1_500, ..Port::physical(number) };
    PortTable::new(vec![port(4), port(9)]).unwrap()
}

fn settings() -> Settings {
    Settings {
        queues: 2,
        command_log2: 6,
        receive_log2: 4,
        transmit_log2: 4,
        ..Settings::default()
    }
}

impl Rig {
    /// A driver that has just begun bring-up.
    fn cold() -> Self {
        let card = Fake::new();
        let twin = Twin::attach(Arc::clone(&card.memory), ports(), settings(), Time(0));
        Self { card, twin, now: Time(0), tag: 0, events: Vec::new() }
    }

    /// A card that is up, with the events of bring-up taken.
    fn up() -> Self {
        let mut rig = Self::cold();
        rig.run(10);
        assert!(rig.events.iter().any(|event| matches!(event, Event::Up(_))), "{:?}", rig.events);
        rig.events.clear();
        rig
    }

    /// Lets card and driver work for so many milliseconds.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.now = Time(self.now.0 + 1_000_000);
            self.card.step(self.now.0);
            self.twin.poll(self.now, &mut self.events);
        }
    }

    fn submit(&mut self, op: FlowOp) -> OpTag {
        let tag = op.tag();
        assert_eq!(self.twin.submit(self.now, &[op]), 1);
        tag
    }

    /// Submits one operation and returns how it ended.
    fn operate(&mut self, op: FlowOp) -> Result<Done, Refusal> {
        let tag = self.submit(op);
        self.run(1);
        self.result(tag).expect("the card answers within a step")
    }

    /// The outcome of an operation, once; other events stay.
    fn result(&mut self, wanted: OpTag) -> Option<Result<Done, Refusal>> {
        let of = |event: &Event| matches!(event, Event::Done { tag, .. } if *tag == wanted);
        let index = self.events.iter().position(of)?;
        match self.events.remove(index) {
            Event::Done { result, .. } => Some(result),
            _ => None,
        }
    }

    fn tag(&mut self) -> OpTag {
        self.tag += 1;
        OpTag(self.tag)
    }

    fn set_mask(&mut self, table: u8, mask: Line) -> Result<Done, Refusal> {
        let tag = self.tag();
        self.operate(FlowOp::SetMask { tag, table: TableId(table), mask: Box::new(mask) })
    }

    fn add(&mut self, entry: Entry, hold: bool) -> OpTag {
        let tag = self.tag();
        self.submit(FlowOp::Add { tag, entry: Box::new(entry), hold })
    }

    fn delete(&mut self, id: u32, until: Option<u32>) -> OpTag {
        let tag = self.tag();
        self.submit(FlowOp::Delete { tag, id: EntryId(id), until: until.map(Generation) })
    }

    fn commit(&mut self, generation: u32) -> OpTag {
        let tag = self.tag();
        self.submit(FlowOp::Commit { tag, generation: Generation(generation) })
    }
}

/// The mask of the tests' exact bank: IPv4 destination.
fn mask() -> Line {
    Key::ZERO.with(Field::IpDst, 0xffff_ffff).head
}

fn key(address: u32) -> Key {
    Key::ZERO.with(Field::IpDst, u128::from(address))
}

fn entry(table: u8, id: u32, address: u32) -> Entry {
    Entry {
        id: EntryId(id),
        table: TableId(table),
        matching: MaskedKey::new(&key(address), Key { head: mask(), tail: Line::ZERO }),
        edit: Arc::new(Edit { outputs: vec![PortNo(9)], ..Edit::default() }),
        ttl_threshold: None,
        from: Generation(0),
    }
}

#[derive(Default)]
struct Seen(Vec<EntryCounts>);

impl CounterSink for Seen {
    fn begin(&mut self, _: Time, _: &Sweep) {}

    fn entry(&mut self, counts: &EntryCounts) {
        self.0.push(*counts);
    }
}
