//! The statistics of a run (design section 8): what is shown, and the keys of the JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about a run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    /// Name of the run.
    pub name: String,
    /// `vfio`, `sim`, `none` or `reference`.
    pub device: String,
    /// Time of the run.
    pub time: TimeView,
    /// Received packets by fate.
    pub packets: Packets,
    /// card / (card + software); null when nothing was decided.
    pub offload_ratio: Option<f64>,
    /// The same over the second half of the packets received.
    pub offload_ratio_second_half: Option<f64>,
    /// Why software's packets were not in the card, the most first; exceptions (decided one by
    /// one, without a flow) are among them.
    pub software_reasons: Vec<ReasonCount>,
    /// Physical ports.
    pub ports: Vec<PortView>,
    /// Rules in place, by table and falling priority.
    pub rules: Vec<RuleView>,
    /// Flows.
    pub flows: FlowCounts,
    /// Threads that forward without a card, when there are several.
    pub workers: Vec<WorkerView>,
    /// The card; null without one.
    pub card: Option<CardView>,
    /// What was checked of what the card forwarded; null where it cannot be: unverifiable.
    pub shadow: Option<ShadowView>,
    /// What the card holds, read back; null where it cannot be: unverifiable.
    pub reconcile: Option<ReconcileView>,
    /// Seconds between which the card's counts are unknowable: totals are lower bounds.
    pub counter_gap: Option<(f64, f64)>,
    /// Packets that later ones of their flow may have overtaken, at most; null where the card holds
    /// packets while their flow moves into it, so that none is.
    #[serde(default)]
    pub overtaken_max: Option<u64>,
    /// Packets copied to the controller.
    pub controller: u64,
}

/// Time of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TimeView {
    /// Whether time is the captures' own.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// Seconds passed.
    pub seconds: f64,
}

/// Received packets; each has exactly one fate: received = card + software + lost + held. A card
/// that does not count leaves all but software's part unknown: null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packets {
    /// All.
    pub received: Option<u64>,
    /// Decided by the card alone.
    pub card: Option<u64>,
    /// Decided by software.
    pub software: u64,
    /// Lost, by cause.
    pub lost: BTreeMap<String, u64>,
    /// Inside now.
    pub held: Option<u64>,
    /// Decided by the rules to go nowhere, a part of card + software.
    pub dropped: u64,
}

/// Packets put down to a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReasonCount {
    /// Why.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// A physical port; bytes without FCS; null where the cable is the card's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PortView {
    /// Number.
    pub number: u16,
    /// Name.
    pub name: String,
    /// Frames received.
    pub rx_packets: Option<u64>,
    /// Their bytes.
    pub rx_bytes: Option<u64>,
    /// Frames the wire's socket dropped before they were read, as far as the system says so; they
    /// were not received.
    pub rx_missed: u64,
    /// Frames sent.
    pub tx_packets: Option<u64>,
    /// Their bytes.
    pub tx_bytes: Option<u64>,
    /// Frames that should have been sent and were not.
    pub tx_dropped: u64,
}

/// A rule; null where the counts are unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleView {
    /// Table.
    pub table: u8,
    /// Priority.
    pub priority: u16,
    /// Match as text.
    #[serde(rename = "match")]
    pub matching: String,
    /// Cookie.
    pub cookie: u64,
    /// Packets.
    pub packets: Option<u64>,
    /// Their bytes as received.
    pub bytes: Option<u64>,
    /// Seconds since the origin when the card's part of them was true; null where it has counted none or does not count.
    pub card_counted_at: Option<f64>,
}

/// Flows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlowCounts {
    /// Known now.
    pub known: usize,
    /// Of those, with an entry in the card.
    pub offloaded: usize,
    /// Entries in the card.
    pub entries: usize,
    /// Made since the run began.
    pub made: u64,
}

/// A thread that forwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerView {
    /// CPU it is bound to; null for none.
    pub cpu: Option<u16>,
    /// Ports whose wires it has.
    pub ports: Vec<u16>,
    /// Packets it decided.
    pub packets: u64,
    /// Flows it has.
    pub flows: usize,
    /// Packets it handed to other workers, which have their output ports.
    pub handed_over: u64,
    /// Packets for which another worker had no room; in `tx_dropped` of their output ports.
    pub ring_full: u64,
}

/// What was checked of what the card forwarded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShadowView {
    /// About one in so many frames is mirrored; 0: none.
    pub sample: u32,
    /// Samples judged by the specification.
    pub judged: u64,
    /// Samples that were too many, or of rules no longer in force.
    pub skipped: u64,
    /// Samples not judged yet.
    pub waiting: u64,
    /// Samples in which the card differed from the rules.
    pub diverged: u64,
    /// Flows kept out of the card for it.
    pub quarantined: u64,
}

/// Whether the card holds what it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Name of the card; null without one.
    pub card: Option<String>,
    /// Entries it should hold.
    pub entries: usize,
    /// Places it has.
    pub places: u64,
    /// What was read back; null where it cannot be: unverifiable.
    pub read: Option<ReconcileView>,
}

/// What the card holds, compared with what it should; see `docs/offload.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReconcileView {
    /// Places read back.
    pub inspected: u64,
    /// Times every place was read.
    pub passes: u64,
    /// When the last such pass ended, in seconds; null before the first.
    pub last_pass: Option<f64>,
    /// Entries that had vanished; their flows were offered anew.
    pub missing: u64,
    /// Entries that were not as written; likewise.
    pub altered: u64,
    /// Entries that nobody had written; taken out.
    pub orphans: u64,
}

impl ReconcileView {
    /// Differences found.
    pub(crate) const fn found(&self) -> u64 {
        self.missing + self.altered + self.orphans
    }
}

/// The card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CardView {
    /// Name.
    pub name: String,
    /// `good`, `bypass`, `starting`, or why it is dead.
    pub health: String,
    /// `trusted`, `resting`, `left out` or `drained`, with the reason.
    pub standing: String,
    /// How often it failed.
    pub failures: u64,
    /// How it failed last; null when it never did.
    pub last_failure: Option<String>,
    /// Tables.
    pub tables: Vec<TableView>,
}

/// A table of the card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableView {
    /// Name.
    pub name: String,
    /// Entries in it.
    pub(crate) used: u32,
    /// Entries it can hold at most.
    pub capacity: u32,
    /// Fields it compares, as text; null when it has no mask.
    pub mask: Option<String>,
}
