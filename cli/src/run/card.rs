//! Device `sim`: the simulated card in this process, its driver, and software behind it.

use super::brain::Brain;
use super::forwarder::Fates;
use super::host::{Host, Order, Polled};
use super::ports::Ports;
use super::recovery::{Limits, Recovery};
use super::registers::{PortRegister, Registers};
use super::software::Software;
use std::sync::Arc;
use std::time::Duration;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_flow::card::Health;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic as _;
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_hw_sim::{Card, Profile};

/// Exchanges between card and host at one point in time; what is left waits for the next.
const EXCHANGES_MAX: usize = 64;

/// How far time moves when only the card's own work is waited for.
const STEP: Duration = Duration::from_micros(1);

/// Bring-up and final sweeps end by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// The card, its driver, and software.
#[derive(Debug)]
pub struct CardPath {
    /// The software path behind the card.
    pub software: Software,
    card: Card<SharedMemory>,
    registers: Registers<SharedMemory>,
    host: Host<Twin<SharedMemory>>,
    /// Port numbers by the card's index.
    numbers: Vec<PortNo>,
    /// Frames that were inside the card when it was reset.
    reset_losses: u64,
}

/// Why the simulated card did not come up.
#[derive(Debug, thiserror::Error)]
#[error("the simulated card did not come up: {0}")]
pub struct BringUpError(String);

impl CardPath {
    /// A card of that profile with a driver for `ports`, so many queues, and one in so many frames
    /// mirrored; [`CardPath::bring_up`] comes next.
    pub fn new(
        profile: Profile,
        ports: &PortTable,
        (workers, mirror_sample): (u16, u32),
        software: Software,
        now: Time,
    ) -> Self {
        let settings = Settings { queues: workers, mirror_sample, ..Settings::default() };
        let arena = dma_bytes(&settings, ports, profile.capacity());
        let memory = SharedMemory::new(BAR_BYTES, arena, workers + 1);
        let numbers: Vec<PortNo> = ports.physical().map(|port| port.number).collect();
        let card = Card::new(profile, memory.clone());
        let bus = Arc::new(memory);
        let nic = Twin::attach(Arc::clone(&bus), ports.clone(), settings, now);
        Self {
            software,
            registers: Registers::new(bus, numbers.len()),
            card,
            host: Host::new(Box::new(nic)),
            numbers,
            reset_losses: 0,
        }
    }

    /// Steps the card until it is up, and returns the time then.
    ///
    /// # Errors
    /// The driver gave it up.
    pub fn bring_up(&mut self, now: Time, brain: &mut Brain) -> Result<Time, BringUpError> {
        let mut at = now;
        let deadline = now.after(PATIENCE);
        while at < deadline {
            self.exchange(at, brain);
            match self.host.nic.health(at) {
                Health::Good => return Ok(at),
                Health::Dead(cause) => {
                    let failure = self.host.nic.failure().map(ToString::to_string);
                    return Err(BringUpError(failure.unwrap_or_else(|| cause.to_string())));
                }
                Health::Starting | Health::Bypass => at = at.after(STEP),
            }
        }
        Err(BringUpError("no answer in time".into()))
    }

    /// Puts up with so much failing of the card.
    pub fn set_recovery(&mut self, limits: Limits) {
        self.host.set_recovery(Recovery::new(limits));
    }

    /// The card's failures and whether it is trusted.
    pub const fn recovery(&self) -> &Recovery {
        self.host.recovery()
    }

    /// Does what somebody wants of the card.
    pub(crate) fn obey(&mut self, now: Time, order: Order, brain: &mut Brain) {
        self.host.obey(now, order, &mut self.software, brain);
    }

    /// Trusts the card again, whatever it did, and resets it.
    pub fn resume(&mut self, now: Time, brain: &mut Brain) {
        self.obey(now, Order::Resume, brain);
    }

    /// The simulated card itself, for those who make it fail.
    pub const fn device(&mut self) -> &mut Card<SharedMemory> {
        &mut self.card
    }

    /// Takes a frame that arrived on a port's wire.
    pub fn take(&mut self, now: Time, port: PortNo, frame: &[u8]) {
        if let Ok(index) = self.numbers.binary_search(&port) {
            self.card.port_in(index, frame, now.0);
        }
    }

    /// Lets card and host work until neither has anything to do at `now`, and sends what left.
    pub fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        for _ in 0..EXCHANGES_MAX {
            if !self.exchange(now, brain) {
                break;
            }
        }
        for (index, port) in self.numbers.iter().enumerate() {
            while let Some(frame) = self.card.port_out(index) {
                ports.send(*port, &frame, now);
                self.card.recycle(frame);
            }
        }
    }

    /// When something inside happens by itself.
    pub fn next_event(&self) -> Option<Time> {
        let card = self.card.next_event().map(Time);
        [card, self.host.next_event()].into_iter().flatten().min()
    }

    /// Whether no frame is inside.
    pub fn is_idle(&self) -> bool {
        self.card.next_event().is_none()
            && self.card.held() == 0
            && !self.software.is_waiting()
            && self.host.is_idle()
    }

    /// Name and health of the card.
    pub fn describe(&mut self, now: Time) -> (String, String) {
        self.host.describe(now)
    }

    /// How the card is.
    pub fn health(&mut self, now: Time) -> Health {
        self.host.nic.health(now)
    }

    /// What became of the packets that went into the card.
    pub fn fates(&self, received: u64) -> Fates {
        let mut fates = Fates {
            card: Some(self.registers.sum(PortRegister::Decided)),
            software: self.software.decided(),
            dropped: self.software.tally.dropped,
            ..Fates::default()
        };
        let too_long = self.registers.sum(PortRegister::RxTooLong);
        fates.lose("mtu_in", too_long + self.software.tally.mtu_in);
        fates.lose("malformed", self.software.tally.malformed);
        fates.lose("ring_full", self.registers.sum(PortRegister::RxOverrun));
        fates.lose("port_refused", self.registers.sum(PortRegister::RxRefused));
        fates.lose("no_buffer", self.software.tally.no_buffer);
        fates.lose("card_reset", self.reset_losses);
        fates.hold_rest(received);
        fates
    }

    /// Frames that the card should have sent out of the port at `index` and did not.
    pub fn send_dropped(&self, index: usize) -> u64 {
        self.registers.read(index, PortRegister::TxTooLong)
            + self.registers.read(index, PortRegister::TxOverrun)
            + self.host.dropped_at(self.numbers[index])
    }

    /// Sweeps until every counter is as of later than `now`, and returns the time then: a sweep of this
    /// very moment may be older than its last frame.
    pub fn sweep_all(&mut self, now: Time, brain: &mut Brain) -> Time {
        let deadline = now.after(PATIENCE);
        let mut at = now;
        while at < deadline && matches!(self.host.nic.health(at), Health::Good | Health::Bypass) {
            if let Some(sweep) = self.host.sweep(at, brain) {
                brain.settle(at, Some(&mut self.software));
                if sweep.complete && sweep.as_of > now {
                    return at;
                }
            }
            at = at.after(STEP);
            self.exchange(at, brain);
        }
        brain.events.error(at, "no final sweep of the card's counters".into());
        at
    }

    /// One exchange between card and host; whether anything moved.
    fn exchange(&mut self, now: Time, brain: &mut Brain) -> bool {
        self.card.step(now.0);
        let polled = self.host.poll(now, &mut self.software, brain);
        if polled == Polled::Up {
            self.count_reset_losses();
        }
        let moved = self.host.serve(now, &mut self.software, brain);
        moved || polled != Polled::Nothing
    }

    /// What was inside a card before it came up anew and is not any more is lost.
    fn count_reset_losses(&mut self) {
        // Refused ones are not among the received, but among those of known fate.
        let refused = self.registers.sum(PortRegister::RxRefused);
        let received = self.registers.sum(PortRegister::RxPackets) + refused;
        let inside = self.fates(received).held;
        let alive = self.card.delivered() + self.card.held() as u64;
        self.reset_losses += inside.saturating_sub(alive);
    }
}

#[cfg(test)]
mod failures;
#[cfg(test)]
mod tests;
