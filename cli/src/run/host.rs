//! The host's side of a card: its driver, its queues, and software that decides what they bring.

mod failover;
mod heir;

use super::brain::Brain;
use super::recovery::{Limits, Recovery};
use super::software::{BURST_MAX, Sent, Software};
use failover::Failover;
pub(crate) use failover::Order;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use twinpath_fallback::Packet;
use twinpath_flow::card::{EntryId, Event, Fence, Health, Reason, RxMeta, Sweep};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{CardQueue, RxSink, SmartNic, TxFrame};
use twinpath_offload::io::{Input, ResetCause};
use twinpath_offload::shadow::{Assembly, Sample};

/// How often a sweep that is wanted is looked for.
const SWEEP_RETRY: Duration = Duration::from_micros(50);

/// A card's driver with its queues.
pub(crate) struct Host<N: SmartNic + ?Sized> {
    /// The driver.
    pub nic: Box<N>,
    lanes: Vec<Lane>,
    events: Vec<Event>,
    fence: Fence,
    sweep_retry: Option<Time>,
    /// Frames software could not send, by port.
    dropped: HashMap<PortNo, u64>,
    /// Frames that the card received before are not taken: they came another way.
    since: Time,
    misses: HashMap<PortNo, Misses>,
    failover: Failover,
    /// What is counted already of the entries of a card that is taken over.
    counted: BTreeMap<EntryId, Counts>,
}

/// What the driver reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Nothing.
    Nothing,
    /// Something.
    Events,
    /// That the card is up, empty, with fresh queues, among other things.
    Up,
}

/// Frames of one port for software to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misses {
    /// Software took them, or had no buffer.
    pub taken: u64,
    /// Older than what is taken.
    pub refused: u64,
}

/// A queue pair and what waits to be sent through it.
struct Lane {
    queue: Box<dyn CardQueue>,
    assembly: Assembly,
    waiting: VecDeque<(PortNo, Packet)>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.index();
        formatter.debug_struct("Lane").field("queue", &queue).finish_non_exhaustive()
    }
}

impl<N: SmartNic + ?Sized> std::fmt::Debug for Host<N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Host").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl<N: SmartNic + ?Sized> Host<N> {
    /// The host of a card that is being brought up by `nic`.
    pub(crate) fn new(nic: Box<N>) -> Self {
        Self {
            nic,
            lanes: Vec::new(),
            events: Vec::new(),
            fence: Fence::default(),
            sweep_retry: None,
            dropped: HashMap::new(),
            since: Time::default(),
            misses: HashMap::new(),
            failover: Failover::new(Recovery::new(Limits::default())),
            counted: BTreeMap::new(),
        }
    }

    /// Takes no frames that the card received before `since`.
    pub(crate) const fn take_since(&mut self, since: Time) {
        self.since = since;
    }

    /// Frames from `port` that came for software to decide, and of them those it did not take.
    pub(crate) fn misses(&self, port: PortNo) -> Misses {
        self.misses.get(&port).copied().unwrap_or_default()
    }

    /// When a sweep that is wanted is looked for again, or something about a card that failed is due.
    pub(crate) fn next_event(&self) -> Option<Time> {
        [self.sweep_retry, self.failover.next_event()].into_iter().flatten().min()
    }

    /// Whether no frame waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Frames that software could not send out of `port`.
    pub(crate) fn dropped_at(&self, port: PortNo) -> u64 {
        self.dropped.get(&port).copied().unwrap_or_default()
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

    /// Takes what the driver reports and tells the brain.
    pub(crate) fn poll(&mut self, now: Time, software: &mut Software, brain: &mut Brain) -> Polled {
        let mut events = std::mem::take(&mut self.events);
        let begun = brain.meter.begin();
        self.nic.poll(now, &mut events);
        let mut polled = if events.is_empty() { Polled::Nothing } else { Polled::Events };
        for event in events.drain(..) {
            match event {
                Event::Up(epoch) => {
                    polled = Polled::Up;
                    self.adopt_queues(software);
                    if self.take_over(epoch, now, (software, brain)) {
                        self.failover.go_on();
                    } else {
                        self.failover.up(epoch);
                    }
                }
                Event::Dead(cause) => {
                    self.failover.note(cause);
                    brain.operations.clear();
                    brain.tell(now, Input::Card(event));
                }
                Event::ResetRequest => {
                    self.failover.note(ResetCause::Requested);
                    brain.tell(now, Input::Card(event));
                }
                event => brain.tell(now, Input::Card(event)),
            }
        }
        self.events = events;
        // A look that finds nothing is not for updates.
        if polled != Polled::Nothing {
            brain.meter.end(begun);
        }
        if self.entrust(now, brain) && polled == Polled::Nothing {
            polled = Polled::Events;
        }
        self.drain_further(now, brain);
        polled
    }

    /// Decides what the queues bring, sends what comes of it, and hands on what the brain wants;
    /// whether anything moved.
    pub(crate) fn serve(&mut self, now: Time, software: &mut Software, brain: &mut Brain) -> bool {
        let mut moved = false;
        for index in 0..self.lanes.len() {
            moved |= self.serve_lane(index, now, software, brain);
        }
        moved |= self.tell_fence(now, brain);
        brain.settle(now, Some(software));
        moved |= self.submit(now, software, brain);
        moved | self.sweep_if_wanted(now, brain)
    }

    /// Asks for a sweep of all counters and tells the brain of the newest there is.
    pub(crate) fn sweep(&mut self, now: Time, brain: &mut Brain) -> Option<Sweep> {
        let sweep = self.nic.sweep_counters(now, &mut brain.engine);
        if let Some(sweep) = sweep {
            brain.tell(now, Input::Swept(sweep));
            self.drained_by(now, &sweep, brain);
        }
        sweep
    }

    /// Gives up the queues of a card that is gone or begins anew, and what waits for them.
    pub(crate) fn drop_queues(&mut self, software: &mut Software) {
        self.fence = Fence::default();
        for mut lane in self.lanes.drain(..) {
            for (port, packet) in lane.waiting.drain(..) {
                *self.dropped.entry(port).or_default() += 1;
                software.pool.give(packet);
            }
        }
    }

    fn adopt_queues(&mut self, software: &mut Software) {
        self.drop_queues(software);
        let queues = self.nic.take_queues().into_iter();
        self.lanes.extend(queues.map(|queue| Lane {
            queue,
            assembly: Assembly::default(),
            waiting: VecDeque::new(),
        }));
    }

    /// Takes misses of one queue, decides them, and sends what comes of them.
    fn serve_lane(
        &mut self,
        index: usize,
        now: Time,
        software: &mut Software,
        brain: &mut Brain,
    ) -> bool {
        let lane = &mut self.lanes[index];
        let since = self.since;
        let assembly = &mut lane.assembly;
        let misses = &mut self.misses;
        let mut intake = Intake { software, assembly, since, misses, samples: Vec::new() };
        let taken = lane.queue.rx_burst(BURST_MAX, &mut intake).unwrap_or_else(|cause| {
            brain.events.error(now, format!("queue {index}: {cause}"));
            self.failover.note(cause);
            brain.tell(now, Input::Card(Event::Dead(cause)));
            0
        });
        let samples = std::mem::take(&mut intake.samples);
        for sample in samples {
            brain.tell(now, Input::Mirrored(Box::new(sample)));
        }
        if software.is_waiting() {
            let waiting = &mut lane.waiting;
            let dropped = &mut self.dropped;
            software.process(now, brain, &mut |_, sent| match sent {
                Sent::Frame(port, packet) => waiting.push_back((port, packet)),
                Sent::Dropped(port) => *dropped.entry(port).or_default() += 1,
            });
        }
        let sent = lane.send();
        for _ in 0..sent {
            if let Some((_, packet)) = lane.waiting.pop_front() {
                software.pool.give(packet);
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

    fn submit(&mut self, now: Time, software: &mut Software, brain: &mut Brain) -> bool {
        if self.reset_if_due(now, software, brain) {
            return true;
        }
        if brain.operations.is_empty() || brain.awaits_save() {
            return false;
        }
        let begun = brain.meter.begin();
        let accepted = self.nic.submit(now, brain.operations.make_contiguous());
        for operation in brain.operations.drain(..accepted) {
            brain.engine.give_back(operation);
        }
        brain.meter.end(begun);
        accepted > 0
    }

    fn sweep_if_wanted(&mut self, now: Time, brain: &mut Brain) -> bool {
        if !brain.wants.sweep || self.sweep_retry.is_some_and(|due| now < due) {
            return false;
        }
        if self.sweep(now, brain).is_none() {
            self.sweep_retry = Some(now.after(SWEEP_RETRY));
            return false;
        }
        brain.wants.sweep = false;
        self.sweep_retry = None;
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
    assembly: &'a mut Assembly,
    since: Time,
    misses: &'a mut HashMap<PortNo, Misses>,
    samples: Vec<Sample>,
}

impl RxSink for Intake<'_> {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let wanted = meta.time >= self.since;
        let miss = matches!(meta.reason, Reason::NoEntry | Reason::Exception);
        if miss {
            let misses = self.misses.entry(meta.port).or_default();
            let count = if wanted { &mut misses.taken } else { &mut misses.refused };
            *count += 1;
        }
        let from = (meta.port, meta.generation, meta.time);
        if wanted && miss && self.software.take(from, length, fill) {
            return;
        }
        // Taken in any case; a miss without a buffer was counted.
        let mut frame = vec![0; length];
        fill(&mut frame);
        if let (Some(mirrored), Some(entry)) = (meta.mirror, meta.entry) {
            let from = (entry, meta.port, meta.generation);
            self.samples.extend(self.assembly.take(mirrored, from, frame));
        }
    }
}
