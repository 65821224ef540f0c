//! The card: what is stepped, and how host requests reach its parts.

use crate::commands::{Commands, Pace};
use crate::completions::Completions;
use crate::execute::Parked;
use crate::fault::{Class, Faults, Fired};
use crate::hold::Holds;
use crate::mirror::Mirror;
use crate::packet::Packet;
use crate::pool::Pool;
use crate::ports::Port;
use crate::profile::Profile;
use crate::receive::ReceiveQueue;
use crate::registers::{Front, of_queue, power_up};
use crate::tables::{Location, Tables};
use crate::transmit::TransmitQueue;
use std::collections::BTreeMap;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::register::{
    Access, CONTROL, GLOBAL, MIRROR_SAMPLE, RESET_DONE, RESET_REQUEST, Register, WINDOW_DONE,
    control, queue, status, syndrome,
};
use twinpath_abi::tunnel::TunnelImage;

/// A simulated card over the card's end of some memory.
///
/// Not thread-safe by itself: one thread owns it; the host's end may be used by others.
#[derive(Debug)]
pub struct Card<M> {
    pub(crate) memory: M,
    pub(crate) profile: Profile,
    pub(crate) clock: u64,
    /// Control bits in force.
    pub(crate) control: u32,
    pub(crate) front: Front,
    reset_done: u32,
    pub(crate) ports: Vec<Port>,
    pub(crate) tables: Tables,
    pub(crate) tunnels: Vec<Option<TunnelImage>>,
    pub(crate) holds: Holds,
    pub(crate) mirror: Mirror,
    pub(crate) parked: BTreeMap<Location, Parked>,
    pub(crate) parked_order: u64,
    /// DELETEs with UNTIL since the last COMMIT.
    pub(crate) endings: u32,
    pub(crate) receive: Vec<ReceiveQueue>,
    /// Frames delivered before the receive rings were closed.
    delivered: u64,
    pub(crate) transmit: Vec<TransmitQueue>,
    pub(crate) commands: Commands,
    pub(crate) completions: Completions,
    pub(crate) pool: Pool,
    /// The frame that is being edited.
    pub(crate) packet: Packet,
    /// What is to go wrong.
    pub(crate) faults: Option<Box<Faults>>,
    /// The profile before a fault changed it.
    pub(crate) own: Option<Box<Profile>>,
    /// How often faults of earlier plans fired.
    pub(crate) fired: Fired,
}

impl<M: CardMemory> Card<M> {
    /// A card that has just been powered up; `memory` must have a BAR of
    /// [`twinpath_abi::register::BAR_BYTES`].
    ///
    /// # Panics
    /// When the profile is out of the limits of `docs/nic-abi.md` §1.2, or the BAR is too short.
    #[must_use]
    pub fn new(profile: Profile, memory: M) -> Self {
        profile.check();
        assert!(memory.bar_bytes() >= twinpath_abi::register::BAR_BYTES, "the BAR is too short");
        power_up(&memory, &profile.capability().encode());
        let ports = (0..profile.ports).map(|index| Port::new(index, profile.port_frames));
        let mut card = Self {
            ports: ports.collect(),
            tables: Tables::new(&profile),
            tunnels: vec![None; profile.tunnels as usize],
            memory,
            profile,
            clock: 0,
            control: 0,
            front: Front { status: status::READY | status::BYPASS, ..Front::default() },
            reset_done: 0,
            holds: Holds::default(),
            mirror: Mirror::default(),
            parked: BTreeMap::new(),
            parked_order: 0,
            endings: 0,
            receive: Vec::new(),
            delivered: 0,
            transmit: Vec::new(),
            commands: Commands::default(),
            completions: Completions::default(),
            pool: Pool::default(),
            packet: Packet::default(),
            faults: None,
            own: None,
            fired: Fired::NONE,
        };
        card.publish();
        card
    }

    /// A frame (without FCS) arrives on the wire of a port.
    ///
    /// Commands due by `now` take effect before; what goes to the host is announced by the next
    /// [`Card::step`]. Ports beyond the card's ignore it.
    pub fn port_in(&mut self, port: usize, frame: &[u8], now: u64) {
        self.clock = self.clock.max(now);
        if !self.suffers(Class::HeartbeatStopped) {
            self.run_due();
        }
        if let Ok(index) = u16::try_from(port)
            && port < self.ports.len()
        {
            self.receive(frame, index);
        }
    }

    /// Does everything that is due by `now`: reset, rings, commands, releases, registers.
    pub fn step(&mut self, now: u64) {
        self.clock = self.clock.max(now);
        if self.faults.is_some() {
            self.suffer();
            if self.is_gone() {
                return;
            }
        }
        let request = self.memory.load32(RESET_REQUEST.offset);
        if request != self.reset_done && !self.ignores(request) {
            self.reset(request);
        }
        if self.suffers(Class::HeartbeatStopped) {
            self.go_on_without_firmware();
            return;
        }
        self.follow_control();
        if let Err(syndrome) = self.work() {
            self.fault(syndrome);
        }
        self.publish();
    }

    /// When [`Card::step`] or [`Card::port_out`] next has something to do, if nothing else
    /// happens; doorbells are not foreseen.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        let unannounced =
            self.completions.is_behind() || self.receive.iter().any(ReceiveQueue::is_behind);
        let departures = self.ports.iter().filter_map(Port::next_departure);
        let faults = self.faults.as_ref().and_then(|faults| faults.next_due(self.clock));
        let commands = self.commands.next_due().filter(|_| !self.suffers(Class::HeartbeatStopped));
        departures.chain(commands).chain(unannounced.then_some(self.clock)).chain(faults).min()
    }

    /// The next frame that has left a port by the time of the last call with a time.
    pub fn port_out(&mut self, port: usize) -> Option<Vec<u8>> {
        self.ports.get_mut(port)?.leave(self.clock)
    }

    /// Takes a frame of [`Card::port_out`] back, to use its memory again.
    pub fn recycle(&mut self, frame: Vec<u8>) {
        self.pool.give(frame);
    }

    /// Whether its entries decide frames, for those who look into it from outside.
    #[must_use]
    pub const fn is_matching(&self) -> bool {
        self.control & control::TABLES != 0
    }

    /// Received frames that wait in hold queues.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holds.frames()
    }

    /// Frames delivered to its receive rings since its last reset, whatever registers say.
    pub fn delivered(&self) -> u64 {
        self.delivered + self.receive.iter().map(ReceiveQueue::delivered).sum::<u64>()
    }

    /// Table, place and id of every entry it holds, for those who look into it from outside.
    pub fn entries(&self) -> impl Iterator<Item = (u8, u32, u32)> {
        self.tables.entries()
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Resets the card as the bus can (function-level reset).
    pub fn function_reset(&mut self) {
        self.memory.store32(RESET_REQUEST.offset, 0);
        self.reset(0);
        self.publish();
    }

    fn work(&mut self) -> Result<(), u32> {
        let pace = Pace {
            now: self.clock,
            latency: u64::from(self.profile.command_latency_ns),
            interval: u64::from(self.profile.command_interval_ns),
        };
        let waiting = self.faults.as_ref().map_or(0, |faults| faults.waiting());
        let room = self.completions.room(&self.memory)?.saturating_sub(waiting);
        let (clock, mut faults) = (self.clock, self.faults.take());
        let slower = || {
            let struck =
                faults.as_mut().and_then(|faults| faults.strikes(Class::CommandSlow, clock));
            struck.unwrap_or(0)
        };
        let fetched = self.commands.fetch(&self.memory, room, pace, slower);
        self.faults = faults;
        fetched?;
        self.run_due();
        self.send_given()
    }

    /// Sends what the host gave.
    fn send_given(&mut self) -> Result<(), u32> {
        let due = self.clock.saturating_add(u64::from(self.profile.packet_latency_ns));
        for ring in &mut self.transmit {
            ring.drain(&self.memory, &mut self.ports, &mut self.pool, due)?;
        }
        self.finish_releases();
        Ok(())
    }

    /// A hung firmware: nothing but what forwards by itself, and a reset, goes on.
    fn go_on_without_firmware(&mut self) {
        if let Err(syndrome) = self.send_given() {
            self.fault(syndrome);
        }
        self.publish_packets();
    }

    /// Whether a request for a reset is one of those that come to nothing.
    fn ignores(&mut self, request: u32) -> bool {
        let clock = self.clock;
        let Some(faults) = &mut self.faults else { return false };
        if faults.ignored != Some(request) {
            let struck = faults.strikes(Class::ResetIgnored, clock).is_some();
            faults.ignored = struck.then_some(request);
        }
        faults.ignored.is_some()
    }

    fn run_due(&mut self) {
        while let Some(fetched) = self.commands.next(self.clock) {
            self.run(&fetched);
            self.finish_releases();
        }
    }

    /// Follows CONTROL; RINGS counts once after a reset (§3.3).
    fn follow_control(&mut self) {
        self.mirror.follow(self.memory.load32(MIRROR_SAMPLE.offset));
        let wanted = self.memory.load32(CONTROL.offset);
        let faulty = self.front.syndrome != syndrome::NONE;
        if wanted & control::RINGS != 0 && self.control & control::RINGS == 0 && !faulty {
            self.control |= control::RINGS;
            if let Err(syndrome) = self.open_rings() {
                self.fault(syndrome);
            }
        }
        self.control = self.control & control::RINGS | wanted & control::TABLES;
        if self.suffers(Class::EngineDead) {
            self.control &= !control::TABLES;
        }
    }

    fn open_rings(&mut self) -> Result<(), u32> {
        let [command, completion, receive, transmit] = self.profile.capability().ring_log2_max;
        self.commands.open(&self.memory, command)?;
        self.completions.open(&self.memory, completion)?;
        for queue in 0..self.profile.queues {
            if self.memory.load32(of_queue(queue, queue::ENABLE)) & 1 == 0 {
                break;
            }
            self.receive.push(ReceiveQueue::open(&self.memory, queue, receive)?);
            self.transmit.push(TransmitQueue::open(&self.memory, queue, transmit)?);
        }
        Ok(())
    }

    /// §2.4: stops the rings until a reset.
    pub(crate) fn fault(&mut self, syndrome: u32) {
        if self.front.syndrome == syndrome::NONE {
            self.front.syndrome = syndrome;
        }
        self.close_rings();
    }

    fn close_rings(&mut self) {
        self.delivered = self.delivered();
        self.commands.close();
        self.completions.close();
        self.receive.clear();
        self.transmit.clear();
    }

    /// §2.3.
    fn reset(&mut self, request: u32) {
        self.forget_all();
        self.clear_registers();
        self.front = Front {
            epoch: self.front.epoch.wrapping_add(1),
            clock: self.clock,
            ..Front::default()
        };
        self.publish();
        self.reset_done = request;
        self.memory.store32(RESET_DONE.offset, request);
    }

    /// What a reset empties beside registers; and here entries may stay, and capabilities change.
    pub(crate) fn forget_all(&mut self) {
        self.close_rings();
        self.delivered = 0;
        self.commands.reset();
        self.completions.reset();
        self.mirror.reset();
        let (clock, mut faults) = (self.clock, self.faults.take());
        match &mut faults {
            None if self.own.is_some() => self.change_capabilities(),
            None => self.tables.reset(),
            Some(faults) => {
                let stays = || faults.strikes(Class::EntryStale, clock).is_some();
                self.tables.reset_but(stays);
                faults.reset();
                if faults.strikes(Class::CapabilitiesChanged, clock).is_some() {
                    self.change_capabilities();
                }
            }
        }
        self.faults = faults;
        self.tunnels.fill(None);
        self.holds.clear();
        self.parked.clear();
        self.endings = 0;
        self.ports.iter_mut().for_each(Port::reset);
        self.control = 0;
    }

    /// As after power-up, with BAR memory that says so.
    pub(crate) fn power_on(&mut self) {
        let epoch = self.front.epoch.wrapping_add(1);
        self.front = Front { epoch, clock: self.clock, ..Front::default() };
        self.reset_done = 0;
        self.publish();
    }

    /// Zeroes what the host writes, and ring indices.
    fn clear_registers(&self) {
        let clear = |base: u32, register: &Register| {
            let words = register.bytes / 4;
            (0..words).for_each(|word| self.memory.store32(base + register.offset + word * 4, 0));
        };
        let hosts = GLOBAL.iter().filter(|register| register.access == Access::Host);
        for register in hosts.filter(|register| **register != RESET_REQUEST) {
            clear(0, register);
        }
        clear(0, &twinpath_abi::register::COMMAND_CONSUMER);
        clear(0, &WINDOW_DONE);
        for index in 0..self.profile.queues {
            let base = of_queue(index, Register { offset: 0, ..queue::RX_BASE });
            queue::ALL.iter().for_each(|register| clear(base, register));
        }
    }

    /// Brings registers and rings up to date and interrupts.
    fn publish(&mut self) {
        self.publish_packets();
        let (clock, mut faults) = (self.clock, self.faults.take());
        let mut aim = || faults.as_mut().map_or(Ok(0), |faults| faults.aim(clock));
        let published = self.completions.publish(&self.memory, &mut aim);
        self.faults = faults;
        match published {
            Ok(true) => self.raise(0),
            Ok(false) => {}
            Err(syndrome) => self.fault(syndrome),
        }
        let bypass = if self.control & control::TABLES == 0 { status::BYPASS } else { 0 };
        let fault = match self.front.syndrome {
            syndrome::NONE => 0,
            _ => status::FAULT | status::RESET_WANTED,
        };
        let wants = self.faults.as_ref().is_some_and(|faults| faults.wants_reset);
        let wanted = if wants { status::RESET_WANTED } else { 0 };
        self.front.status = status::READY | bypass | fault | wanted;
        self.front.clock = self.clock;
        self.front.publish(&self.memory);
    }

    /// As [`Self::publish`], of ports and received frames alone.
    fn publish_packets(&mut self) {
        for port in &mut self.ports {
            port.publish(&self.memory);
        }
        for queue in 0..self.receive.len() {
            if let Some(vector) = self.receive[queue].publish(&self.memory) {
                self.raise(vector);
            }
        }
    }
}
