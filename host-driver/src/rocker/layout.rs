//! DMA memory: one allocation, cut up once and kept over resets.

use super::command::BUFFER_BYTES;
use super::control::{self, ControlMemory};
use super::event::{self, EventMemory};
use super::io::RockerIo;
use super::notes::{self, Notes};
use super::queue::{PortMemory, QueueMemory, TX_BURST, TX_RING};
use super::settings::Settings;
use twinpath_abi::bus::{AllocError, Iova};
use twinpath_flow::port::PortTable;

/// Bytes kept for the TLVs of one received or sent frame.
pub(crate) const TLV_BYTES: u16 = 128;
/// Everything starts at a multiple of this.
const ALIGNMENT: usize = 64;
/// Room for two tags on top of the longest frame of a port: the device's own, and one that
/// software pushed.
const TAGS: usize = 8;

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Command ring.
    pub control: ControlMemory,
    /// Event ring.
    pub event: EventMemory,
    /// Packet rings.
    pub queue: QueueMemory,
    /// Where the self-test works.
    pub scratch: Iova,
    /// What is noted for a driver to come.
    pub notes: Notes,
}

/// Bytes of the DMA self-test.
pub(crate) const SCRATCH_BYTES: u16 = 4096;

/// Bytes of DMA memory that [`super::RockerNic::attach`] takes.
#[must_use]
pub fn dma_bytes(settings: &Settings, ports: &PortTable) -> usize {
    let mut cutter = Cutter::default();
    cut(&mut cutter, settings, ports);
    cutter.used
}

impl Memory {
    /// Allocates all of it.
    ///
    /// # Errors
    /// [`AllocError`].
    pub(crate) fn allocate(
        io: &impl RockerIo,
        settings: &Settings,
        ports: &PortTable,
    ) -> Result<Self, AllocError> {
        let base = io.alloc(dma_bytes(settings, ports))?;
        Ok(cut(&mut Cutter { base, used: 0 }, settings, ports))
    }
}

/// Cuts pieces off one allocation.
#[derive(Debug, Default)]
struct Cutter {
    base: Iova,
    used: usize,
}

impl Cutter {
    fn take(&mut self, bytes: usize) -> Iova {
        let at = self.base.plus(self.used as u64);
        self.used += bytes.next_multiple_of(ALIGNMENT);
        at
    }
}

fn cut(cutter: &mut Cutter, settings: &Settings, ports: &PortTable) -> Memory {
    let longest = ports.physical().map(|port| usize::from(port.mtu_in)).max().unwrap_or(0);
    let stride = (longest + TAGS).next_multiple_of(ALIGNMENT);
    // Lengths are 16-bit numbers.
    let frame_bytes = u16::try_from(stride).unwrap_or(u16::MAX);
    let slot = usize::from(TLV_BYTES) + stride;
    let rx = settings.rx_ring();
    let scratch = cutter.take(usize::from(SCRATCH_BYTES));
    let control = ControlMemory {
        base: cutter.take(control::RING.bytes()),
        buffer: cutter.take(usize::from(BUFFER_BYTES)),
    };
    let event = EventMemory {
        base: cutter.take(event::RING.bytes()),
        buffers: cutter.take(event::RING.entries() as usize * usize::from(event::BUFFER_BYTES)),
    };
    let port = |cutter: &mut Cutter| PortMemory {
        rx_base: cutter.take(rx.bytes()),
        rx_slots: cutter.take(rx.entries() as usize * slot),
        tx_base: cutter.take(TX_RING.bytes()),
    };
    let queue = QueueMemory {
        ports: ports.physical().map(|_| port(cutter)).collect(),
        rx,
        tx_slots: cutter.take(TX_BURST as usize * slot),
        slot_bytes: slot as u64,
        frame_bytes,
    };
    let notes = Notes::new(cutter.take(notes::bytes(settings.entries_max)), settings.entries_max);
    Memory { control, event, queue, scratch, notes }
}
