//! What the card says it is, checked, and the memory the driver gives it.

use super::commands::RingMemory;
use super::encode::settable;
use super::notes::NOTES_BYTES;
use super::placement::Shape;
use super::queue::QueueMemory;
use super::settings::Settings;
use twinpath_abi::bus::{AllocError, Bus};
use twinpath_abi::capability::{CAPABILITY_BYTES, Capability, CapabilityError, action};
use twinpath_abi::command::COMMAND_BYTES;
use twinpath_abi::completion::COMPLETION_BYTES;
use twinpath_abi::entry::{ENTRY_BYTES, POPS_MAX, PUSHES_MAX};
use twinpath_abi::hash::WAYS;
use twinpath_abi::receive::RECEIVE_BYTES;
use twinpath_abi::register;
use twinpath_abi::sweep::RECORD_BYTES;
use twinpath_abi::transmit::TRANSMIT_BYTES;
use twinpath_flow::card::{ActionCaps, Capabilities, TableCaps, TableKind};
use twinpath_flow::field::FIELDS;
use twinpath_flow::key::Key;
use twinpath_flow::port::PortTable;

/// Bytes that software may add to a received frame before it is sent: a tunnel's headers.
const HEADROOM: u32 = 1024;

/// Bytes of a frame buffer at most (`docs/nic-abi.md` §3.7, §12.1).
const BUFFER_MAX: u32 = 65_472;

/// Reads and checks the capability block.
///
/// # Errors
/// [`CapabilityError`] when it is not credible.
pub(crate) fn read(bus: &impl Bus) -> Result<Capability, CapabilityError> {
    let mut bytes = [0; CAPABILITY_BYTES];
    for (offset, word) in (register::CAPABILITY..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
        word.copy_from_slice(&bus.read32(offset).to_le_bytes());
    }
    Capability::decode(&bytes)
}

/// The shapes of the exact banks.
pub(crate) fn shapes(card: &Capability) -> Vec<Shape> {
    let ways = u32::try_from(WAYS).expect("a few");
    card.banks.iter().map(|bank| Shape { ways, rows: bank.slots, stash: bank.stash }).collect()
}

/// Entries the card can hold: each needs a place and a counter.
pub(crate) fn capacity(card: &Capability) -> u32 {
    let places: u64 = shapes(card).iter().map(|shape| u64::from(shape.slots())).sum();
    let places = places + u64::from(card.ternary);
    u32::try_from(places).unwrap_or(u32::MAX).min(card.counters)
}

/// The card's capabilities in the host's words.
#[must_use]
pub fn capabilities(card: &Capability, queues: u16) -> Capabilities {
    let mut all = Key::ZERO;
    for spec in FIELDS.iter().filter(|spec| spec.field.in_line_1()) {
        all.set(spec.field, spec.field.full_mask());
    }
    let table = |name: String, kind, places: u32| TableCaps {
        name,
        kind,
        capacity: places.min(card.counters),
        fields: all.head,
    };
    let mut tables: Vec<_> = (0..)
        .zip(shapes(card))
        .map(|(index, shape)| table(format!("bank {index}"), TableKind::Exact, shape.slots()))
        .collect();
    if card.ternary > 0 {
        tables.push(table("ternary".to_owned(), TableKind::Ternary, card.ternary));
    }
    let small = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Capabilities {
        card: "twin".to_owned(),
        ports: small(card.ports),
        tables,
        actions: actions(card),
        counters: true,
        counter_staleness_ns: card.counter_staleness_ns,
        generations: true,
        hold_frames: if card.hold_entries == 0 { 0 } else { small(card.hold_frames) },
        queues,
        mirror: card.actions & action::MIRROR != 0,
        read_back: true,
    }
}

fn actions(card: &Capability) -> ActionCaps {
    let can = |bit: u32| card.actions & bit != 0;
    let count = |bit: u32, value: u8| if can(bit) { value } else { 0 };
    let (mut set, mut bit_fields) = settable();
    if !can(action::TOS) {
        set.retain(|field| !bit_fields.contains(field));
        bit_fields.clear();
    }
    if !can(action::SET) {
        set.retain(|field| bit_fields.contains(field));
    }
    let ports = u16::try_from(card.ports).unwrap_or(u16::MAX);
    ActionCaps {
        set,
        bit_fields,
        ttl_decrements: count(action::TTL, u8::try_from(card.ttl_decrements).unwrap_or(u8::MAX)),
        pops: count(action::POP, POPS_MAX),
        pushes: count(action::PUSH, u8::try_from(PUSHES_MAX).expect("a few")),
        tci: can(action::TCI),
        hairpin: true,
        outputs: if can(action::MULTI) { ports } else { 1 },
        tunnel_outputs: u16::from(count(action::TUNNEL, u8::from(card.tunnels > 0))),
    }
}

/// DMA memory of all rings.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// What the driver notes for its successor.
    pub notes: twinpath_abi::bus::Iova,
    /// Command and completion ring.
    pub rings: RingMemory,
    /// Counter records of a sweep.
    pub records: twinpath_abi::bus::Iova,
    /// How many of them.
    pub entries: u32,
    /// Queue pairs.
    pub queues: Vec<QueueMemory>,
}

impl Memory {
    /// Allocates for a card; ring sizes are those wanted, or the card's limits if lower.
    ///
    /// # Errors
    /// [`AllocError`] when the arena is too small.
    pub(crate) fn new(
        bus: &impl Bus,
        card: &Capability,
        settings: &Settings,
        ports: &PortTable,
    ) -> Result<Self, AllocError> {
        let [commands, completions, receive, transmit] = card.ring_log2_max;
        let log2 = settings.command_log2.clamp(6, 15).min(commands);
        // The card fetches no command without a slot for its answer, so any size will do; twice
        // the commands lets it work ahead of the host.
        let completion_log2 = (log2 + 1).min(completions);
        let take = |bytes: usize, log2: u32| bus.alloc(bytes << log2);
        let notes = bus.alloc(NOTES_BYTES)?;
        let rings = RingMemory {
            commands: take(COMMAND_BYTES, log2)?,
            completions: take(COMPLETION_BYTES, completion_log2)?,
            images: take(ENTRY_BYTES, log2)?,
            log2,
            completion_log2,
        };
        let entries = capacity(card).max(1);
        let records = bus.alloc(entries as usize * RECORD_BYTES)?;
        let rx_log2 = settings.receive_log2.clamp(4, 15).min(receive);
        let tx_log2 = settings.transmit_log2.clamp(4, 15).min(transmit);
        let (rx_stride, tx_stride) = strides(ports);
        let mut queues = Vec::new();
        for _ in 0..queues_of(card, settings) {
            queues.push(QueueMemory {
                rx_base: take(RECEIVE_BYTES, rx_log2)?,
                rx_buffers: take(rx_stride as usize, rx_log2)?,
                rx_log2,
                rx_stride,
                tx_base: take(TRANSMIT_BYTES, tx_log2)?,
                tx_buffers: take(tx_stride as usize, tx_log2)?,
                tx_log2,
                tx_stride,
            });
        }
        Ok(Self { notes, rings, records, entries, queues })
    }

    /// As much of it as a card needs that is not the one it was made for, if it is enough.
    pub(crate) fn part_for(&self, card: &Capability, settings: &Settings) -> Option<Self> {
        let [commands, completions, receive, transmit] = card.ring_log2_max;
        let queues = usize::from(queues_of(card, settings));
        let entries = capacity(card).max(1);
        let fits = self.rings.log2 <= commands
            && self.rings.completion_log2 <= completions
            && self
                .queues
                .iter()
                .all(|queue| queue.rx_log2 <= receive && queue.tx_log2 <= transmit)
            && queues <= self.queues.len()
            && entries <= self.entries;
        let queues = self.queues.get(..queues)?.to_vec();
        fits.then(|| Self { entries, queues, ..self.clone() })
    }
}

/// Queue pairs used: as many as wanted, if the card has them.
pub(crate) fn queues_of(card: &Capability, settings: &Settings) -> u16 {
    u16::try_from(card.queues).unwrap_or(u16::MAX).min(settings.queues.max(1))
}

/// Bytes of receive and transmit buffers.
fn strides(ports: &PortTable) -> (u32, u32) {
    let longest = ports.iter().map(|port| u32::from(port.mtu_in)).max().unwrap_or(0).max(256);
    let round = |bytes: u32| bytes.next_multiple_of(64).min(BUFFER_MAX);
    (round(longest), round(longest + HEADROOM))
}

/// DMA bytes that suffice for a driver with these settings and ports on a card with so many
/// counters and places.
#[must_use]
pub fn dma_bytes(settings: &Settings, ports: &PortTable, entries: u32) -> usize {
    const PAGE: usize = 4096;
    let (rx_stride, tx_stride) = strides(ports);
    let page = |bytes: usize| bytes.next_multiple_of(PAGE);
    let rings = page(COMMAND_BYTES << settings.command_log2)
        + page(COMPLETION_BYTES << (settings.command_log2 + 1))
        + page(ENTRY_BYTES << settings.command_log2);
    let queue = page(RECEIVE_BYTES << settings.receive_log2)
        + page((rx_stride as usize) << settings.receive_log2)
        + page(TRANSMIT_BYTES << settings.transmit_log2)
        + page((tx_stride as usize) << settings.transmit_log2);
    NOTES_BYTES
        + rings
        + page(entries.max(1) as usize * RECORD_BYTES)
        + queue * usize::from(settings.queues.max(1))
}
