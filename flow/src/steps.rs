//! Flows: what the slow path derives for the first packet of a class of packets.
//!
//! A flow (megaflow) is a masked key and one composed list of steps. Flows of one pipeline may
//! overlap, but a packet matched by two of them meets the same fate and the same rules, so flows
//! have no priority.

use crate::field::Field;
use crate::key::MaskedKey;
use crate::port::PortNo;
use crate::rule::RuleId;

/// Identity of a flow: a slot of the software path's flow table, and how often it was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// Slot.
    pub index: u32,
    /// Uses of the slot before this one; an id is never reused within a run.
    pub generation: u32,
}

/// One step of a flow's composed actions, executed in order on the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Overwrites the bits `mask` of a field. [`Field::TunId`], [`Field::TunDst`] and
    /// [`Field::Qfi`] are values carried to the next tunnel output, not header bytes. Never touches
    /// layer 4 of a later fragment, nor a header that is absent or cut off.
    Set {
        /// The field.
        field: Field,
        /// New bits; none outside `mask`.
        value: u128,
        /// Bits written.
        mask: u128,
    },
    /// Pushes a tag with vid 0 and pcp 0.
    PushVlan(u16),
    /// Removes the outer tag.
    PopVlan,
    /// Decrements TTL or hop limit; the flow's threshold has already sent away what must not be.
    DecTtl,
    /// Sends the packet as it is now out of a physical or tunnel port. Input-port suppression and
    /// reserved ports were resolved when the flow was made.
    Output(PortNo),
    /// Sends a copy to the controller ring.
    Controller {
        /// Bytes asked for.
        max_len: u16,
    },
}

/// A flow: masked key, steps, TTL threshold, and the rules its packets count on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What it matches.
    pub matching: MaskedKey,
    /// What it does; empty: drop.
    pub steps: Vec<Step>,
    /// A packet whose TTL is at or below this is an exception: untouched and uncounted it goes to
    /// the slow path. `None` when no step decrements. Number of decrements since the last TTL set.
    pub ttl_threshold: Option<u8>,
    /// Rules that matched, one per table passed; each counts every packet of the flow.
    pub rules: Vec<RuleId>,
}

impl Flow {
    /// Whether the steps send the packet nowhere (drop).
    #[must_use]
    pub fn is_drop(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Output(_)))
    }
}
