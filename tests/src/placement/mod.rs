//! The placement benchmark: synthetic traffic, the engine and the policies it is compared with.
//!
//! Everything runs on virtual time from one seed. A [`trace::Trace`] says which flow each packet
//! belongs to; a [`Policy`] decides which flows are in a card of limited room. All of them pay for
//! updates from the same [`slots::Budget`] and wait as long for the card. [`product`] is not such
//! a policy but the engine itself behind its `Input` and `Output`.

pub mod belady;
pub mod capture;
pub mod clairvoyant;
pub mod first_come;
pub mod lfu;
pub mod lru;
pub mod pps_rank;
pub mod product;
pub mod report;
pub mod slots;
pub mod trace;

use slots::Slots;
use std::time::Duration;
use trace::Trace;
use twinpath_flow::time::Time;

/// Length of the epochs that the clairvoyant knows in advance.
pub const EPOCH: Duration = Duration::from_millis(100);

/// What every policy is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Flows the card has room for.
    pub room: usize,
    /// Entries added or deleted per second, with a tenth of a second in advance.
    pub updates_per_second: u32,
    /// From an operation's submission to its effect.
    pub latency: Duration,
}

/// The policies, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// The engine.
    Twinpath,
    /// Holds the best set of every coming epoch.
    Clairvoyant,
    /// Knows when each flow's next packet comes; its updates are free and instant.
    Belady,
    /// Least recently used leaves.
    Lru,
    /// Least frequently used since it came leaves.
    Lfu,
    /// The rebalancer of Open vSwitch: swaps by packet rate every 3 s.
    PpsRank,
    /// Who came first stays.
    FirstCome,
}

impl Contestant {
    /// All of them, the engine first.
    pub const ALL: [Self; 7] = [
        Self::Twinpath,
        Self::Clairvoyant,
        Self::Belady,
        Self::Lru,
        Self::Lfu,
        Self::PpsRank,
        Self::FirstCome,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twinpath => "twinpath",
            Self::Clairvoyant => "clairvoyant",
            Self::Belady => "belady",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::PpsRank => "pps_rank",
            Self::FirstCome => "first_come",
        }
    }

    /// Runs it over a trace.
    #[must_use]
    pub fn run(self, trace: &Trace, setting: Setting) -> Score {
        match self {
            Self::Twinpath => product::run(trace, setting),
            Self::Belady => belady::run(trace, setting.room),
            Self::Clairvoyant => run(&mut clairvoyant::Clairvoyant::new(trace), trace, setting),
            Self::Lru => run(&mut lru::Lru::new(trace.ids), trace, setting),
            Self::Lfu => run(&mut lfu::Lfu::new(trace.ids), trace, setting),
            Self::PpsRank => run(&mut pps_rank::PpsRank::new(trace.ids), trace, setting),
            Self::FirstCome => run(&mut first_come::FirstCome::new(trace.ids), trace, setting),
        }
    }
}

/// A policy that decides by what it sees of each packet.
pub trait Policy {
    /// An epoch begins.
    fn epoch(&mut self, number: usize, slots: &mut Slots);

    /// A packet of `flow` passed, through the card if `hit`.
    fn packet(&mut self, flow: u32, hit: bool, slots: &mut Slots);
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Packets after the first third.
    pub packets: u64,
    /// Of those, decided by the card.
    pub hits: u64,
    /// Of those, packets of the trace's elephants.
    pub elephant_packets: u64,
    /// And decided by the card.
    pub elephant_hits: u64,
    /// Entries added and deleted, over the whole run.
    pub updates: u64,
    /// Packets of the whole run.
    pub packets_all: u64,
}

impl Score {
    /// Counts one packet.
    pub fn count(&mut self, trace: &Trace, packet: usize, hit: bool) {
        self.packets_all += 1;
        if packet < trace.packets.len() / 3 {
            return;
        }
        let elephant = trace.packets[packet] < trace.elephants;
        self.packets += 1;
        self.hits += u64::from(hit);
        self.elephant_packets += u64::from(elephant);
        self.elephant_hits += u64::from(elephant && hit);
    }

    /// Share of packets that the card decided.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.packets)
    }

    /// The same of the elephants.
    #[must_use]
    pub fn elephant_hit_ratio(&self) -> f64 {
        ratio(self.elephant_hits, self.elephant_packets)
    }

    /// Updates of the card per packet.
    #[must_use]
    pub fn updates_per_packet(&self) -> f64 {
        ratio(self.updates, self.packets_all)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Runs a policy over a trace.
fn run(policy: &mut dyn Policy, trace: &Trace, setting: Setting) -> Score {
    let mut slots = Slots::new(trace.ids, setting);
    let mut score = Score::default();
    let mut next_epoch = Time(0);
    let mut number = 0;
    for (packet, flow) in trace.packets.iter().copied().enumerate() {
        slots.advance(trace.time(packet));
        while slots.now >= next_epoch {
            policy.epoch(number, &mut slots);
            number += 1;
            next_epoch = next_epoch.after(EPOCH);
        }
        if flow == trace::SILENCE {
            continue;
        }
        let hit = slots.serves(flow);
        score.count(trace, packet, hit);
        policy.packet(flow, hit, &mut slots);
    }
    score.updates = slots.updates;
    score
}
