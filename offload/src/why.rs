//! Why a flow is not in the card, as a value.

use twinpath_flow::card::Refusal;
use twinpath_flow::edit::FoldError;
use twinpath_flow::field::Field;
use twinpath_flow::port::PortNo;

/// Why a flow is not (or not wholly) in the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WhyNot {
    /// No card is there.
    #[error("no card")]
    NoCard,
    /// The card is down: dead or being reset.
    #[error("card down")]
    CardDown,
    /// No table of the card offers a field of the flow's mask.
    #[error("no table matches field {}", .0.spec().name)]
    FieldNotOffered(Field),
    /// The card cannot do an action.
    #[error("action not supported: {0}")]
    ActionNotSupported(ActionLack),
    /// The steps are not one edit.
    #[error("not one edit: {0}")]
    NotFoldable(FoldError),
    /// No exact bank has a mask that covers the flow's, and no ternary table is there.
    #[error("no bank has a mask for it")]
    NoBank,
    /// A bank would take its packets one by one, and none was seen in software lately.
    #[error("no packet of it seen in software lately")]
    NoPacketSeen,
    /// It has as many entries as one flow may have.
    #[error("{0} entries, as many as one flow may have")]
    Specialisations(usize),
    /// An entry of another flow serves the same packets (with the same fate).
    #[error("an entry of another flow serves its packets")]
    Covered,
    /// The tables for it are full of hotter flows.
    #[error("table full and colder than the coldest entry")]
    TableFull,
    /// Fewer packets than the threshold for offload.
    #[error("{packets} packets, below the threshold of {threshold}")]
    BelowThreshold {
        /// Seen so far.
        packets: u64,
        /// Needed.
        threshold: u64,
    },
    /// The budget of updates per second is used up, or too many operations are under way.
    #[error("update budget used up")]
    UpdateBudget,
    /// The card refused it.
    #[error("card refused: {0}")]
    Refused(Refusal),
    /// It was in the card and lost its place to a hotter flow.
    #[error("evicted for a hotter flow")]
    Evicted,
    /// A rule of it has an idle timeout, and the card does not count.
    #[error("idle timeout needs counters, which the card lacks")]
    NeedsCounters,
    /// It ends with the pipeline change under way, or has ended.
    #[error("stale under the next rules")]
    Stale,
    /// Made under rules that are not in force yet, and the card has no generations.
    #[error("waits for its rules to be in force")]
    AwaitsCommit,
    /// Being installed.
    #[error("being installed")]
    Pending,
    /// Waits in the hold queue for software to finish its earlier packets.
    #[error("held until earlier packets have left software")]
    Held,
}

/// What a card lacks for an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ActionLack {
    /// Cannot write the field.
    #[error("set {}", .0.spec().name)]
    Set(Field),
    /// Cannot write single bits of the field.
    #[error("masked set {}", .0.spec().name)]
    MaskedSet(Field),
    /// TTL decrements.
    #[error("{0} TTL decrements")]
    TtlDecrements(u8),
    /// Tags popped.
    #[error("pop {0} tags")]
    Pops(u8),
    /// Tags pushed.
    #[error("push {0} tags")]
    Pushes(usize),
    /// Rewriting the outer tag.
    #[error("rewrite of the VLAN tag")]
    Tci,
    /// Physical outputs.
    #[error("{0} outputs")]
    Outputs(usize),
    /// Tunnel outputs.
    #[error("{0} tunnel outputs")]
    TunnelOutputs(usize),
    /// The same port twice.
    #[error("output to port {} twice", .0.0)]
    RepeatedOutput(PortNo),
    /// An output to the port the packet came in on.
    #[error("output to the input port")]
    Hairpin,
    /// An output to a port the card does not have.
    #[error("output to unknown port {}", .0.0)]
    UnknownPort(PortNo),
    /// A tunnel output before a physical one, or another order the card cannot keep.
    #[error("order of outputs")]
    OutputOrder,
    /// A copy to the controller ring.
    #[error("controller copy")]
    Controller,
}
