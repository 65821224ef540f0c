//! What people may ask the engine: where a flow is and why, and what was counted.

use crate::why::WhyNot;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{EntryId, Refusal, TableId};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Line, MaskedKey};
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// Where a flow lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Packets are forwarded by software.
    Software,
    /// At least one entry serves in the card. A specialised flow has only part of its packets
    /// there; see [`FlowView::whole`].
    Card,
}

/// State of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// `Add` is under way.
    Adding,
    /// Added and holding its packets until software has sent the earlier ones.
    Held,
    /// Being released.
    Releasing,
    /// Serves.
    InCard,
    /// `Delete` is under way.
    Deleting,
}

/// A counter with the time it was true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Counts.
    pub counts: Counts,
    /// When they were true.
    pub as_of: Time,
}

/// Counts by path; total = card + software.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// In the card; `None` when unknown (the card does not count).
    pub card: Option<Counted>,
    /// In software.
    pub software: Counted,
}

impl Split {
    /// Card and software together; `None` when the card's part is unknown.
    #[must_use]
    pub fn total(&self) -> Option<Counts> {
        self.card.map(|card| card.counts + self.software.counts)
    }
}

/// One entry of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// Identity in the card.
    pub id: EntryId,
    /// Table.
    pub table: TableId,
    /// What it matches: the flow's mask or more bits.
    pub matching: MaskedKey,
    /// State.
    pub state: EntryState,
    /// Counted by the card.
    pub counts: Counts,
}

/// Everything known about a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Identity.
    pub id: FlowId,
    /// The flow.
    pub flow: Arc<Flow>,
    /// Where it is.
    pub place: Place,
    /// Whether an entry covers every packet of the flow; `false` for specialisations.
    pub whole: bool,
    /// Why it is not in the card; `None` when it is.
    pub why_not: Option<WhyNot>,
    /// Since when `place` and `why_not` are so.
    pub since: Time,
    /// When it was made.
    pub created: Time,
    /// Last packet, in software or card.
    pub last_used: Option<Time>,
    /// Last refusal by the card and when.
    pub last_error: Option<(Time, Refusal)>,
    /// Counts.
    pub counts: Split,
    /// Packets per second lately, decayed.
    pub heat: u64,
    /// Entries in the card.
    pub entries: Vec<EntryView>,
}

/// Everything known about a rule's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleView {
    /// The rule.
    pub id: RuleId,
    /// Counts, exceptions included in the software part.
    pub counts: Split,
    /// When it was put in place.
    pub created: Time,
    /// Last packet.
    pub last_used: Option<Time>,
}

/// A table of the card as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableView {
    /// Name.
    pub name: String,
    /// Mask, for an exact bank that has one.
    pub mask: Option<Line>,
    /// Entries it can hold at most.
    pub capacity: u32,
    /// Entries in it, under way included.
    pub used: u32,
}

/// Sums over the whole run, removed flows included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets of flows, by path; exceptions are not flows and not here.
    pub flows: Split,
    /// Flows known.
    pub flow_count: usize,
    /// Flows with at least one entry in the card.
    pub offloaded: usize,
    /// Entries in the card or under way.
    pub entries: usize,
    /// Packets the card decided to send nowhere, a part of the card's.
    pub card_dropped: Counts,
    /// The card's counts are unknowable in this span (first loss to last); totals are lower bounds.
    pub counter_gap: Option<(Time, Time)>,
}

/// What the engine may be told once, at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A flow without a packet for so long is dropped (`max-idle` of Open vSwitch: 10 s).
    pub flow_idle: Duration,
    /// How often counters are swept and flows are ranked; less often when there are very many.
    pub sweep_interval: Duration,
    /// Packets a flow must have had before it is offered.
    pub threshold: u64,
    /// Entries added or deleted by placement per second; removals for correctness are not limited.
    pub updates_per_second: u32,
    /// Share of the control thread's own time that placement may take, in percent, where the host
    /// tells what it took ([`crate::Input::HostTime`]); 100 and more for no limit.
    pub host_percent: u32,
    /// Entries of one flow at most.
    pub specialisations: usize,
    /// A flow takes the place of another only when it is so many times as hot, in percent.
    pub hysteresis_percent: u64,
    /// Operations submitted and not ended at most; `Output::Card` pauses at it.
    pub ops_in_flight: usize,
    /// Samples of what the card forwarded that are judged in a second at most.
    pub shadow_per_second: u32,
    /// Places of the card that are read back in a second at most; fewer when it is busy.
    pub inspections_per_second: u32,
    /// Bits per second all ports together can carry; faster counters are rejected.
    pub line_rate_bps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flow_idle: Duration::from_secs(10),
            sweep_interval: Duration::from_millis(50),
            threshold: 0,
            updates_per_second: 200_000,
            host_percent: 15,
            specialisations: 64,
            hysteresis_percent: 105,
            ops_in_flight: 1024,
            shadow_per_second: 2_000,
            inspections_per_second: 5_000,
            line_rate_bps: 1_600_000_000_000,
        }
    }
}
