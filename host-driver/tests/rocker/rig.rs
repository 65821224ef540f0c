//! A driver that is up on a scripted device, and short words for what tests do with it.

use crate::model::Device;
use std::sync::Arc;
use twinpath_flow::card::{
    Done, Entry, EntryId, Event, FlowOp, Generation, OpTag, Refusal, RxMeta, TableId,
};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic};
use twinpath_host_driver::rocker::{Ipv4Header, RockerNic, Settings};

/// Number of the configured port at an index: not the device's, on purpose.
pub(crate) const PORTS: [u16; 3] = [10, 20, 30];

/// Frames with the ports they left by.
pub(crate) type Sent = Vec<(u16, Vec<u8>)>;

pub(crate) struct Rig {
    pub(crate) device: Arc<Device>,
    pub(crate) nic: RockerNic<Device>,
    pub(crate) queue: Box<dyn CardQueue>,
    pub(crate) now: Time,
    next_tag: u64,
}

pub(crate) fn physical(number: u16) -> Port {
    Port { mtu_in: 2000, ..Port::physical(number) }
}

pub(crate) fn ports() -> PortTable {
    PortTable::new(PORTS.map(physical).into()).unwrap()
}

pub(crate) fn trusting() -> Settings {
    Settings { rx_log2: 4, ipv4_header: Ipv4Header::Trusted, ..Settings::default() }
}

/// Polls until something ends bring-up.
pub(crate) fn bring_up(nic: &mut RockerNic<Device>, now: Time) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..4 {
        nic.poll(now, &mut events);
    }
    events
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(ports(), trusting())
    }

    /// A device with one port more than configured.
    pub(crate) fn with(ports: PortTable, settings: Settings) -> Self {
        let count = ports.physical().count() as u32 + 1;
        let device = Arc::new(Device::new(count));
        let mut nic = RockerNic::attach(Arc::clone(&device), ports, settings);
        let now = Time::from_secs(1);
        let events = bring_up(&mut nic, now);
        assert!(matches!(events[0], Event::Up(_)), "{events:?} {:?}", nic.failure());
        let queue = nic.take_queues().pop().unwrap();
        Self { device, nic, queue, now, next_tag: 1 }
    }

    pub(crate) fn poll(&mut self) -> Vec<Event> {
        self.now = Time(self.now.0 + 2_000_000);
        let mut events = Vec::new();
        self.nic.poll(self.now, &mut events);
        events
    }

    /// Has one operation carried out; its outcome.
    pub(crate) fn operate(&mut self, op: impl FnOnce(OpTag) -> FlowOp) -> Result<Done, Refusal> {
        let tag = OpTag(self.next_tag);
        self.next_tag += 1;
        assert_eq!(self.nic.submit(self.now, &[op(tag)]), 1);
        let events = self.poll();
        let done = events.iter().find_map(|event| match event {
            Event::Done { tag: found, result } if *found == tag => Some(result.clone()),
            _ => None,
        });
        done.unwrap_or_else(|| panic!("no completion in {events:?}"))
    }

    pub(crate) fn add(
        &mut self,
        id: u32,
        matching: MaskedKey,
        edit: Edit,
    ) -> Result<Done, Refusal> {
        let entry = Box::new(entry(id, matching, edit));
        self.operate(|tag| FlowOp::Add { tag, entry, hold: false })
    }

    pub(crate) fn delete(&mut self, id: u32) -> Result<Done, Refusal> {
        self.operate(|tag| FlowOp::Delete { tag, id: EntryId(id), until: None })
    }

    /// Takes what came to the host.
    pub(crate) fn received(&mut self) -> Sent {
        let mut sink = Sink(Vec::new());
        while self.queue.rx_burst(64, &mut sink).unwrap() > 0 {}
        sink.0.into_iter().map(|(meta, frame)| (meta.port.0, frame)).collect()
    }

    /// What a frame that arrives at a configured port becomes: (sent by ports, came to the host).
    pub(crate) fn pass(&mut self, port: u16, frame: &[u8]) -> (Sent, Vec<Vec<u8>>) {
        let index = PORTS.iter().position(|number| *number == port).unwrap();
        self.device.inject(index as u32 + 1, frame);
        let sent = self.device.sent().into_iter();
        let sent = sent.map(|(port, frame)| (PORTS[port as usize - 1], frame)).collect();
        let misses = self.received();
        assert!(misses.iter().all(|(from, _)| *from == port), "the ring tells the port");
        (sent, misses.into_iter().map(|(_, frame)| frame).collect())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.device.crash(), None, "QEMU would not have survived");
        }
    }
}

/// Keeps what a queue hands out.
pub(crate) struct Sink(pub(crate) Vec<(RxMeta, Vec<u8>)>);

impl RxSink for Sink {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut frame = vec![0; length];
        fill(&mut frame);
        self.0.push((meta, frame));
    }
}

pub(crate) fn entry(id: u32, matching: MaskedKey, edit: Edit) -> Entry {
    Entry {
        id: EntryId(id),
        table: TableId(0),
        matching,
        edit: Arc::new(edit),
        ttl_threshold: None,
        from: Generation(0),
    }
}

/// Packets of one port.
pub(crate) fn from(port: u16) -> MaskedKey {
    MaskedKey::default().and(Field::InPort, port.into())
}

/// One more whole field.
pub(crate) trait And {
    fn and(self, field: Field, value: u128) -> Self;
    fn and_bits(self, field: Field, value: u128, bits: u128) -> Self;
}

impl And for MaskedKey {
    fn and(self, field: Field, value: u128) -> Self {
        self.and_bits(field, value, field.full_mask())
    }

    fn and_bits(mut self, field: Field, value: u128, bits: u128) -> Self {
        self.constrain(field, value, bits);
        self
    }
}

/// Sends out of ports, unchanged.
pub(crate) fn to(ports: &[u16]) -> Edit {
    Edit { outputs: ports.iter().map(|port| PortNo(*port)).collect(), ..Edit::default() }
}

/// Writes whole fields as well.
pub(crate) fn set(mut edit: Edit, field: Field, value: u128) -> Edit {
    edit.set_value.set(field, value);
    edit.set_mask.set(field, field.full_mask());
    edit
}

/// A frame of 64 bytes: addresses 02:…:dst and 02:…:src, then tags and type as given.
pub(crate) fn frame(destination: u8, source: u8, link: &[u16], rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source];
    frame.extend(link.iter().flat_map(|word| word.to_be_bytes()));
    frame.extend(rest);
    let filler = (frame.len()..64).map(|at| at as u8).collect::<Vec<_>>();
    frame.extend(filler);
    frame
}

/// An IPv4 header without options that says `total` bytes.
pub(crate) fn ipv4(protocol: u8, tos: u8, total: u8) -> Vec<u8> {
    vec![0x45, tos, 0, total, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}
