//! Device `vfio-user:…`: a twin card that another process serves, its driver, software behind it,
//! and standby wires for when that process is gone.
//!
//! The card is *gone* when its process closes the connection or its driver gives it up. Standby
//! wires are open then, software forwards between them, and a thread tries to connect, ever less
//! often. A new connection makes the card *rise*: its driver brings it up while the standby wires
//! go on, and they are closed when the card receives.

mod bring_up;
mod heir;
mod start;
mod takeover;

pub(crate) use heir::resume_ports;
pub(crate) use start::Start;

use super::brain::Brain;
use super::forwarder::{Fates, decide};
use super::host::{Host, Order, Polled};
use super::keeping::Keeping;
use super::odometer::Odometer;
use super::ports::Ports;
use super::recovery::Recovery;
use super::registers::{PortRegister, Registers};
use super::software::Software;
use super::standby::Standby;
use crate::clock::Clock;
use crate::config::Config;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use takeover::Takeover;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::register::HEARTBEAT;
use twinpath_flow::card::Health;
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic as _;
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_host_driver::vfio_user::bus::{ConnectError, RemoteBus};

/// Exchanges between card and host at one point in time; what is left waits for the next.
const EXCHANGES_MAX: usize = 64;

/// How often an idle card is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// Bring-up and final sweeps end by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest wait for one answer of the card's process.
const ANSWER: Duration = Duration::from_millis(500);

/// Entries that a card may have at most: DMA memory is made for sweeps of so many.
const CAPACITY_MAX: u32 = 1 << 20;

/// First and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Frames that a card received this long before its port's standby was closed may be unknown to
/// the standby: the two processes do not look at the wire at the same time.
const OVERLAP: Duration = Duration::from_millis(1);

/// Where the card is.
#[derive(Debug)]
enum Presence {
    /// Being brought up for the first time.
    Starting,
    /// There, and forwarding.
    Here,
    /// Connected again, being brought up while standby wires go on.
    Rising,
    /// Not connected.
    Gone {
        /// A try to connect that is under way.
        attempt: Option<JoinHandle<Result<(), ConnectError>>>,
        /// When to try next.
        retry: Time,
        /// Pause after that.
        pause: Duration,
    },
}

/// The card, its driver, and software.
#[derive(Debug)]
pub(crate) struct RemotePath {
    /// The software path behind the card.
    pub software: Software,
    bus: Arc<RemoteBus>,
    host: Host<Twin<RemoteBus>>,
    registers: Registers<RemoteBus>,
    odometer: Odometer,
    standby: Standby,
    presence: Presence,
    numbers: Vec<PortNo>,
    clock: Clock,
    /// Frames that were inside cards that are gone.
    losses: u64,
    /// Frames that former processes had taken when they were killed.
    restart_losses: u64,
    /// What is kept for a next process.
    keeping: Option<Keeping>,
    /// When the state of a former process was written.
    as_of: Time,
    takeover: Takeover,
    due: Time,
}

impl RemotePath {
    /// The path to the card of `config`; [`RemotePath::bring_up`] comes next. `run`: when it began,
    /// and the digest of its rule file.
    pub(crate) fn new(config: &Config, software: Software, start: Start, run: (Time, u64)) -> Self {
        let Start { bus, heritage } = start;
        let bus = Arc::new(bus);
        let numbers: Vec<_> = config.ports.physical().map(|port| port.number).collect();
        let has_former = heritage.as_ref().is_some_and(|heritage| heritage.found.is_some());
        let begin = if has_former { Twin::adopt } else { Twin::attach };
        let (settings, _) = driver_settings(config);
        let nic = begin(Arc::clone(&bus), (*config.ports).clone(), settings, Time::default());
        let mut host = Host::new(Box::new(nic));
        host.set_recovery(Recovery::new(config.recovery));
        let mut path = Self {
            software,
            host,
            registers: Registers::new(Arc::clone(&bus), numbers.len()),
            odometer: Odometer::new(numbers.len()),
            standby: Standby::new(config),
            presence: Presence::Starting,
            bus,
            numbers,
            clock: Clock::start(),
            losses: 0,
            restart_losses: 0,
            keeping: None,
            as_of: Time::default(),
            takeover: Takeover::default(),
            due: Time::default(),
        };
        path.inherit(heritage, config, run);
        path
    }

    /// Takes a frame that arrived on a port's standby wire.
    pub(crate) fn take(&mut self, now: Time, brain: &Brain, port: PortNo, frame: &[u8]) {
        if self.takeover.waits() {
            self.takeover.came(self.clock.now());
        }
        let fill = &mut |buffer: &mut [u8]| buffer.copy_from_slice(frame);
        self.software.take((port, brain.generation(), now), frame.len(), fill);
    }

    /// Lets card and host work until neither has anything to do, and sends what left.
    pub(crate) fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        decide(now, &mut self.software, brain, ports);
        if let Some(told) = self.takeover.first() {
            brain.events.event(now, told);
        }
        self.watch(now, brain, ports);
        let mut moved = true;
        for _ in 0..EXCHANGES_MAX {
            moved = self.exchange(now, brain, ports);
            if !moved {
                break;
            }
        }
        self.due = if moved { now } else { now.after(LOOK) };
    }

    /// When to look at the card, or for it, again.
    pub(crate) const fn next_event(&self) -> Time {
        self.due
    }

    /// Whether no frame is known to be inside.
    pub(crate) fn is_idle(&self) -> bool {
        !self.software.is_waiting() && self.host.is_idle()
    }

    /// Name and health of the card.
    pub(crate) fn describe(&mut self, now: Time) -> (String, String) {
        let (name, health) = self.host.describe(now);
        match self.presence {
            Presence::Gone { .. } => (name, "gone".to_owned()),
            Presence::Starting | Presence::Here | Presence::Rising => (name, health),
        }
    }

    /// What became of the packets received, by card and standby wires.
    pub(crate) fn fates(&self, received: u64) -> Fates {
        let card = self.odometer.sum(PortRegister::Decided);
        let mut fates = Fates {
            card: Some(card),
            software: self.software.decided(),
            dropped: self.software.tally.dropped,
            ..Fates::default()
        };
        let too_long = self.odometer.sum(PortRegister::RxTooLong);
        fates.lose("mtu_in", too_long + self.software.tally.mtu_in);
        fates.lose("malformed", self.software.tally.malformed);
        fates.lose("ring_full", self.odometer.sum(PortRegister::RxOverrun));
        fates.lose("port_refused", self.odometer.sum(PortRegister::RxRefused));
        fates.lose("no_buffer", self.software.tally.no_buffer);
        fates.lose("card_gone", self.losses);
        fates.lose("restart", self.restart_losses);
        fates.hold_rest(received);
        fates
    }

    /// Frames that should have gone out of the port at `index` and did not.
    pub(crate) fn send_dropped(&self, index: usize) -> u64 {
        self.odometer.read(index, PortRegister::TxTooLong)
            + self.odometer.read(index, PortRegister::TxOverrun)
            + self.host.dropped_at(self.numbers[index])
    }

    /// Sweeps until every counter is as of `now` or later, and returns the time then.
    pub(crate) fn sweep_all(&mut self, now: Time, brain: &mut Brain) -> Time {
        let deadline = now.after(PATIENCE);
        let mut at = now;
        while at < deadline && matches!(self.presence, Presence::Here) && self.bus.is_connected() {
            if let Some(sweep) = self.host.sweep(at, brain) {
                brain.settle(at, Some(&mut self.software));
                if sweep.complete && sweep.as_of >= now {
                    return at;
                }
            }
            self.bus.wait_interrupt(LOOK);
            at = self.clock.now();
            self.host.poll(at, &mut self.software, brain);
            self.host.serve(at, &mut self.software, brain);
        }
        brain.events.error(at, "no final sweep of the card's counters".into());
        at
    }

    /// Notices that the card is gone, or back.
    fn watch(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        match &mut self.presence {
            Presence::Starting | Presence::Here | Presence::Rising => {
                let dead = matches!(self.host.nic.health(now), Health::Dead(_));
                if dead || !self.bus.is_connected() {
                    self.lose(now, brain, ports);
                    return;
                }
                self.takeover.look(now, self.bus.read32(HEARTBEAT.offset));
                if matches!(self.presence, Presence::Here) {
                    self.count(ports);
                }
            }
            Presence::Gone { attempt, retry, pause } => match attempt {
                Some(running) if !running.is_finished() => {}
                Some(_) => {
                    let ended = attempt.take().map(JoinHandle::join);
                    match ended {
                        Some(Ok(Ok(()))) => self.rise(now, brain),
                        Some(Ok(Err(error))) => tracing::debug!("{error}"),
                        Some(Err(_)) | None => {}
                    }
                }
                None if now >= *retry => {
                    *retry = now.after(*pause);
                    *pause = (*pause * 2).min(PAUSES.1);
                    let bus = Arc::clone(&self.bus);
                    *attempt = Some(std::thread::spawn(move || bus.connect()));
                }
                None => {}
            },
        }
    }

    /// The card is gone: standby wires take over.
    fn lose(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        let was_here = matches!(self.presence, Presence::Here | Presence::Starting);
        let found = self.takeover.found(self.clock.now());
        self.count_last(ports);
        // A process that is gone is no failure of its card; one that serves a dead card is.
        let rest =
            if self.bus.is_connected() { self.host.give_up(now, brain) } else { Duration::ZERO };
        let received = ports.lines().iter().map(|line| line.received.packets).sum();
        self.losses += self.fates(received).held;
        self.bus.disconnect();
        self.forget(now, brain);
        brain.begin_changes();
        // The driver sees a function that is gone, and ends what it was asked for.
        for _ in 0..EXCHANGES_MAX {
            if matches!(self.host.nic.health(now), Health::Dead(_)) {
                break;
            }
            self.host.poll(now, &mut self.software, brain);
        }
        self.host.let_be();
        self.host.drop_queues(&mut self.software);
        brain.wants.reset = None;
        brain.operations.clear();
        brain.settle(now, Some(&mut self.software));
        let path = self.bus.path().display();
        brain.events.error(now, format!("{path}: the card is gone, {found}"));
        if was_here {
            self.standby.open(now, brain, ports);
            brain.events.event(now, self.takeover.opened(self.clock.now()));
        }
        self.presence = Presence::Gone { attempt: None, retry: now.after(rest), pause: PAUSES.0 };
    }

    /// A connection is there: the driver brings the card up.
    fn rise(&mut self, now: Time, brain: &mut Brain) {
        let path = self.bus.path().display();
        brain.events.event(now, format!("{path}: the card is back"));
        self.presence = Presence::Rising;
        self.give(now, brain);
        self.host.reset_now(now, brain);
    }

    /// The card's failures and whether it is trusted.
    pub(crate) const fn recovery(&self) -> &Recovery {
        self.host.recovery()
    }

    /// Does what somebody wants of the card, or will when it is back; `false` when it cannot.
    pub(crate) fn obey(&mut self, now: Time, order: Order, brain: &mut Brain) -> bool {
        if matches!(self.presence, Presence::Here) && self.bus.is_connected() {
            self.host.obey(now, order, &mut self.software, brain);
            return true;
        }
        if let Presence::Gone { retry, .. } = &mut self.presence {
            *retry = now.min(*retry);
        }
        self.host.bear_in_mind(order)
    }

    /// The card is up: frames come through it from now on.
    fn arrive(&mut self, brain: &mut Brain, ports: &mut Ports) {
        if matches!(std::mem::replace(&mut self.presence, Presence::Here), Presence::Rising) {
            self.end_standby(brain, ports);
        }
    }

    /// Takes what the standby wires still hold, closes them, and ignores what the card received
    /// until then, for it came both ways.
    fn end_standby(&mut self, brain: &mut Brain, ports: &mut Ports) {
        let now = self.clock.now();
        self.odometer.begin(&self.registers);
        self.standby.drain(now, &mut self.software, brain, ports);
        self.standby.close(ports);
        let since = now.0.saturating_sub(u64::try_from(OVERLAP.as_nanos()).unwrap_or(u64::MAX));
        self.host.take_since(Time(since));
        let misses = |host: &Host<_>, port: &PortNo| host.misses(*port).refused;
        let before: Vec<_> = self.numbers.iter().map(|port| misses(&self.host, port)).collect();
        for _ in 0..EXCHANGES_MAX {
            if !self.host.serve(now, &mut self.software, brain) {
                break;
            }
        }
        for (index, (port, before)) in self.numbers.iter().zip(before).enumerate() {
            self.odometer.disown(index, misses(&self.host, port) - before);
        }
        // What comes now is new, or so late that to take it twice is better than not at all.
        self.host.take_since(Time::default());
    }

    /// Takes the card's counters of its ports over.
    fn count(&mut self, ports: &mut Ports) {
        self.count_by(ports, Odometer::look);
    }

    /// Counts what the card is known to have received when it cannot be asked any more.
    fn count_last(&mut self, ports: &mut Ports) {
        let to_host = |host: &Host<_>, port: &PortNo| host.misses(*port).taken;
        let taken: Vec<_> = self.numbers.iter().map(|port| to_host(&self.host, port)).collect();
        self.count_by(ports, |odometer, _| {
            taken.iter().enumerate().for_each(|(index, taken)| odometer.end(index, *taken));
        });
    }

    fn count_by(
        &mut self,
        ports: &mut Ports,
        look: impl FnOnce(&mut Odometer, &Registers<RemoteBus>),
    ) {
        let before: Vec<_> = (0..self.numbers.len()).map(|index| self.passed(index)).collect();
        look(&mut self.odometer, &self.registers);
        for (index, (received, sent)) in before.into_iter().enumerate() {
            let (received_now, sent_now) = self.passed(index);
            let received = received_now.since(received).unwrap_or_default();
            ports.count(index, received, sent_now.since(sent).unwrap_or_default());
        }
    }

    /// Frames the card received from and sent out of a port.
    fn passed(&self, index: usize) -> (Counts, Counts) {
        let read = |counter| self.odometer.read(index, counter);
        let counts = |packets, bytes| Counts { packets: read(packets), bytes: read(bytes) };
        let refused = Counts { packets: read(PortRegister::RxRefused), bytes: 0 };
        (
            counts(PortRegister::RxPackets, PortRegister::RxBytes) + refused,
            counts(PortRegister::TxPackets, PortRegister::TxBytes),
        )
    }

    /// One exchange between card and host; whether anything moved.
    fn exchange(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) -> bool {
        if matches!(self.presence, Presence::Gone { .. }) {
            // A card begins empty when it is back.
            brain.wants.reset = None;
            brain.operations.clear();
            brain.settle(now, Some(&mut self.software));
            return false;
        }
        let polled = self.host.poll(now, &mut self.software, brain);
        if polled == Polled::Up {
            self.succeed(now, brain, ports);
            self.arrive(brain, ports);
        }
        if !self.bus.is_connected() {
            // The next look gives it up: its process is gone.
            brain.wants.reset = None;
            return false;
        }
        let saved = self.save_if_due(now, brain, ports);
        let rising = matches!(self.presence, Presence::Rising);
        if rising && matches!(self.host.nic.health(now), Health::Dead(_)) {
            // The next look gives it up; a reset would only take longer.
            brain.wants.reset = None;
            return false;
        }
        let served = self.host.serve(now, &mut self.software, brain);
        served || polled != Polled::Nothing || (saved && brain.awaits_save())
    }
}

/// How the driver is set up, and its bytes of DMA memory.
fn driver_settings(config: &Config) -> (Settings, usize) {
    let mirror_sample = config.shadow.sample;
    let settings = Settings {
        queues: config.workers,
        mirror_sample,
        standstill: config.standstill,
        ..Settings::default()
    };
    let arena = dma_bytes(&settings, &config.ports, CAPACITY_MAX);
    (settings, arena)
}
