//! Bring-up and reset: one state machine, moved on by `poll` (`docs/nic-abi.md` §2.2).

use super::adopt::Estate;
use super::commands::{Commands, Patience, Work};
use super::encode::Encoder;
use super::endings::Endings;
use super::geometry::{self, Memory};
use super::health::ALL_ONES;
use super::notes::Notes;
use super::queue::{Queue, Surroundings};
use super::roster::Roster;
use super::stall::Stall;
use super::sweep::SweepState;
use super::tables::Tables;
use super::{Active, Twin};
use crate::gate::Gate;
use crate::nic::Mode;
use std::sync::Arc;
use std::time::Duration;
use twinpath_abi::ABI_VERSION;
use twinpath_abi::bus::{AllocError, Bus};
use twinpath_abi::capability::{Capability, CapabilityError};
use twinpath_abi::command::Command;
use twinpath_abi::port::{NO_LIMIT, SetPort};
use twinpath_abi::register::{self, QUEUES_MAX, control, status};
use twinpath_abi::tunnel::{TunnelImage, TunnelKind as Kind};
use twinpath_flow::card::{Capabilities, DeathCause, Epoch, Event};
use twinpath_flow::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};
use twinpath_flow::time::Time;

/// Where the card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting until no worker is in a burst of an earlier epoch.
    Quiescing(Time),
    /// Waiting for a card that says who it is.
    Identifying(Time),
    /// Waiting for a reset to be carried out.
    Resetting {
        /// Value asked for.
        request: u32,
        /// Deadline.
        until: Time,
    },
    /// The places of an adopted card are being read.
    Surveying,
    /// Ports and tunnels are being set.
    Settling,
    /// Waiting for the tables to be matched.
    Enabling(Time),
    /// Up.
    Running,
    /// Dead.
    Dead(DeathCause),
}

/// Progress of the commands of bring-up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// Commands issued.
    pub issued: usize,
    /// Commands answered.
    pub answered: usize,
    /// Whether entries were looked for that a reset should have removed.
    pub check: Check,
}

/// Looking for entries that a reset should have removed: their counters are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Not yet.
    #[default]
    Wanted,
    /// A sweep of counters is under way.
    Asked,
    /// There are none.
    Done,
}

/// A card follows its mode within 1 ms (`docs/nic-abi.md` §2.2).
pub(super) const MODE_MAX: Duration = Duration::from_millis(3);

/// Added to the time a card says a reset takes.
const RESET_SLACK: Duration = Duration::from_millis(100);

/// Why a card that answers is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BringUpError {
    /// It is no twin card.
    #[error("identity {0:#010x} is not that of a twin card")]
    Identity(u32),
    /// It speaks another version of the contract.
    #[error("card speaks version {card:#x}, the driver {driver:#x}")]
    Version {
        /// The card's.
        card: u32,
        /// The driver's.
        driver: u32,
    },
    /// Its capability block is not credible.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// More ports or tunnels are wanted than it has.
    #[error("{wanted} {what} are configured, the card has {has}")]
    TooMany {
        /// What.
        what: &'static str,
        /// Configured.
        wanted: usize,
        /// What the card has.
        has: u32,
    },
    /// Entries are in the card after a reset.
    #[error("{0} entries survived the reset")]
    Survivors(usize),
    /// The transport gives too little DMA memory; see [`super::dma_bytes`].
    #[error(transparent)]
    Memory(#[from] AllocError),
}

/// What is known of a card before its first bring-up.
pub(super) fn no_capabilities() -> Capabilities {
    Capabilities {
        card: "twin".to_owned(),
        ports: 0,
        tables: Vec::new(),
        actions: twinpath_flow::card::ActionCaps::default(),
        counters: false,
        counter_staleness_ns: 0,
        generations: false,
        hold_frames: 0,
        queues: 0,
        mirror: false,
        read_back: false,
    }
}

impl<B: Bus + 'static> Twin<B> {
    /// Begins bring-up, from any phase.
    pub(super) fn start(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.failure = None;
        self.forget_signs();
        self.phase = Phase::Quiescing(self.deadline());
    }

    /// When a reset, or a part of bring-up, must be done: a card that is known says how long.
    fn deadline(&self) -> Time {
        let said = self
            .memory
            .as_ref()
            .map(|(card, _)| Duration::from_millis(u64::from(card.reset_ms_max)) + RESET_SLACK);
        let longest = self.settings.reset_deadline;
        let longest = said.map_or(longest, |said| said.min(longest));
        self.watch.watched().after(self.settings.within(longest))
    }

    /// What CONTROL is to be.
    pub(super) const fn control(&self) -> u32 {
        match self.mode {
            Mode::Forward => control::RINGS | control::TABLES,
            Mode::Bypass => control::RINGS,
        }
    }

    /// Moves everything on by at most one phase.
    pub(super) fn advance(&mut self, now: Time, watched: Time) {
        let step = match self.phase {
            Phase::Dead(_) => Ok(()),
            Phase::Quiescing(until) => self.quiesce(watched, until),
            Phase::Identifying(until) => self.identify(watched, until),
            Phase::Resetting { request, until } => self.await_reset(watched, (request, until)),
            Phase::Surveying => self.check_registers().and_then(|()| {
                self.work(watched)?;
                self.sample_clock(now);
                self.survey(watched)
            }),
            Phase::Settling => self
                .check_registers()
                .and_then(|()| self.work(watched))
                .and_then(|()| self.settle(watched)),
            Phase::Enabling(until) => self.check_registers().and_then(|()| {
                self.work(watched)?;
                self.sample_clock(now);
                self.await_tables(watched, until)
            }),
            Phase::Running => self.work(watched).and_then(|()| self.check_signs(now, watched)),
        };
        if let Err(cause) = step {
            self.die(cause);
        }
    }

    fn late(watched: Time, until: Time) -> Result<(), DeathCause> {
        if watched > until { Err(DeathCause::Deadline) } else { Ok(()) }
    }

    fn quiesce(&mut self, watched: Time, until: Time) -> Result<(), DeathCause> {
        self.old_gates.retain(|gate| !gate.is_idle());
        if self.old_gates.is_empty() {
            self.phase = Phase::Identifying(until);
            return Ok(());
        }
        Self::late(watched, until)
    }

    /// The card must say who it is before anything is written to it.
    fn identify(&mut self, watched: Time, until: Time) -> Result<(), DeathCause> {
        let identity = self.bus.read32(register::IDENTITY.offset);
        match identity {
            ALL_ONES => return Err(DeathCause::AllOnes),
            // A card that has not started yet.
            0 => return Self::late(watched, until),
            register::IDENTITY_VALUE => {}
            other => return Err(self.fail(BringUpError::Identity(other))),
        }
        let card = self.bus.read32(register::VERSION.offset);
        if card >> 16 != ABI_VERSION >> 16 {
            return Err(self.fail(BringUpError::Version { card, driver: ABI_VERSION }));
        }
        let mut request = self.bus.read32(register::RESET_DONE.offset).wrapping_add(1);
        // A card that did not see the last request will not see the same again.
        if request == self.asked {
            request = request.wrapping_add(1);
        }
        self.asked = request;
        self.bus.write32(register::RESET_REQUEST.offset, request);
        self.phase = Phase::Resetting { request, until: self.deadline() };
        Ok(())
    }

    fn await_reset(
        &mut self,
        watched: Time,
        (request, until): (u32, Time),
    ) -> Result<(), DeathCause> {
        self.check_registers()?;
        let done = self.bus.read32(register::RESET_DONE.offset) == request;
        if !done || self.bus.read32(register::STATUS.offset) & status::READY == 0 {
            return Self::late(watched, until);
        }
        self.configure().map_err(|error| self.fail(error))?;
        self.phase = Phase::Settling;
        Ok(())
    }

    fn fail(&mut self, error: BringUpError) -> DeathCause {
        tracing::warn!(%error, "card is not usable");
        self.failure = Some(error);
        DeathCause::Garbage
    }

    /// Reads what the card can do and gives it its rings.
    fn configure(&mut self) -> Result<(), BringUpError> {
        let card = geometry::read(&*self.bus)?;
        self.check_counts(&card)?;
        let physical: Arc<[PortNo]> = self.ports.physical().map(|port| port.number).collect();
        let memory = self.memory_for(&card)?;
        let commands = Commands::new(&*self.bus, memory.rings);
        commands.program(&*self.bus);
        let around = Surroundings { clock: self.clock.clone(), ports: physical };
        let (mut gates, mut queues) = (Vec::new(), Vec::new());
        for (index, queue) in (0..).zip(&memory.queues) {
            queue.program(&*self.bus, index);
            let gate = Arc::new(Gate::new());
            let bus = Arc::clone(&self.bus);
            queues.push(Queue::new(bus, index, *queue, around.clone(), Arc::clone(&gate)));
            gates.push(gate);
        }
        let epoch = self.bus.read32(register::EPOCH.offset);
        Notes(memory.notes).begin(&*self.bus, self.layout_digest(), epoch);
        self.active = Some(self.active_for(&card, memory, commands, (gates, queues)));
        self.bus.write32(register::CONTROL.offset, control::RINGS);
        Ok(())
    }

    /// What exists while such a card is configured.
    pub(super) fn active_for(
        &mut self,
        card: &Capability,
        memory: Memory,
        commands: Commands,
        (gates, queues): (Vec<Arc<Gate>>, Vec<Queue<B>>),
    ) -> Active<B> {
        let decrements = u8::try_from(card.ttl_decrements).unwrap_or(u8::MAX);
        let longest = Duration::from_millis(u64::from(card.command_ms_max));
        self.capabilities = geometry::capabilities(card, geometry::queues_of(card, &self.settings));
        Active {
            commands,
            encoder: Encoder::new(&self.ports, card.actions, decrements),
            tables: Tables::new(&geometry::shapes(card), card.ternary),
            roster: Roster::new(geometry::capacity(card)),
            ports: self.ports.physical().map(|port| port.number).collect(),
            sweep: SweepState::Idle,
            sweeps_asked: 0,
            missing: Vec::new(),
            inspected: (0, 0),
            delivered: Arc::default(),
            delivered_low: [0; QUEUES_MAX],
            card_epoch: self.bus.read32(register::EPOCH.offset),
            setup: Setup::default(),
            moves: Vec::new(),
            patience: self.settings.within(self.settings.command_deadline + longest),
            survey: None,
            estate: Estate::default(),
            endings: Endings::NONE,
            memory,
            stalls: vec![Stall::default(); gates.len()],
            gates,
            queues,
        }
    }

    /// DMA memory of an earlier bring-up if the card needs no more, else fresh memory.
    pub(super) fn memory_for(&mut self, card: &Capability) -> Result<Memory, AllocError> {
        if let Some((_, memory)) = &self.memory
            && let Some(part) = memory.part_for(card, &self.settings)
        {
            return Ok(part);
        }
        // A card that once told nonsense about itself must not have used up the arena for good.
        self.memory = None;
        self.bus.reclaim();
        let memory = Memory::new(&*self.bus, card, &self.settings, &self.ports)?;
        self.memory = Some((card.clone(), memory.clone()));
        Ok(memory)
    }

    /// Takes completions and checks deadlines.
    fn work(&mut self, watched: Time) -> Result<(), DeathCause> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.evict_disowned(&*self.bus, watched);
        active.take_completions(&self.bus, watched, &mut self.events)?;
        if active.gates.iter().any(|gate| gate.is_accused()) {
            return Err(DeathCause::Garbage);
        }
        if active.commands.overdue(watched) { Err(DeathCause::Deadline) } else { Ok(()) }
    }

    /// Sets ports and tunnels, as many at a time as the ring takes.
    fn settle(&mut self, watched: Time) -> Result<(), DeathCause> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let bus = &*self.bus;
        active.commands.refresh(bus).map_err(|_| DeathCause::Garbage)?;
        let until = Patience::Prompt(watched.after(active.patience));
        let tunnels = self.ports.tunnels().count();
        let total = tunnels + self.ports.physical().count();
        // Tunnels first: what a frame is taken for decides its receive queue, and a stream that
        // changes its queue half-way comes out of order.
        while active.setup.issued < total && active.has_room() {
            let next = active.setup.issued;
            if let Some((number, tunnel)) = self.ports.tunnels().nth(next) {
                let image = tunnel_image(number, tunnel, &self.ports).encode();
                let image = active.commands.image(bus, &image);
                let index = u32::try_from(next).expect("the card has as many tunnels");
                let command = Command::SetTunnel { index, image: image.operand };
                active.commands.issue(bus, &command, (Work::Setup, Some(image)), until);
            } else if let Some(port) = self.ports.physical().nth(next - tunnels) {
                let command = Command::SetPort(set_port(next - tunnels, port));
                active.commands.issue(bus, &command, (Work::Setup, None), until);
            }
            active.setup.issued += 1;
        }
        active.commands.publish(bus);
        if active.setup.answered == total && self.check_empty(watched)? {
            let bus = &*self.bus;
            bus.write32(register::MIRROR_SAMPLE.offset, self.settings.mirror_sample);
            bus.write32(register::CONTROL.offset, self.control());
            self.mode_until = watched.after(self.settings.within(MODE_MAX));
            self.phase = Phase::Enabling(self.mode_until);
        }
        Ok(())
    }

    /// Looks for entries that a reset should have removed, before the tables are matched; whether
    /// that is done.
    fn check_empty(&mut self, watched: Time) -> Result<bool, DeathCause> {
        let used = self.used;
        let Some(active) = &mut self.active else { return Ok(false) };
        match (active.setup.check, active.sweep) {
            (Check::Wanted, _) => {
                active.ask_for(&*self.bus, watched, used);
                active.setup.check = Check::Asked;
            }
            (Check::Asked, SweepState::Asked) => {}
            (Check::Asked, SweepState::Arrived { .. }) => {
                let survivors = active.survivors(&*self.bus);
                if survivors > 0 {
                    return Err(self.fail(BringUpError::Survivors(survivors)));
                }
                active.setup.check = Check::Done;
            }
            (Check::Asked, SweepState::Idle) => return Err(DeathCause::Garbage),
            (Check::Done, _) => return Ok(true),
        }
        Ok(false)
    }

    fn await_tables(&mut self, watched: Time, until: Time) -> Result<(), DeathCause> {
        // A card whose tables are not matched in time can still be a network card; who watches
        // its health sees that it is in bypass.
        if self.in_bypass() != (self.mode == Mode::Bypass) && watched <= until {
            return Ok(());
        }
        self.phase = Phase::Running;
        self.events.push(Event::Up(self.epoch));
        self.tell_links();
        Ok(())
    }

    /// Tells how the links are.
    pub(super) fn tell_links(&mut self) {
        for (index, port) in (0_u32..).zip(self.ports.physical()) {
            let array = register::PORT_ARRAY + index * register::PORT_STRIDE;
            let up = self.bus.read32(array + register::port::LINK.offset) == 1;
            self.events.push(Event::Link { port: port.number, up });
        }
    }
}

pub(super) fn set_port(index: usize, port: &Port) -> SetPort {
    SetPort {
        index: u32::try_from(index).expect("at most 64 ports"),
        number: port.number.0,
        enabled: port.kind == PortKind::Physical,
        mtu_in: u32::from(port.mtu_in),
        mtu_out: port.mtu_out.map_or(NO_LIMIT, u32::from),
    }
}

pub(super) fn tunnel_image(number: PortNo, tunnel: &Tunnel, ports: &PortTable) -> TunnelImage {
    let over = ports.physical().position(|port| port.number == tunnel.over);
    TunnelImage {
        number: number.0,
        kind: match tunnel.kind {
            TunnelKind::Vxlan => Kind::Vxlan,
            TunnelKind::Geneve => Kind::Geneve,
            TunnelKind::Gtpu => Kind::Gtpu,
        },
        over: over
            .and_then(|index| u16::try_from(index).ok())
            .expect("a port table's tunnels ride over physical ports"),
        udp_port: tunnel.kind.udp_port(),
        local_ip: tunnel.local_ip.octets(),
        remote_ip: tunnel.remote_ip.map(|ip| ip.octets()),
        local_mac: tunnel.local_mac,
        peer_mac: tunnel.peer_mac,
        tos: match tunnel.tos {
            OuterTos::Fixed(tos) => Some(tos),
            OuterTos::Inherit => None,
        },
        ttl: tunnel.ttl,
        qfi: tunnel.qfi,
    }
}
