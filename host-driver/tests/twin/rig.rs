//! How a card is reached: what the suite needs of a transport and of the card's ports.

use std::sync::Arc;
use twinpath_abi::bus::Bus;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_hw_sim::{Card, Profile};

/// A card with its wires, and the host's end of its bus.
pub(crate) trait Rig {
    /// Host's end.
    type Bus: Bus + 'static;
    /// A powered-up card of that profile, with `arena` bytes of DMA memory.
    fn new(profile: Profile, arena: usize) -> Self;
    /// Host's end.
    fn bus(&self) -> Arc<Self::Bus>;
    /// A frame arrives on a port.
    fn port_in(&mut self, port: usize, frame: &[u8], now: u64);
    /// Lets the card work until `now`.
    fn step(&mut self, now: u64);
    /// A frame that has left a port.
    fn port_out(&mut self, port: usize) -> Option<Vec<u8>>;
    /// Resets the function behind the driver's back.
    fn function_reset(&mut self);
}

/// The simulated card in this process.
pub(crate) struct InProcess {
    bus: Arc<SharedMemory>,
    card: Card<SharedMemory>,
}

impl InProcess {
    /// The card itself, to make it fail.
    pub(crate) const fn card(&mut self) -> &mut Card<SharedMemory> {
        &mut self.card
    }
}

impl Rig for InProcess {
    type Bus = SharedMemory;

    fn new(profile: Profile, arena: usize) -> Self {
        let vectors = u16::try_from(1 + profile.queues).unwrap();
        let memory = SharedMemory::new(BAR_BYTES, arena, vectors);
        Self { bus: Arc::new(memory.clone()), card: Card::new(profile, memory) }
    }
    fn bus(&self) -> Arc<SharedMemory> {
        Arc::clone(&self.bus)
    }
    fn port_in(&mut self, port: usize, frame: &[u8], now: u64) {
        self.card.port_in(port, frame, now);
    }
    fn step(&mut self, now: u64) {
        self.card.step(now);
    }
    fn port_out(&mut self, port: usize) -> Option<Vec<u8>> {
        self.card.port_out(port)
    }
    fn function_reset(&mut self) {
        self.card.function_reset();
    }
}
