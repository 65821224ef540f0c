//! Bring-up and reset: one path, safe after a predecessor that died with the device running.

use super::adopt::Estate;
use super::capabilities::capabilities;
use super::command::Command;
use super::control::{CommandError, Control};
use super::event::Events;
use super::io::RockerIo;
use super::layout::{Memory, SCRATCH_BYTES};
use super::port::{PortMap, TooManyPorts};
use super::queue::{Queue, Shared};
use super::register::{self, RingRegisters};
use super::roster::Roster;
use super::rule::{AclMatch, Ipv4Match, Masked, Rank, Rule, TypeMatch};
use super::translate::{Part, Translator, UNTAGGED, to_host};
use super::vlan::{Admission, Leaving};
use super::{Active, RockerNic};
use std::sync::Arc;
use twinpath_abi::bus::AllocError;
use twinpath_flow::card::{DeathCause, Epoch, Event};
use twinpath_flow::time::Time;

/// What registers of an absent device read as.
pub(super) const ALL_ONES: u32 = u32::MAX;
/// Service tag: the device takes such frames for untagged ones.
const TYPE_VLAN_SERVICE: u16 = 0x88a8;
const PROTOCOL_UDP: u8 = 17;

/// Where the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting until no worker is in a burst of an earlier epoch; `None`: from the next poll on.
    Quiescing(Option<Time>),
    /// Waiting for the interrupts of the self-test.
    Interrupts {
        /// Vectors not seen yet, by bit.
        missing: u128,
        /// Deadline.
        until: Time,
        /// Ports of the device.
        ports: u32,
    },
    /// Up.
    Running,
    /// Dead.
    Dead(DeathCause),
}

/// Why a device that answers is not usable.
#[derive(Debug, thiserror::Error)]
pub enum BringUpError {
    /// It is no rocker.
    #[error("register 0 reads {0:#010x}, not that of a rocker")]
    Identity(u32),
    /// A test register did not read back twice what was written.
    #[error("test register wrote {wrote:#x} and read {read:#x}")]
    TestRegister {
        /// Written.
        wrote: u64,
        /// Read.
        read: u64,
    },
    /// Its number of ports is not credible.
    #[error("card has {0} ports, credible are 1 to 62")]
    PortCount(u32),
    /// Fewer ports than configured.
    #[error(transparent)]
    Ports(#[from] TooManyPorts),
    /// Fewer interrupt vectors are armed than the device has.
    #[error("{armed} interrupt vectors are armed, the card has {has}")]
    Vectors {
        /// Armed.
        armed: u16,
        /// The device's.
        has: u16,
    },
    /// A vector of the self-test did not come.
    #[error("interrupt vector {0} did not arrive")]
    Interrupt(u32),
    /// The device did not write to memory what it was asked to.
    #[error("dma self-test failed at byte {0}")]
    Dma(usize),
    /// Bus mastering could not be switched.
    #[error("bus mastering: {0}")]
    BusMaster(#[from] std::io::Error),
    /// The transport gives too little DMA memory; see [`super::dma_bytes`].
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// The device refused a flow, group or setting that every switch needs.
    #[error("card refuses to be set up: error code {0}")]
    Refused(u16),
    /// The device stopped working.
    #[error(transparent)]
    Dead(#[from] DeathCause),
}

impl From<CommandError> for BringUpError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Card(code) => Self::Refused(code),
            CommandError::TooLong(_) => Self::Refused(0),
            CommandError::Dead(cause) => Self::Dead(cause),
        }
    }
}

impl<I: RockerIo + 'static> RockerNic<I> {
    /// Begins bring-up, from any phase.
    pub(super) fn start(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.failure = None;
        self.phase = Phase::Quiescing(None);
    }

    /// Moves bring-up on.
    pub(super) fn advance(&mut self, now: Time) {
        if self.take_over_if_wanted(now) {
            return;
        }
        let step = match self.phase {
            Phase::Dead(_) => Ok(()),
            Phase::Quiescing(until) => self.quiesce(now, until),
            Phase::Interrupts { missing, until, ports } => {
                self.await_interrupts(now, (missing, until), ports)
            }
            Phase::Running => {
                self.clear_estate().and_then(|()| self.watch(now)).map_err(BringUpError::Dead)
            }
        };
        if let Err(error) = step {
            let cause = match error {
                BringUpError::Dead(cause) => cause,
                BringUpError::Interrupt(_) => DeathCause::Deadline,
                _ => DeathCause::Garbage,
            };
            if !matches!(error, BringUpError::Dead(_)) {
                tracing::warn!(%error, "card is not usable");
                self.failure = Some(error);
            }
            self.die(cause);
        }
    }

    fn quiesce(&mut self, now: Time, until: Option<Time>) -> Result<(), BringUpError> {
        self.old.retain(|shared| !shared.gate.is_idle());
        if self.old.is_empty() {
            return self.test(now);
        }
        let until = until.unwrap_or_else(|| now.after(self.settings.deadline));
        if now > until {
            return Err(DeathCause::Deadline.into());
        }
        self.phase = Phase::Quiescing(Some(until));
        Ok(())
    }

    /// Stops what a predecessor left running, and tests registers, DMA and interrupts.
    fn test(&mut self, now: Time) -> Result<(), BringUpError> {
        let io = Arc::clone(&self.io);
        identify(&*io)?;
        let ports = io.read32(register::PORT_COUNT);
        if !(1..=register::PORTS_MAX).contains(&ports) {
            return Err(BringUpError::PortCount(ports));
        }
        let vectors = register::COMMON_VECTORS + 2 * small(ports);
        if io.vectors() < vectors {
            return Err(BringUpError::Vectors { armed: io.vectors(), has: vectors });
        }
        // Rings first, and without DMA: a reset takes the links down, which would be told into
        // the event ring of a predecessor whose memory may be ours by now.
        io.stop_dma()?;
        self.allocate()?.notes.forget(&*io);
        stop_rings(&*io, ports);
        let memory = self.allocate()?;
        io.start_dma()?;
        test_dma(&*io, memory)?;
        for vector in 0..vectors {
            // Those of earlier times do not count.
            io.poll_interrupt(vector);
        }
        for vector in 0..vectors {
            io.write32(register::TEST_INTERRUPT, u32::from(vector));
        }
        let missing = u128::MAX >> (128 - u32::from(vectors));
        let until = now.after(self.settings.deadline);
        self.phase = Phase::Interrupts { missing, until, ports };
        self.await_interrupts(now, (missing, until), ports)
    }

    /// DMA memory, allocated once.
    pub(super) fn allocate(&mut self) -> Result<&mut Memory, AllocError> {
        match &mut self.memory {
            Some(memory) => Ok(memory),
            empty => {
                let memory = Memory::allocate(&*self.io, &self.settings, &self.ports)?;
                Ok(empty.insert(memory))
            }
        }
    }

    fn await_interrupts(
        &mut self,
        now: Time,
        (missing, until): (u128, Time),
        ports: u32,
    ) -> Result<(), BringUpError> {
        let mut missing = missing;
        for vector in 0..u16::try_from(128 - missing.leading_zeros()).unwrap_or(128) {
            if self.io.poll_interrupt(vector) > 0 {
                missing &= !(1 << vector);
            }
        }
        if missing == 0 {
            return self.set_up(now, ports);
        }
        if now > until {
            return Err(BringUpError::Interrupt(missing.trailing_zeros()));
        }
        self.phase = Phase::Interrupts { missing, until, ports };
        Ok(())
    }

    /// Rings, what every switch needs in its tables, and last the ports.
    fn set_up(&mut self, now: Time, ports: u32) -> Result<(), BringUpError> {
        let io = Arc::clone(&self.io);
        let map = PortMap::new(&self.ports, ports)?;
        let memory = self.memory.as_ref().ok_or(DeathCause::Garbage)?;
        let mut control = Control::program(&*io, memory.control, memory.notes);
        let events = Events::program(&*io, memory.event);
        for port in map.all() {
            control.execute(&*io, &Command::Settings(port))?;
            control.execute(&*io, &Command::StopLearning(port))?;
        }
        let mut roster = Roster::new(self.settings.entries_max);
        for (port, _) in map.configured() {
            for admission in Admission::every_frame() {
                roster.add_rule(&*io, &mut control, &Rule::Admit(port, admission))?;
            }
        }
        let translator = Translator { map, ports: self.ports.clone(), settings: self.settings };
        for part in standing_parts(&translator) {
            roster.add_part(&*io, &mut control, &part)?;
        }
        let shared = Arc::new(Shared::new());
        shared.now.store(now.0, std::sync::atomic::Ordering::Relaxed);
        let map = &translator.map;
        let queue = Queue::program(Arc::clone(&io), &memory.queue, map, Arc::clone(&shared));
        io.write64(register::PORT_ENABLE, map.configured_bits());
        control.notes.begin(&*io, self.layout_digest(&translator, memory));
        let estate = Estate::default();
        self.go((control, events, roster, estate), translator, (shared, queue), now);
        Ok(())
    }

    /// The switch forwards.
    pub(super) fn go(
        &mut self,
        (control, events, roster, estate): (Control, Events, Roster, Estate),
        translator: Translator,
        (shared, queue): (Arc<Shared>, Queue<I>),
        now: Time,
    ) {
        let links = self.io.read64(register::LINK_STATUS);
        let ports = small(self.io.read32(register::PORT_COUNT));
        self.capabilities = capabilities(&self.settings, ports);
        self.events.push(Event::Up(self.epoch));
        let told = translator
            .map
            .configured()
            .map(|(port, number)| Event::Link { port: number, up: links & port.bit() != 0 });
        self.events.extend(told);
        self.active = Some(Active {
            control,
            events,
            roster,
            translator,
            shared,
            queue: Some(queue),
            links,
            looked: now,
            reset_wanted: false,
            estate,
        });
        self.phase = Phase::Running;
    }
}

/// Resets every ring, then the switch.
pub(super) fn stop_rings(io: &impl RockerIo, ports: u32) {
    for ring in 0..RingRegisters::count(ports.min(register::PORTS_MAX)) {
        io.write32(RingRegisters::numbered(ring).control(), 1);
    }
    io.write32(register::CONTROL, 1);
}

/// The device must say who it is before anything is written to it.
pub(super) fn identify(io: &impl RockerIo) -> Result<(), BringUpError> {
    match io.read32(register::IDENTITY) {
        ALL_ONES => return Err(DeathCause::AllOnes.into()),
        register::IDENTITY_VALUE => {}
        other => return Err(BringUpError::Identity(other)),
    }
    let check = |wrote: u64, read: u64, wanted: u64| {
        if read == wanted { Ok(()) } else { Err(BringUpError::TestRegister { wrote, read }) }
    };
    let small = 0x8765_4321_u32;
    io.write32(register::TEST, small);
    let read = u64::from(io.read32(register::TEST));
    check(small.into(), read, small.wrapping_mul(2).into())?;
    let large = 0x8765_4321_0fed_cba9_u64;
    io.write64(register::TEST_64, large);
    check(large, io.read64(register::TEST_64), large.wrapping_mul(2))
}

/// Has the device fill memory, then change what is there: it writes, and it reads.
fn test_dma(io: &impl RockerIo, memory: &Memory) -> Result<(), BringUpError> {
    let mut bytes = [0; SCRATCH_BYTES as usize];
    io.copy_in(memory.scratch, &bytes);
    io.write64(register::TEST_DMA_ADDRESS, memory.scratch.0);
    io.write32(register::TEST_DMA_SIZE, u32::from(SCRATCH_BYTES));
    let steps = [
        (register::TEST_DMA_FILL, register::TEST_DMA_PATTERN),
        (register::TEST_DMA_INVERT, !register::TEST_DMA_PATTERN),
    ];
    for (step, wanted) in steps {
        io.write32(register::TEST_DMA_CONTROL, step);
        io.copy_out(memory.scratch, &mut bytes);
        if let Some(at) = bytes.iter().position(|byte| *byte != wanted) {
            return Err(BringUpError::Dma(at));
        }
    }
    Ok(())
}

/// ACL flows that are always there: guards on top, and everything else to the host.
pub(super) fn standing_parts(translator: &Translator) -> Vec<Part> {
    let part = |rank, matching, leaving| Part { rank, matching, group: Some(to_host(leaving)) };
    let untagged = AclMatch { tci: UNTAGGED, ..AclMatch::default() };
    let service = AclMatch { ethertype: TypeMatch::Exactly(TYPE_VLAN_SERVICE), ..untagged };
    let mut parts = vec![
        part(Rank::Guard, service, Leaving::Stripped),
        part(Rank::HostUntagged, untagged, Leaving::Stripped),
        part(Rank::HostTagged, AclMatch::default(), Leaving::Carried),
    ];
    // A tunnel's packets belong to its port, whatever an entry of the carrying port says.
    let udp =
        Ipv4Match { protocol: Masked { value: PROTOCOL_UDP, mask: 0xff }, ..Ipv4Match::default() };
    let mut carriers: Vec<_> = translator
        .ports
        .tunnels()
        .filter_map(|(_, tunnel)| translator.map.find(tunnel.over))
        .collect();
    carriers.dedup();
    parts.extend(carriers.into_iter().map(|port| {
        let matching =
            AclMatch { in_port: Some(port), ethertype: TypeMatch::Ipv4(udp), ..untagged };
        part(Rank::Guard, matching, Leaving::Stripped)
    }));
    parts
}

/// A port count as 16 bits.
fn small(ports: u32) -> u16 {
    u16::try_from(ports).unwrap_or(u16::MAX)
}
