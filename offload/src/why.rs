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
    Specialisations(u32),
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
        packets: u32,
        /// Needed.
        threshold: u32,
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
    /// Its TCP connection has ended (FIN or RST); the flow goes after a second without a packet.
    #[error("its TCP connection has ended")]
    Closing,
    /// Being installed.
    #[error("being installed")]
    Pending,
    /// The card treated a packet of it otherwise than the rules; it stays in software.
    #[error("quarantined: the card differed from the rules")]
    Quarantined,
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
    Pushes(u8),
    /// Rewriting the outer tag.
    #[error("rewrite of the VLAN tag")]
    Tci,
    /// Physical outputs.
    #[error("{0} outputs")]
    Outputs(u32),
    /// Tunnel outputs.
    #[error("{0} tunnel outputs")]
    TunnelOutputs(u32),
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

impl WhyNot {
    /// What would get such a flow into the card; `docs/offload.md` says more.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoCard => "run with a card: device = \"sim\", \"vfio:…\" or \"vfio-user:…\"".into(),
            Self::CardDown => {
                "nothing in the rules: flows go back when the card is up; see `twinpath events`".into()
            }
            Self::FieldNotOffered(field) => {
                let name = field.spec().name;
                format!("rules on its way that do not match {name}, or a card that matches it")
            }
            Self::ActionNotSupported(lack) => lack.remedy(),
            Self::NotFoldable(_) => {
                "rules whose edits all come before the outputs: a card edits once, then sends".into()
            }
            Self::NoBank => {
                "fewer different masks in the rules, so that its mask gets a bank, or a card with more \
                 banks or a ternary table"
                    .into()
            }
            Self::NoPacketSeen => "nothing: its next packet in software brings it in".into(),
            Self::Specialisations(_) => {
                "a bank with the flow's own mask: fewer different masks in the rules".into()
            }
            Self::Covered => "nothing: its packets are in the card by the other entry".into(),
            Self::TableFull | Self::Evicted => {
                "more packets than the coldest entry, a card with more room, or rules that need \
                 fewer flows (shorter prefixes, fewer matched fields)"
                    .into()
            }
            Self::BelowThreshold { .. } => "more packets, or a lower threshold".into(),
            Self::UpdateBudget => "time, or more of `[placement]`: card and host make so many updates a second".into(),
            Self::Refused(_) => {
                "see `last_error`; it is offered again after a pause that doubles".into()
            }
            Self::Quarantined => {
                "a card that does what it says: `twinpath replay` shows the packet again".into()
            }
            Self::NeedsCounters => {
                "rules without idle_timeout on its way, or a card with counters".into()
            }
            Self::Closing => "nothing: it ends within a second or two".into(),
            Self::Stale | Self::AwaitsCommit | Self::Pending | Self::Held => {
                "nothing: it lasts milliseconds".into()
            }
        }
    }
}

impl ActionLack {
    fn remedy(&self) -> String {
        match self {
            Self::Controller => "rules on its way without a controller action".into(),
            Self::UnknownPort(port) => format!("a card that has port {}", port.0),
            Self::RepeatedOutput(_) => "rules that send one copy to each port".into(),
            Self::Hairpin => "an output other than the input port, or a card that does this".into(),
            Self::OutputOrder => "physical outputs before tunnel outputs".into(),
            lack => format!("rules on its way without it, or a card that can: {lack}"),
        }
    }
}
