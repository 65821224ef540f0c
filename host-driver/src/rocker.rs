//! Driver of QEMU's `rocker` switch (PCI 1b36:0006), a device nobody here wrote.
//!
//! It forwards in an OF-DPA pipeline; of its tables the driver uses two (see `rule`): VLAN to let
//! every frame in, and ACL, which holds entries, guards, and last the way to the host for what no
//! entry takes. `translate` makes device flows of entries and refuses whatever the device would do
//! differently; `capabilities` declares what it really compares and writes.
//!
//! Commands are carried out within the doorbell's store, so `submit` has its answers at once and
//! `poll` reports them. What crashes QEMU cannot be expressed: ports come from `PortMap`, flood
//! groups count their own list, VLAN rules have a mask, `FLOW_MOD` does not exist, tables are
//! named by variant, messages never exceed their buffers.
//!
//! Where the device differs from software, and nothing can be done about it from here: a frame
//! tagged with exactly VLAN 4095 and priority 0 is lost in the device (`vlan`); a frame longer than
//! its port's `mtu_in` is forwarded when an entry takes it.

mod adopt;
mod attribute;
mod bring_up;
mod capabilities;
mod command;
mod control;
mod event;
mod function;
mod group;
mod groups;
mod io;
mod layout;
mod notes;
mod operation;
mod port;
mod queue;
mod register;
mod ring;
mod roster;
mod rule;
mod settings;
mod tlv;
mod translate;
mod vlan;

pub use adopt::Unadoptable;
pub use bring_up::BringUpError;
pub use capabilities::capabilities;
pub use io::RockerIo;
pub use layout::dma_bytes;
pub use port::TooManyPorts;
pub use settings::{Ipv4Header, Settings};

use crate::nic::{CardQueue, ResetError, SmartNic};
use adopt::Estate;
use bring_up::{ALL_ONES, Phase};
use control::Control;
use event::Events;
use queue::{Queue, Shared};
use roster::Roster;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use translate::Translator;
use twinpath_flow::card::{
    Capabilities, CounterSink, DeathCause, Entry, EntryId, Epoch, Event, FlowOp, Health,
    Inheritance, Sweep,
};
use twinpath_flow::port::PortTable;
use twinpath_flow::time::Time;

/// How often the device's registers are looked at when nothing is told.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Answers kept for `poll` at most; `submit` takes no more operations then.
const EVENTS_MAX: usize = 4096;

/// What exists only while the device is set up.
#[derive(Debug)]
struct Active<I> {
    control: Control,
    events: Events,
    roster: Roster,
    translator: Translator,
    shared: Arc<Shared>,
    queue: Option<Queue<I>>,
    /// Link register at the last look.
    links: u64,
    /// Time of the last look.
    looked: Time,
    /// The device has lost its state, and that was told.
    reset_wanted: bool,
    /// What a former driver left, as far as it is not settled.
    estate: Estate,
}

/// Driver of one rocker. Dropped, it leaves the switch silent and empty, unless it was told to leave it to
/// a driver to come ([`SmartNic::leave`]): by itself the device goes on forwarding by what it was told last.
pub struct RockerNic<I: RockerIo> {
    io: Arc<I>,
    ports: PortTable,
    settings: Settings,
    capabilities: Capabilities,
    phase: Phase,
    epoch: Epoch,
    active: Option<Active<I>>,
    /// Allocated once, kept over resets.
    memory: Option<layout::Memory>,
    /// Queues of earlier epochs that may still be in a burst.
    old: Vec<Arc<Shared>>,
    /// What the next poll reports.
    events: Vec<Event>,
    failure: Option<BringUpError>,
    /// Whether the device is to be taken over as it is.
    is_heir: bool,
    /// Why it was not.
    unadoptable: Option<Unadoptable>,
    /// Whether a drop leaves it as it is.
    is_left: bool,
}

impl<I: RockerIo> std::fmt::Debug for RockerNic<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RockerNic")
            .field("phase", &self.phase)
            .field("epoch", &self.epoch)
            .field("entries", &self.active.as_ref().map(|active| active.roster.len()))
            .finish_non_exhaustive()
    }
}

impl<I: RockerIo> RockerNic<I> {
    /// Takes the ports down and forgets tables and rings, if the device was ever ours and answers.
    fn silence(&self) {
        let known = self.memory.is_some();
        if known && self.io.read32(register::IDENTITY) == register::IDENTITY_VALUE {
            self.io.write64(register::PORT_ENABLE, 0);
            bring_up::stop_rings(&*self.io, self.io.read32(register::PORT_COUNT));
        }
    }
}

impl<I: RockerIo> Drop for RockerNic<I> {
    fn drop(&mut self) {
        if let Some(active) = &self.active {
            active.shared.gate.shut();
        }
        if !(self.is_left && self.phase == Phase::Running) {
            self.silence();
        }
    }
}

impl<I: RockerIo + 'static> RockerNic<I> {
    /// Takes a device over and starts bring-up, which [`SmartNic::poll`] moves on; `Event::Up` or
    /// `Event::Dead` ends it. The physical ports of `ports`, ascending, are ports 1, 2, … of the
    /// device. The function needs [`dma_bytes`] of DMA memory and all its MSI-X vectors armed.
    #[must_use]
    pub fn attach(io: Arc<I>, ports: PortTable, settings: Settings) -> Self {
        let mut nic = Self {
            io,
            ports,
            settings,
            capabilities: capabilities::none(),
            phase: Phase::Quiescing(None),
            epoch: Epoch(0),
            active: None,
            memory: None,
            old: Vec::new(),
            events: Vec::new(),
            failure: None,
            is_heir: false,
            unadoptable: None,
            is_left: false,
        };
        nic.start();
        nic
    }

    /// Why the last bring-up failed, when the device answered but is not usable.
    #[must_use]
    pub const fn failure(&self) -> Option<&BringUpError> {
        self.failure.as_ref()
    }

    /// Frames handed to `tx_burst` of this epoch's queue that could not be sent: unknown port,
    /// shorter than 14 bytes, longer than a buffer, or refused by the device.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.shared.gate.dropped())
    }

    /// Misses of this epoch lost because they were longer than any port's `mtu_in`.
    #[must_use]
    pub fn frames_too_long(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.shared.too_long.load(Ordering::Relaxed))
    }

    /// Gives the device up; its queue becomes inert.
    fn die(&mut self, cause: DeathCause) {
        tracing::warn!(%cause, phase = ?self.phase, "rocker is dead");
        self.phase = Phase::Dead(cause);
        self.abandon();
        self.silence();
        self.events.push(Event::Dead(cause));
    }

    /// Shuts the queue of this epoch.
    fn abandon(&mut self) {
        if let Some(active) = self.active.take() {
            active.shared.gate.shut();
            self.old.push(active.shared);
        }
    }

    /// Looks after a device that is up: events, links, whether it is still there and still set up.
    fn watch(&mut self, now: Time) -> Result<(), DeathCause> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.shared.now.store(now.0, Ordering::Relaxed);
        if active.shared.gate.is_accused() {
            return Err(DeathCause::Garbage);
        }
        let told = active.events.drain(&*self.io)?;
        if !told && now.since(active.looked) < LOOK_INTERVAL {
            return Ok(());
        }
        active.looked = now;
        match self.io.read32(register::IDENTITY) {
            register::IDENTITY_VALUE => {}
            ALL_ONES => return Err(DeathCause::AllOnes),
            _ => return Err(DeathCause::Garbage),
        }
        let map = &active.translator.map;
        let enabled = self.io.read64(register::PORT_ENABLE);
        if enabled != map.configured_bits() && !active.reset_wanted {
            // Somebody reset it: tables and rings are gone.
            tracing::warn!(enabled, "rocker lost its state");
            active.reset_wanted = true;
            self.events.push(Event::ResetRequest);
        }
        let links = self.io.read64(register::LINK_STATUS);
        let changed = links ^ active.links;
        let changes = map
            .configured()
            .filter(|(port, _)| changed & port.bit() != 0)
            .map(|(port, number)| Event::Link { port: number, up: links & port.bit() != 0 });
        self.events.extend(changes);
        active.links = links;
        Ok(())
    }
}

impl<I: RockerIo + 'static> SmartNic for RockerNic<I> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&mut self, _now: Time, ops: &[FlowOp]) -> usize {
        let mut accepted = 0;
        if let Err(cause) = self.clear_estate() {
            self.die(cause);
        }
        for op in ops {
            if self.phase != Phase::Running || self.events.len() >= EVENTS_MAX {
                break;
            }
            accepted += 1;
            self.operate(op);
        }
        accepted
    }

    fn poll(&mut self, now: Time, out: &mut Vec<Event>) {
        self.advance(now);
        out.append(&mut self.events);
    }

    /// Always `None`: the device has counters and never moves them.
    fn sweep_counters(&mut self, _now: Time, _sink: &mut dyn CounterSink) -> Option<Sweep> {
        None
    }

    fn health(&mut self, _now: Time) -> Health {
        match self.phase {
            Phase::Dead(cause) => Health::Dead(cause),
            Phase::Running => Health::Good,
            Phase::Quiescing(_) | Phase::Interrupts { .. } => Health::Starting,
        }
    }

    fn reset(&mut self, _now: Time) -> Result<Epoch, ResetError> {
        self.abandon();
        self.start();
        Ok(self.epoch)
    }

    fn take_inheritance(&mut self) -> Option<Inheritance> {
        self.active.as_mut()?.estate.inheritance.take()
    }

    fn claim(&mut self, entry: &Entry) -> bool {
        self.active.as_mut().is_some_and(|active| active.claim(entry))
    }

    /// What nobody claims is taken out with the next poll or submit.
    fn disown(&mut self, _id: EntryId) {}

    fn why_reset(&self) -> Option<String> {
        self.unadoptable.as_ref().map(ToString::to_string)
    }

    fn leave(&mut self) {
        self.is_left = true;
    }

    fn take_queues(&mut self) -> Vec<Box<dyn CardQueue>> {
        let queue = self.active.as_mut().and_then(|active| active.queue.take());
        queue.into_iter().map(|queue| -> Box<dyn CardQueue> { Box::new(queue) }).collect()
    }
}
