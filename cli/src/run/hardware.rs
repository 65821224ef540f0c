//! Device `vfio:…`: a real card, its driver, software behind it, and standby wires for when its
//! function is gone or dead.

mod heir;
mod start;

pub(crate) use start::Start;

use super::attach::{Attached, attach};
use super::brain::Brain;
use super::forwarder::{Fates, decide};
use super::host::{Host, Order, Polled};
use super::keeping::Keeping;
use super::ports::Ports;
use super::recovery::{Limits, Recovery};
use super::software::Software;
use super::standby::Standby;
use crate::clock::Clock;
use crate::config::Config;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{DeathCause, Event, Health};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic;
use twinpath_host_driver::pci::Address;
use twinpath_host_driver::rocker::Ipv4Header;
use twinpath_host_driver::vfio::{Function, Notice};
use twinpath_offload::io::Input;

/// Exchanges between card and host at one point in time; what is left waits for the next.
const EXCHANGES_MAX: usize = 64;

/// How often an idle card is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// Bring-up and final sweeps end by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a function that is gone is looked for.
const RETRY: Duration = Duration::from_secs(1);

/// The card, its driver, and software.
#[derive(Debug)]
pub(crate) struct HardwarePath {
    /// The software path behind the card.
    pub software: Software,
    address: Address,
    ports: Arc<PortTable>,
    ipv4_header: Ipv4Header,
    numbers: Vec<PortNo>,
    held: Option<Held>,
    standby: Standby,
    /// When to look again: at the card, or for it.
    due: Time,
    limits: Limits,
    /// What is kept for a next process.
    keeping: Option<Keeping>,
}

/// What is held of a card that is there. The driver goes before the function it drives.
#[derive(Debug)]
struct Held {
    host: Host<dyn SmartNic>,
    function: Arc<Function>,
}

impl Held {
    fn new(attached: Attached, recovery: Recovery) -> Self {
        let mut host = Host::new(attached.nic);
        host.set_recovery(recovery);
        Self { host, function: attached.function }
    }
}

/// Why the card did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The driver gave it up.
    #[error("{address}: the card did not come up: {cause}")]
    Dead {
        /// Where.
        address: Address,
        /// Why.
        cause: DeathCause,
    },
    /// It did not answer.
    #[error("{address}: the card did not come up within {} s", PATIENCE.as_secs())]
    Silent {
        /// Where.
        address: Address,
    },
}

impl HardwarePath {
    /// The card at `address`; [`HardwarePath::bring_up`] comes next. `run`: when it began, and the
    /// digest of its rule file.
    pub(crate) fn new(
        address: Address,
        config: &Config,
        software: Software,
        start: Start,
        run: (Time, u64),
    ) -> Self {
        let (ports, ipv4_header) = (Arc::clone(&config.ports), config.ipv4_header);
        let limits = config.recovery;
        let held = Some(Held::new(start.attached, Recovery::new(limits)));
        let numbers = ports.physical().map(|port| port.number).collect();
        let standby = Standby::new(config);
        let due = Time::default();
        let mut path = Self {
            software,
            address,
            ports,
            ipv4_header,
            numbers,
            held,
            standby,
            due,
            limits,
            keeping: None,
        };
        path.inherit(start.heritage, config, run);
        path
    }

    /// Takes a frame that arrived on a port's standby wire.
    pub(crate) fn take(&mut self, now: Time, brain: &Brain, port: PortNo, frame: &[u8]) {
        let fill = &mut |buffer: &mut [u8]| buffer.copy_from_slice(frame);
        self.software.take((port, brain.generation(), now), frame.len(), fill);
    }

    /// Waits until the card is up, and returns the time then.
    ///
    /// # Errors
    /// The driver gave it up.
    pub(crate) fn bring_up(
        &mut self,
        clock: &Clock,
        brain: &mut Brain,
        ports: &Ports,
    ) -> Result<Time, StartError> {
        let address = self.address;
        let mut now = clock.now();
        self.give(now, brain);
        let deadline = now.after(PATIENCE);
        while now < deadline {
            self.exchange(now, brain, ports);
            let Some(held) = &mut self.held else { break };
            match held.host.nic.health(now) {
                Health::Good => return Ok(now),
                Health::Dead(cause) => return Err(StartError::Dead { address, cause }),
                // Whether something came or the time passed makes no difference.
                Health::Starting | Health::Bypass => _ = held.function.wait_interrupt(LOOK),
            }
            now = clock.now();
        }
        Err(StartError::Silent { address })
    }

    /// Lets card and host work until neither has anything to do.
    pub(crate) fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        decide(now, &mut self.software, brain, ports);
        self.heed_notice(now, brain);
        if self.held.is_none() && now >= self.due {
            self.look_for_it(now, brain);
        }
        self.change_over(now, brain, ports);
        let mut moved = true;
        for _ in 0..EXCHANGES_MAX {
            moved = self.exchange(now, brain, ports);
            if !moved {
                break;
            }
        }
        if self.held.is_some() {
            self.due = if moved { now } else { now.after(LOOK) };
        }
    }

    /// When to look at the card, or for it, again.
    pub(crate) const fn next_event(&self) -> Time {
        self.due
    }

    /// Whether no frame is known to be inside.
    pub(crate) fn is_idle(&self) -> bool {
        !self.software.is_waiting() && self.held.as_ref().is_none_or(|held| held.host.is_idle())
    }

    /// Name and health of the card.
    pub(crate) fn describe(&mut self, now: Time) -> (String, String) {
        match &mut self.held {
            Some(held) => held.host.describe(now),
            None => (self.address.to_string(), "gone".to_owned()),
        }
    }

    /// What became of the packets that came to software; of the others nothing is known.
    pub(crate) fn fates(&self) -> Fates {
        let mut fates = Fates {
            card: None,
            software: self.software.decided(),
            dropped: self.software.tally.dropped,
            ..Fates::default()
        };
        fates.lose("mtu_in", self.software.tally.mtu_in);
        fates.lose("malformed", self.software.tally.malformed);
        fates.lose("no_buffer", self.software.tally.no_buffer);
        fates
    }

    /// Frames that software should have sent out of the port at `index` and could not.
    pub(crate) fn send_dropped(&self, index: usize) -> u64 {
        self.held.as_ref().map_or(0, |held| held.host.dropped_at(self.numbers[index]))
    }

    /// Reads what counters the card has.
    pub(crate) fn sweep_all(&mut self, now: Time, brain: &mut Brain) -> Time {
        if let Some(held) = &mut self.held {
            held.host.sweep(now, brain);
            brain.settle(now, Some(&mut self.software));
        }
        now
    }

    /// One exchange between card and host; whether anything moved.
    fn exchange(&mut self, now: Time, brain: &mut Brain, ports: &Ports) -> bool {
        let Some(held) = &mut self.held else {
            // The card begins empty when it is back.
            brain.wants.reset = None;
            brain.operations.clear();
            brain.settle(now, Some(&mut self.software));
            return false;
        };
        let polled = held.host.poll(now, &mut self.software, brain);
        if polled == Polled::Up {
            self.succeed(now, brain);
        }
        let saved = self.save_if_due(now, brain, ports);
        let Some(held) = &mut self.held else { return false };
        let served = held.host.serve(now, &mut self.software, brain);
        served || polled != Polled::Nothing || (saved && brain.awaits_save())
    }

    /// Lets go of a function that is being removed: the kernel waits for it.
    fn heed_notice(&mut self, now: Time, brain: &mut Brain) {
        let notice = self.held.as_ref().and_then(|held| held.function.poll_notice());
        match notice {
            Some(Notice::RemovalRequested) => {
                brain.events.error(now, format!("{}: being removed, let go of", self.address));
                self.let_go(now, brain);
            }
            Some(Notice::DeviceError) => {
                brain.events.error(now, format!("{}: reported an error", self.address));
                brain.tell(now, Input::Card(Event::Dead(DeathCause::AllOnes)));
            }
            None => {}
        }
    }

    /// The card's failures and whether it is trusted; `None` when it is gone.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.held.as_ref().map(|held| held.host.recovery())
    }

    /// Does what somebody wants of the card; `false` when it is gone.
    pub(crate) fn obey(&mut self, now: Time, order: Order, brain: &mut Brain) -> bool {
        let Some(held) = &mut self.held else { return false };
        held.host.obey(now, order, &mut self.software, brain);
        true
    }

    /// Opens the standby wires when the card is gone or dead, closes them when it is good again.
    fn change_over(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        let health = self.held.as_mut().map(|held| held.host.nic.health(now));
        match health {
            None | Some(Health::Dead(_)) if !self.standby.is_open() => {
                self.standby.open(now, brain, ports);
            }
            Some(Health::Good | Health::Bypass) if self.standby.is_open() => {
                self.standby.drain(now, &mut self.software, brain, ports);
                self.standby.close(ports);
                brain.events.event(now, format!("{}: forwards again", self.address));
            }
            _ => {}
        }
    }

    fn let_go(&mut self, now: Time, brain: &mut Brain) {
        if let Some(mut held) = self.held.take() {
            held.host.drop_queues(&mut self.software);
            brain.operations.clear();
            brain.tell(now, Input::Card(Event::Dead(DeathCause::Removed)));
            drop(held);
            self.forget(now, brain);
        }
        self.due = now.after(RETRY);
    }

    /// Takes the card again when it is back.
    fn look_for_it(&mut self, now: Time, brain: &mut Brain) {
        self.due = now.after(RETRY);
        match attach(self.address, &self.ports, self.ipv4_header) {
            Ok(attached) => {
                brain.events.event(now, format!("{}: is back", self.address));
                self.held = Some(Held::new(attached, Recovery::new(self.limits)));
                self.give(now, brain);
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}
