//! What a world is made of, all of it drawn from one seed.

use twinpath_fallback::Kernel;
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::Rule;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_hw_sim::Profile;
use twinpath_hw_sim::fault::Class;

use std::sync::Arc;
use std::time::Duration;

/// Steps of a world unless said otherwise.
pub const STEPS_DEFAULT: usize = 10_000;

/// Which world, and how much of it: what a failure prints and a replay takes. Less of one thing
/// leaves the draws of the others as they are, so that a failure can be made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Steps.
    pub steps: usize,
    /// Streams of packets at a time at most.
    pub streams: usize,
    /// Rules at first at most.
    pub rules: usize,
    /// Whether rules change.
    pub changes: Changes,
    /// What goes wrong with the card.
    pub faults: Faults,
}

/// What may go wrong with the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Every class.
    All,
    /// These; none of them is a card that does as it should.
    Only(Vec<Class>),
}

impl Faults {
    /// Whether a class may strike.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        match self {
            Self::All => true,
            Self::Only(classes) => classes.contains(&class),
        }
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::Only(Vec::new())
    }
}

/// Whether rules change on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Never.
    None,
    /// As the seed wants.
    Some,
}

impl Scenario {
    /// The whole world of that seed, with a card that does as it should.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let (steps, streams, rules) = (STEPS_DEFAULT, usize::MAX, usize::MAX);
        Self {
            seed,
            steps,
            streams,
            rules,
            changes: Changes::Some,
            faults: Faults::Only(Vec::new()),
        }
    }

    /// A source of randomness of its own for each part, so that less of one changes no other.
    #[must_use]
    pub fn random(&self, part: Part) -> Random {
        Random::new(Random::new(self.seed ^ ((part as u64 + 1) << 56)).next())
    }
}

/// A part of a world with randomness of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Ports, card, settings.
    Make,
    /// Rules and their changes.
    Rules,
    /// Which streams there are.
    Streams,
    /// What happens next.
    Course,
    /// What goes wrong.
    Faults,
}

/// What does not change while the world runs.
#[derive(Clone, Debug)]
pub struct Make {
    /// The ports.
    pub ports: Arc<PortTable>,
    /// The card.
    pub profile: Profile,
    /// Its queues in use.
    pub queues: u16,
    /// One in so many frames is mirrored; 0 for none.
    pub mirror: u32,
    /// The engine's settings.
    pub engine: twinpath_offload::Settings,
    /// The software path's settings.
    pub software: twinpath_fallback::Settings,
    /// Streams at a time.
    pub streams: usize,
    /// How long a step takes at most when nothing much happens.
    pub pause: Duration,
    /// Whether many packets of new flows come while the host is busy elsewhere.
    pub has_rushes: bool,
}

impl Make {
    /// As the scenario's seed wants it.
    ///
    /// # Panics
    /// Never: the profile exists and its values are in range.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut random = scenario.random(Part::Make);
        let tunnels = if random.chance(40) { Tunnels::Some } else { Tunnels::None };
        let ports = sample::port_table(&mut random, tunnels);
        let mut profile = Profile::named("tiny").expect("a known profile");
        profile.set_capacity(random.pick(&[16, 32, 64, 64, 200, 512, 4096]));
        profile.ports = u32::try_from(ports.physical().count()).expect("a few");
        let queues = random.pick(&[1, 1, 2, 3]);
        profile.queues = u32::from(queues);
        profile.hold_frames = random.pick(&[64, 64, 64, 64, 64, 64, 0, 8, 8, 2]);
        profile.hold_entries = random.pick(&[1024, 64, 4]);
        profile.packet_latency_ns = random.pick(&[0, 0, 100, 5_000, 50_000]);
        profile.command_latency_ns = random.pick(&[0, 500, 2_000, 2_000, 200_000]);
        profile.command_interval_ns = random.pick(&[0, 200, 200, 5_000]);
        let engine = twinpath_offload::Settings {
            flow_idle: Duration::from_millis(random.pick(&[10_000, 1_000, 200])),
            threshold: random.pick(&[0, 0, 0, 3]),
            updates_per_second: random.pick(&[200_000, 200_000, 500]),
            specialisations: random.pick(&[64, 64, 4]),
            ops_in_flight: random.pick(&[1024, 1024, 8]),
            ..twinpath_offload::Settings::default()
        };
        let kernel = Kernel::ALL.into_iter().cycle().nth(random.below(3));
        let software = twinpath_fallback::Settings {
            seed: random.next(),
            flow_limit: random.pick(&[200_000, 200_000, 200_000, 12]),
            kernel,
            ..twinpath_fallback::Settings::default()
        };
        let mirror = random.pick(&[0, 1, 16, 1000]);
        let streams = random.pick(&[4, 12, 30, 80]);
        let pause = Duration::from_micros(random.pick(&[2_000, 20_000, 80_000]));
        let has_rushes = random.chance(30);
        if has_rushes && random.chance(80) {
            // A card that is faster than its host.
            profile.command_latency_ns = 0;
            profile.command_interval_ns = random.pick(&[200, 1_000, 5_000]);
        }
        Self { mirror, streams, pause, has_rushes, ports, profile, queues, engine, software }
    }
}

/// The rules of a world and how they change.
#[derive(Clone, Debug)]
pub struct Rules {
    random: Random,
    ports: Arc<PortTable>,
    /// Those in place, no two of one table and priority.
    pub rules: Vec<Rule>,
}

impl Rules {
    /// The first rules of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario, ports: &Arc<PortTable>) -> Self {
        let mut random = scenario.random(Part::Rules);
        let mut rules = sample::rules(&mut random, ports);
        rules.truncate(scenario.rules);
        Self { random, ports: Arc::clone(ports), rules }
    }

    /// Changes them: one rule, or all.
    pub fn change(&mut self) -> Vec<Rule> {
        let at = self.random.below(self.rules.len());
        match self.random.below(20) {
            0 => self.rules = sample::rules(&mut self.random, &self.ports),
            1..=4 if !self.rules.is_empty() => _ = self.rules.remove(at),
            5..=12 if !self.rules.is_empty() => self.rewrite(at),
            _ => self.add(),
        }
        self.rules.clone()
    }

    /// The same match, other instructions.
    fn rewrite(&mut self, at: usize) {
        let mut rule = self.rules[at].clone();
        rule.instructions = sample::rule(&mut self.random, &self.ports, rule.table).instructions;
        if rule.check().is_ok() {
            self.rules[at] = rule;
        } else {
            self.rules[at] = self.fresh(self.rules[at].table, self.rules[at].priority);
        }
    }

    fn add(&mut self) {
        let table = u8::try_from(self.random.below(4)).expect("below 4");
        let rule = sample::rule(&mut self.random, &self.ports, table);
        let taken = |other: &Rule| (other.table, other.priority) == (rule.table, rule.priority);
        match self.rules.iter().position(taken) {
            Some(at) => self.rules[at] = rule,
            None => self.rules.push(rule),
        }
    }

    fn fresh(&mut self, table: u8, priority: u16) -> Rule {
        Rule { priority, ..sample::rule(&mut self.random, &self.ports, table) }
    }
}
