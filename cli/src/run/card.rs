//! Device `sim`: the simulated card in this process, its driver, and software behind it.

use super::brain::Brain;
use super::forwarder::Fates;
use super::ports::Ports;
use super::registers::{PortRegister, Registers};
use super::software::{BURST_MAX, Sent, Software};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_fallback::Packet;
use twinpath_flow::card::{Event, Fence, Health, Reason, RxMeta};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic, TxFrame};
use twinpath_host_driver::twin::{Settings, Twin, dma_bytes};
use twinpath_hw_sim::{Card, Profile};
use twinpath_offload::io::Input;

/// Exchanges between card and host at one point in time; what is left waits for the next.
const EXCHANGES_MAX: usize = 64;

/// How far time moves when only the card's own work is waited for.
const STEP: Duration = Duration::from_micros(1);

/// Bring-up and final sweeps end by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a sweep that is wanted is looked for.
const SWEEP_RETRY: Duration = Duration::from_micros(50);

/// The card, its driver, and software.
#[derive(Debug)]
pub(crate) struct CardPath {
    /// The software path behind the card.
    pub software: Software,
    card: Card<SharedMemory>,
    registers: Registers,
    nic: Twin<SharedMemory>,
    lanes: Vec<Lane>,
    /// Port numbers by the card's index.
    numbers: Vec<PortNo>,
    events: Vec<Event>,
    fence: Fence,
    sweep_retry: Option<Time>,
    /// Frames that were inside the card when it was reset.
    reset_losses: u64,
}

/// A queue pair and what waits to be sent through it.
struct Lane {
    queue: Box<dyn CardQueue>,
    waiting: VecDeque<(PortNo, Packet)>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.index();
        formatter.debug_struct("Lane").field("queue", &queue).finish_non_exhaustive()
    }
}

/// Why the simulated card did not come up.
#[derive(Debug, thiserror::Error)]
#[error("the simulated card did not come up: {0}")]
pub(crate) struct BringUpError(String);

impl CardPath {
    /// A card of that profile with a driver for `ports`; [`CardPath::bring_up`] comes next.
    pub(crate) fn new(
        profile: Profile,
        ports: &PortTable,
        workers: u16,
        software: Software,
        now: Time,
    ) -> Self {
        let settings = Settings { queues: workers, ..Settings::default() };
        let arena = dma_bytes(&settings, ports, profile.capacity());
        let memory = SharedMemory::new(BAR_BYTES, arena, workers + 1);
        let numbers: Vec<PortNo> = ports.physical().map(|port| port.number).collect();
        let card = Card::new(profile, memory.clone());
        let nic = Twin::attach(Arc::new(memory.clone()), ports.clone(), settings, now);
        Self {
            software,
            registers: Registers::new(memory, numbers.len()),
            card,
            nic,
            lanes: Vec::new(),
            numbers,
            events: Vec::new(),
            fence: Fence::default(),
            sweep_retry: None,
            reset_losses: 0,
        }
    }

    /// Steps the card until it is up, and returns the time then.
    ///
    /// # Errors
    /// The driver gave it up.
    pub(crate) fn bring_up(&mut self, now: Time, brain: &mut Brain) -> Result<Time, BringUpError> {
        let mut at = now;
        let deadline = now.after(PATIENCE);
        while at < deadline {
            self.exchange(at, brain);
            match self.nic.health(at) {
                Health::Good => return Ok(at),
                Health::Dead(cause) => {
                    let failure = self.nic.failure().map(ToString::to_string);
                    return Err(BringUpError(failure.unwrap_or_else(|| cause.to_string())));
                }
                Health::Starting | Health::Bypass => at = at.after(STEP),
            }
        }
        Err(BringUpError("no answer in time".into()))
    }

    /// Takes a frame that arrived on a port's wire.
    pub(crate) fn take(&mut self, now: Time, port: PortNo, frame: &[u8]) {
        if let Ok(index) = self.numbers.binary_search(&port) {
            self.card.port_in(index, frame, now.0);
        }
    }

    /// Lets card and host work until neither has anything to do at `now`, and sends what left.
    pub(crate) fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
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
    pub(crate) fn next_event(&self) -> Option<Time> {
        let card = self.card.next_event().map(Time);
        [card, self.sweep_retry].into_iter().flatten().min()
    }

    /// Whether no frame is inside.
    pub(crate) fn is_idle(&self) -> bool {
        self.card.next_event().is_none()
            && self.card.held() == 0
            && !self.software.is_waiting()
            && self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Name and health of the card.
    pub(crate) fn describe(&mut self, now: Time) -> (String, String) {
        let health = match self.nic.health(now) {
            Health::Good => "good".to_owned(),
            Health::Bypass => "bypass".to_owned(),
            Health::Starting => "starting".to_owned(),
            Health::Dead(cause) => format!("dead: {cause}"),
        };
        (self.nic.capabilities().card.clone(), health)
    }

    /// What became of the packets that went into the card.
    pub(crate) fn fates(&self, received: u64) -> Fates {
        let mut fates = Fates {
            card: self.registers.sum(PortRegister::Decided),
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
        let lost: u64 = fates.lost.iter().map(|(_, count)| count).sum();
        fates.held = received.saturating_sub(fates.card + fates.software + lost);
        fates
    }

    /// Frames that the card should have sent out of the port at `index` and did not.
    pub(crate) fn send_dropped(&self, index: usize) -> u64 {
        self.registers.read(index, PortRegister::TxTooLong)
            + self.registers.read(index, PortRegister::TxOverrun)
            + self.registers.dropped_at(self.numbers[index])
    }

    /// Sweeps until every counter is as of `now` or later, and returns the time then.
    pub(crate) fn sweep_all(&mut self, now: Time, brain: &mut Brain) -> Time {
        let deadline = now.after(PATIENCE);
        let mut at = now;
        while at < deadline && matches!(self.nic.health(at), Health::Good | Health::Bypass) {
            if let Some(sweep) = self.nic.sweep_counters(at, &mut brain.engine) {
                brain.tell(at, Input::Swept(sweep));
                brain.settle(at, Some(&mut self.software));
                if sweep.complete && sweep.as_of >= now {
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
        let mut moved = self.take_events(now, brain);
        for index in 0..self.lanes.len() {
            moved |= self.serve_lane(index, now, brain);
        }
        moved |= self.tell_fence(now, brain);
        brain.settle(now, Some(&mut self.software));
        moved |= self.submit(now, brain);
        moved | self.sweep(now, brain)
    }

    fn take_events(&mut self, now: Time, brain: &mut Brain) -> bool {
        let mut events = std::mem::take(&mut self.events);
        self.nic.poll(now, &mut events);
        let moved = !events.is_empty();
        for event in events.drain(..) {
            match event {
                Event::Up(epoch) => {
                    self.adopt_queues();
                    let capabilities = Arc::new(self.nic.capabilities().clone());
                    let generation = brain.generation_in_force();
                    brain.tell(now, Input::CardUp { capabilities, epoch, generation });
                }
                Event::Dead(_) => {
                    brain.operations.clear();
                    brain.tell(now, Input::Card(event));
                }
                event => brain.tell(now, Input::Card(event)),
            }
        }
        self.events = events;
        moved
    }

    /// Takes the queues of a card that came up; what was inside before is lost, if anything was.
    fn adopt_queues(&mut self) {
        let received = self.registers.sum(PortRegister::RxPackets);
        let inside = self.fates(received).held;
        self.fence = Fence::default();
        for mut lane in self.lanes.drain(..) {
            for (port, packet) in lane.waiting.drain(..) {
                self.registers.drop_at(port);
                self.software.pool.give(packet);
            }
        }
        let queues = self.nic.take_queues().into_iter();
        self.lanes.extend(queues.map(|queue| Lane { queue, waiting: VecDeque::new() }));
        let alive = self.registers.delivered(self.lanes.len()) + self.card.held() as u64;
        self.reset_losses += inside.saturating_sub(alive);
    }

    /// Takes misses of one queue, decides them, and sends what comes of them.
    fn serve_lane(&mut self, index: usize, now: Time, brain: &mut Brain) -> bool {
        let lane = &mut self.lanes[index];
        let mut intake = Intake { software: &mut self.software, scratch: Vec::new() };
        let taken = lane.queue.rx_burst(BURST_MAX, &mut intake).unwrap_or_else(|cause| {
            brain.events.error(now, format!("queue {index}: {cause}"));
            brain.tell(now, Input::Card(Event::Dead(cause)));
            0
        });
        if self.software.is_waiting() {
            let waiting = &mut lane.waiting;
            let registers = &mut self.registers;
            self.software.process(now, brain, &mut |_, sent| match sent {
                Sent::Frame(port, packet) => waiting.push_back((port, packet)),
                Sent::Dropped(port) => registers.drop_at(port),
            });
        }
        let sent = lane.send();
        for _ in 0..sent {
            if let Some((_, packet)) = lane.waiting.pop_front() {
                self.software.pool.give(packet);
            }
        }
        taken > 0 || sent > 0
    }

    /// Tells the engine how far misses were processed and sent.
    fn tell_fence(&mut self, now: Time, brain: &mut Brain) -> bool {
        let mut fence = self.fence;
        for lane in self.lanes.iter().filter(|lane| lane.waiting.is_empty()) {
            if let Some(delivered) = fence.delivered.get_mut(lane.queue.index()) {
                *delivered = lane.queue.delivered();
            }
        }
        let moved = fence != self.fence;
        if moved {
            self.fence = fence;
            brain.tell(now, Input::Fence(fence));
        }
        moved
    }

    fn submit(&mut self, now: Time, brain: &mut Brain) -> bool {
        if let Some(cause) = brain.wants.reset.take() {
            brain.operations.clear();
            brain.events.error(now, format!("card is reset: {cause}"));
            if let Err(error) = self.nic.reset(now) {
                brain.events.error(now, format!("card reset: {error}"));
            }
            return true;
        }
        if brain.operations.is_empty() {
            return false;
        }
        let accepted = self.nic.submit(now, brain.operations.make_contiguous());
        brain.operations.drain(..accepted);
        accepted > 0
    }

    fn sweep(&mut self, now: Time, brain: &mut Brain) -> bool {
        if !brain.wants.sweep || self.sweep_retry.is_some_and(|due| now < due) {
            return false;
        }
        let Some(sweep) = self.nic.sweep_counters(now, &mut brain.engine) else {
            self.sweep_retry = Some(now.after(SWEEP_RETRY));
            return false;
        };
        brain.wants.sweep = false;
        self.sweep_retry = None;
        brain.tell(now, Input::Swept(sweep));
        true
    }
}

impl Lane {
    /// Puts what waits into the transmit ring and returns how many frames it took.
    fn send(&mut self) -> usize {
        let mut total = 0;
        loop {
            let mut frames = [TxFrame { port: PortNo(0), data: &[] }; BURST_MAX];
            let mut count = 0;
            for (slot, (port, packet)) in frames.iter_mut().zip(self.waiting.iter().skip(total)) {
                *slot = TxFrame { port: *port, data: packet.frame() };
                count += 1;
            }
            let sent = self.queue.tx_burst(&frames[..count]);
            total += sent;
            // Ends: nothing is left, or the ring is full.
            if sent == 0 || sent < count {
                return total;
            }
        }
    }
}

/// Hands received frames to software.
struct Intake<'a> {
    software: &'a mut Software,
    scratch: Vec<u8>,
}

impl RxSink for Intake<'_> {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let miss = matches!(meta.reason, Reason::NoEntry | Reason::Exception);
        let from = (meta.port, meta.generation, meta.time);
        if !(miss && self.software.take(from, length, fill)) {
            // Copies are nobody's in this version; a miss without a buffer was counted.
            self.scratch.resize(length, 0);
            fill(&mut self.scratch);
        }
    }
}
