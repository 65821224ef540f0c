//! What a process leaves for its successor besides the card: rules with their identities, counters, and
//! how far the card's counters are in them. [`mod@file`]: how it is kept.
//!
//! It is written when the rules change, before the card is told; before people are told counters; and
//! once a second. So whatever somebody has seen of a counter, the successor goes on from there.

pub(crate) mod file;

use super::software::Software;
use serde::{Deserialize, Serialize};
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::PlacedRule;
use twinpath_offload::adopt::Accounts;

/// Packets and bytes, as the file has them.
pub(crate) type Pair = (u64, u64);

/// What a port has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PortAccount {
    /// Its number.
    pub number: u16,
    /// What the card showed last, in the order of the odometer.
    pub shown: Vec<u64>,
    /// What that amounts to.
    pub total: Vec<u64>,
    /// Frames in.
    pub received: Pair,
    /// Frames out.
    pub sent: Pair,
    /// Frames that should have gone out and did not, by the host.
    pub dropped: u64,
}

/// What software has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SoftwareAccount {
    /// Packets decided.
    pub decided: u64,
    /// Flows made.
    pub flows_made: u64,
    /// Decided by the rules to go nowhere.
    pub dropped: u64,
    /// Lost: longer than the port takes.
    pub mtu_in: u64,
    /// Lost: no Ethernet header, or wrong tunnel headers.
    pub malformed: u64,
    /// Lost: no buffer.
    pub no_buffer: u64,
}

impl SoftwareAccount {
    /// What it has counted until now.
    pub(crate) fn of(software: &Software) -> Self {
        let tally = software.tally;
        Self {
            decided: software.decided(),
            flows_made: software.flows_made(),
            dropped: tally.dropped,
            mtu_in: tally.mtu_in,
            malformed: tally.malformed,
            no_buffer: tally.no_buffer,
        }
    }
}

/// What is thought of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CardAccount {
    /// Why it has no flows.
    pub standing: KeptStanding,
    /// Failures so far.
    pub failures: u64,
    /// What the last one was.
    pub last: Option<String>,
}

/// A standing that outlives a process: a rest is over when the next one has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeptStanding {
    /// It has flows.
    #[default]
    Trusted,
    /// It failed too often.
    LeftOut,
    /// Somebody said so.
    Drained,
}

/// The numbers of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    /// Which descriptors in the store belong to it.
    pub id: String,
    /// Version of the program that wrote it.
    pub program: String,
    /// The device, as the configuration names it.
    pub device: String,
    /// Nanoseconds since the machine started, when it was written.
    pub boot_ns: u64,
    /// Time of the run then.
    pub now: u64,
    /// When the run began.
    pub origin: u64,
    /// Digest of the rule file that was read last.
    pub rule_file: u64,
    /// Frames that were inside cards that are gone.
    pub card_gone: u64,
    /// Frames that former processes had taken when they were killed.
    pub restart: u64,
    /// What is thought of the card.
    pub card: CardAccount,
    /// Ports.
    pub ports: Vec<PortAccount>,
    /// Software.
    pub software: SoftwareAccount,
    /// Packets of flows by the card, by software, and those of the card that went nowhere.
    pub flows: [Pair; 3],
    /// Whether packets went through a card that does not count.
    pub card_unknown: bool,
    /// When the card's counts are unknowable.
    pub gap: Option<(u64, u64)>,
}

/// The rules, with the identities that counters are kept by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleLists {
    /// Generation in force.
    pub generation: u32,
    /// Rules of that generation.
    pub in_force: Vec<PlacedRule>,
    /// Rules of the next, whose commit may be on its way.
    pub pending: Option<Vec<PlacedRule>>,
    /// Rules wanted now.
    pub wanted: Vec<PlacedRule>,
    /// The last identity given.
    pub last_id: u32,
}

/// All of it. Totals and the gap of `accounts` are in `run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Numbers.
    pub run: Run,
    /// Rules.
    pub rules: RuleLists,
    /// Counters of rules and entries.
    pub accounts: Accounts,
}

/// As the file has it.
pub(crate) const fn pair(counts: Counts) -> Pair {
    (counts.packets, counts.bytes)
}

/// Back.
pub(crate) const fn counts((packets, bytes): Pair) -> Counts {
    Counts { packets, bytes }
}
