//! The seeded world: the product's own glue of engine, driver, simulated card and software, on virtual
//! time in one thread, with everything drawn from one seed, held against the specification.
//!
//! - [`scenario`]: which world: ports, card, settings, rules, all from the seed.
//! - [`stream`]: traffic; [`wire`]: where it leaves; [`journey`], [`oracle`]: what may become of each
//!   packet, and whether what left is that.
//! - [`trouble`]: what goes wrong with the card, and that it comes to rest afterwards.
//! - [`check`]: what holds after each step, and when nothing is under way.
//! - [`day`]: a long time in which nothing may grow.
//! - [`run`]: a whole life of a world; [`shrink`]: a smaller one that fails alike; [`words`]: a world in
//!   words; [`tally`]: many of them.

pub mod check;
pub mod day;
pub mod failure;
pub mod journey;
pub mod oracle;
pub mod run;
#[cfg(sabotage)]
pub mod sabotage;
pub mod scenario;
pub mod shrink;
pub mod stream;
pub mod tally;
pub mod trouble;
pub mod wire;
pub mod words;

use check::Seen;
use failure::{Failure, Wrong};
use oracle::{Oracle, Order, Reins};
use scenario::{Changes, Make, Part, Rules, Scenario};
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use trouble::Trouble;
use twinpath_cli::run::brain::Brain;
use twinpath_cli::run::card::CardPath;
use twinpath_cli::run::ports::Ports;
use twinpath_cli::run::software::{BURST_MAX, Software};
use twinpath_flow::card::Health;
use twinpath_flow::sample::Random;
use twinpath_flow::time::Time;
use twinpath_hw_sim::Profile;
use twinpath_hw_sim::fault::CLASSES;
use wire::Departures;

/// When worlds begin.
const ORIGIN: Time = Time::from_secs(1);

/// How far time moves when what was due did not get done: as a run does.
const NUDGE: Duration = Duration::from_micros(1);

/// How long a run sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// What a world did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Packets that came in.
    pub packets: u64,
    /// Of those, decided by the card.
    pub by_card: u64,
    /// Lost and counted.
    pub lost: u64,
    /// Changes of rules in force.
    pub changes: u64,
    /// Looks at everything while nothing was under way.
    pub looks: u64,
    /// Virtual time.
    pub time: Duration,
    /// Of everything that left, in order: equal seeds give equal traces.
    pub trace: u64,
    /// How often each class of faults struck.
    pub fired: [u64; CLASSES],
}

/// A world.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    make: Make,
    rules: Rules,
    random: Random,
    streams: Vec<Stream>,
    stream_random: Random,
    streams_made: u64,
    brain: Brain,
    ports: Ports,
    card: CardPath,
    departures: Departures,
    oracle: Oracle,
    now: Time,
    seen: Seen,
    trouble: Trouble,
    deeds: Deeds,
}

impl World {
    /// The world of a scenario, its card up.
    ///
    /// # Errors
    /// The card does not come up.
    pub fn new(scenario: &Scenario) -> Result<Self, Failure> {
        let make = Make::new(scenario);
        let rules = Rules::new(scenario, &make.ports);
        let now = ORIGIN;
        let ports = Arc::clone(&make.ports);
        let mut brain = Brain::new(ports, rules.rules.clone(), make.engine.clone(), now);
        brain.settle(now, None);
        let software =
            Software::new(make.software, brain.generation(), Arc::clone(brain.pipeline()));
        let queues = (make.queues, make.mirror);
        let mut card = CardPath::new(make.profile.clone(), &make.ports, queues, software, now);
        let now = card
            .bring_up(now, &mut brain)
            .map_err(|error| Wrong::Stuck.because(error.to_string()))?;
        let departures = Departures::default();
        let mut world = Self {
            scenario: scenario.clone(),
            ports: departures.ports(&make.ports),
            rules,
            random: scenario.random(Part::Course),
            streams: Vec::new(),
            stream_random: scenario.random(Part::Streams),
            streams_made: 0,
            brain,
            card,
            departures,
            oracle: Oracle::default(),
            now,
            seen: Seen::default(),
            trouble: Trouble::new(scenario.random(Part::Faults)),
            deeds: Deeds::default(),
            make,
        };
        world.oracle.note(&world.brain, Reins::Held)?;
        for _ in 0..world.make.streams.min(scenario.streams) {
            let stream = world.make_stream();
            world.streams.push(stream);
        }
        Ok(world)
    }

    fn make_stream(&mut self) -> Stream {
        self.streams_made += 1;
        // Each from a seed of its own, so that fewer streams leave the others as they are.
        let mut random = Random::new(self.stream_random.next());
        Stream::new(&mut random, &self.make.ports, self.streams_made)
    }

    /// The next step, with all checks that belong to it.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn step(&mut self, step: usize) -> Result<(), Failure> {
        self.trouble(step)?;
        match self.random.below(1000) {
            0..680 => self.burst()?,
            680..700 => self.burst_unattended()?,
            700..850 => {
                let pause = Duration::from_nanos(self.random.next() % 50_000);
                self.pass(pause)?;
            }
            850..930 => {
                let nanoseconds = u64::try_from(self.make.pause.as_nanos()).unwrap_or(u64::MAX);
                let pause = Duration::from_nanos(self.random.next() % nanoseconds);
                self.pass(pause)?;
            }
            930..975 => self.replace_stream(),
            975..990 => self.change_rules()?,
            990..993 if self.trouble.is_on => {}
            990..993 => self.look()?,
            _ => self.flood()?,
        }
        self.check_step()
    }

    /// A few packets, then what comes of them.
    fn burst(&mut self) -> Result<(), Failure> {
        for _ in 0..=self.random.below(4) {
            self.packet()?;
        }
        let pause = self.random.pick(&[0, 0, 100, 1_000, 3_000]);
        self.pass(Duration::from_nanos(pause))
    }

    /// More packets of one stream at once than hold queues take.
    fn flood(&mut self) -> Result<(), Failure> {
        let Some(at) = self.pick_stream() else { return Ok(()) };
        for _ in 0..10 + self.random.below(90) {
            self.send(at);
            if self.random.chance(20) {
                self.advance()?;
            }
        }
        self.pass(Duration::from_micros(1))
    }

    /// Packets of one stream or of several come while the host is busy elsewhere and the card goes on.
    fn burst_unattended(&mut self) -> Result<(), Failure> {
        if self.make.has_rushes && self.random.chance(80) {
            return self.rush();
        }
        let Some(only) = self.pick_stream() else { return Ok(()) };
        if self.random.chance(60) {
            // A new flow: its entry is made meanwhile.
            self.streams[only] = self.make_stream();
            self.send(only);
            self.advance()?;
        }
        let one_stream = self.random.chance(80);
        let latency = u64::from(self.make.profile.command_latency_ns.max(500));
        let gap = 1 + latency / self.random.pick(&[5, 30, 50, 80]);
        // Up to twice what one hold queue takes.
        let hold = self.make.profile.hold_frames as usize;
        for _ in 0..1 + self.random.below(2 * hold) {
            let at = if one_stream { only } else { self.pick_stream().unwrap_or(only) };
            self.send(at);
            self.now = self.now.after(Duration::from_nanos(self.random.next() % (2 * gap)));
            self.card.device().step(self.now.0);
        }
        self.advance()
    }

    /// More packets of a new stream than the host takes in one turn come before its entry serves, and
    /// some after it, which the card holds; the card is busy with entries of others.
    fn rush(&mut self) -> Result<(), Failure> {
        let Some(only) = self.pick_stream() else { return Ok(()) };
        for at in [self.pick_stream(), self.pick_stream(), Some(only)].into_iter().flatten() {
            self.streams[at] = self.make_stream();
            self.send(at);
        }
        self.advance()?;
        for _ in 0..BURST_MAX / 2 + self.random.below(2 * BURST_MAX) {
            self.send(only);
        }
        self.card.device().step(self.now.0);
        let Profile { command_latency_ns, command_interval_ns, hold_frames, .. } =
            self.make.profile;
        let commands = self.random.below(6) as u64;
        let whole = u64::from(command_latency_ns) + commands * u64::from(command_interval_ns);
        let frames = 1 + self.random.below(1 + hold_frames as usize);
        let gap = whole / frames as u64;
        for _ in 0..frames {
            self.now = self.now.after(Duration::from_nanos(self.random.next() % (2 * gap + 1)));
            self.card.device().step(self.now.0);
            self.send(only);
        }
        self.card.device().step(self.now.0);
        self.advance()
    }

    /// Some streams have most packets.
    fn pick_stream(&mut self) -> Option<usize> {
        let within = self.random.below(self.streams.len()) + 1;
        let at = self.random.below(within);
        (at < self.streams.len()).then_some(at)
    }

    fn packet(&mut self) -> Result<(), Failure> {
        if let Some(at) = self.pick_stream() {
            self.send(at);
        }
        if self.random.chance(70) { self.advance() } else { Ok(()) }
    }

    fn send(&mut self, at: usize) {
        let stream = &self.streams[at];
        let frame = self.oracle.depart(stream, self.now);
        self.deeds.packets += 1;
        self.card.take(self.now, stream.port, &frame);
    }

    fn replace_stream(&mut self) {
        if let Some(at) = self.pick_stream() {
            self.streams[at] = self.make_stream();
        }
    }

    fn change_rules(&mut self) -> Result<(), Failure> {
        let rules = self.rules.change();
        if self.scenario.changes == Changes::None {
            return Ok(());
        }
        self.deeds.changes += 1;
        self.brain.change(|store| store.replace(rules));
        self.brain.settle(self.now, Some(&mut self.card.software));
        let reins = self.reins();
        self.oracle.note(&self.brain, reins)
    }

    /// Lets everything that is due now happen, and checks what left.
    fn advance(&mut self) -> Result<(), Failure> {
        self.brain.tick(self.now);
        self.card.advance(self.now, &mut self.brain, &mut self.ports);
        self.trouble.is_loose |= !self.brain.engine.can_hold();
        let reins = self.reins();
        self.oracle.note(&self.brain, reins)?;
        for (port, frame) in self.departures.take() {
            let mix = |trace: u64, byte: &u8| {
                (trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            };
            self.deeds.trace = frame.iter().fold(self.deeds.trace ^ self.now.0, mix);
            let order = if self.trouble.is_loose { Order::Loose } else { Order::Strict };
            self.oracle.arrive((port, &frame), self.now, order)?;
        }
        Ok(())
    }

    /// Whether the host has power over the card. One that hangs and ignores its reset forwards by the
    /// rules it was last told, and no host can stop it.
    fn reins(&mut self) -> Reins {
        let is_lost = matches!(self.card.health(self.now), Health::Dead(_) | Health::Starting);
        if is_lost && self.card.device().is_matching() { Reins::Lost } else { Reins::Held }
    }

    /// When something happens next by itself, as a run sees it.
    fn next_due(&self) -> Time {
        let due = |time: Time| if time > self.now { time } else { self.now.after(NUDGE) };
        let events = [self.card.next_event(), self.brain.engine.next_timeout()];
        let asleep = self.now.after(self.sleep_max());
        events.into_iter().flatten().map(due).min().unwrap_or(asleep).min(asleep)
    }

    /// Lets time pass, from event to event.
    fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.now.after(time);
        self.advance()?;
        // Ends: each round moves time on.
        loop {
            let next = self.next_due();
            if next >= until {
                self.now = until;
                return self.advance();
            }
            self.now = next;
            self.advance()?;
        }
    }
}
