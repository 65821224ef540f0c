//! What happened, for people: shown by `twinpath events`.

use crate::io::{ExpiryCause, ResetCause};
use twinpath_flow::card::{DeathCause, EntryId, Epoch, Generation, OpTag, Refusal};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

/// Something worth telling a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineEvent {
    /// A card came up.
    #[error("card {card} is up, epoch {}", epoch.0)]
    CardUp {
        /// Its name.
        card: String,
        /// Epoch.
        epoch: Epoch,
    },
    /// A card was taken over that had gone on by itself.
    #[error("card {card} is taken over with {entries} entries")]
    CardAdopted {
        /// Its name.
        card: String,
        /// Entries that flows have claimed.
        entries: usize,
    },
    /// The card died.
    #[error("card is down: {0}")]
    CardDead(DeathCause),
    /// The card was taken out of use.
    #[error("card is out of use: its flows are in software")]
    CardWithdrawn,
    /// A reset was asked for.
    #[error("card reset wanted: {0}")]
    ResetWanted(ResetCause),
    /// A port's link changed.
    #[error("port {} link {}", port.0, if *up { "up" } else { "down" })]
    Link {
        /// Port.
        port: PortNo,
        /// Whether it is up now.
        up: bool,
    },
    /// The card refused to take a flow.
    #[error("flow {} not taken by the card: {refusal}", flow.index)]
    Refused {
        /// The flow.
        flow: FlowId,
        /// Its reason.
        refusal: Refusal,
    },
    /// The card did not hold an entry any more; its flow is offered anew.
    #[error("entry {} has vanished from the card: deleted, its flow is offered anew", entry.0)]
    EntryMissing {
        /// The entry.
        entry: EntryId,
    },
    /// An entry was not as it was written.
    #[error("entry {} was altered in the card: deleted, its flow is offered anew", entry.0)]
    EntryAltered {
        /// The entry.
        entry: EntryId,
    },
    /// The card held an entry that nobody had put there.
    #[error("entry {} was an orphan in the card: taken out", entry.0)]
    EntryOrphan {
        /// The entry.
        entry: EntryId,
    },
    /// The card refused an operation that carries no flow (mask, commit).
    #[error("operation {} refused: {refusal}", tag.0)]
    OperationRefused {
        /// The operation.
        tag: OpTag,
        /// Its reason.
        refusal: Refusal,
    },
    /// A completion whose tag is unknown; ignored.
    #[error("completion of unknown operation {}", tag.0)]
    UnknownCompletion {
        /// Its tag.
        tag: OpTag,
    },
    /// A counter that cannot be true; the reading was rejected, the total kept.
    #[error("counter of entry {} rejected: {fault}", entry.0)]
    CounterRejected {
        /// The entry.
        entry: EntryId,
        /// Why.
        fault: CounterFault,
    },
    /// A sweep of another epoch; ignored.
    #[error("sweep of epoch {} ignored, now {}", found.0, wanted.0)]
    StaleSweep {
        /// Its epoch.
        found: Epoch,
        /// The current one.
        wanted: Epoch,
    },
    /// A sweep reported more entries than the card can hold; the rest was ignored.
    #[error("sweep reports more entries than were added")]
    SweepOverrun,
    /// The card's counts in this span are unknowable: totals are lower bounds.
    #[error("card counters unknown from {} ms to {} ms", from.0 / 1_000_000, until.0 / 1_000_000)]
    CounterGap {
        /// Last good sweep.
        from: Time,
        /// Loss of the card.
        until: Time,
    },
    /// A rule ended by timeout.
    #[error("rule {} removed: {cause}, {} packets", rule.0, counts.packets)]
    RuleExpired {
        /// The rule.
        rule: RuleId,
        /// Why.
        cause: ExpiryCause,
        /// Its counts then.
        counts: Counts,
    },
    /// A change was refused: another is under way or its generation is not newer.
    #[error("pipeline change to generation {} refused, {} is current", generation.0, current.0)]
    ChangeRefused {
        /// The generation refused.
        generation: Generation,
        /// The newest accepted one.
        current: Generation,
    },
    /// A sample of what the card forwarded differs from what the rules demand.
    #[error("entry {}{}: {told}", entry.0, flow.map_or(String::new(), |flow| format!(" of flow {}.{}", flow.index, flow.generation)))]
    Diverged {
        /// The entry.
        entry: EntryId,
        /// Its flow, now quarantined.
        flow: Option<FlowId>,
        /// How.
        told: String,
    },
    /// An input named a flow that is unknown or exists already; ignored.
    #[error("input about flow {}.{} ignored", flow.index, flow.generation)]
    UnexpectedFlow {
        /// The flow.
        flow: FlowId,
    },
}

/// What is wrong with a counter's reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CounterFault {
    /// It went backwards.
    #[error("went backwards")]
    Backwards,
    /// It grew faster than the ports can carry.
    #[error("faster than line rate")]
    TooFast,
}
