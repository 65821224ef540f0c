//! A rule: match, priority, instructions, timeouts.

use crate::action::Instructions;
use crate::key::MaskedKey;

/// Identity of a rule in a running system; never reused within a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// Priority of a rule whose text gives none.
pub const PRIORITY_DEFAULT: u16 = 32768;

/// What a rule matches: the packet's key and the pipeline's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Header fields.
    pub key: MaskedKey,
    /// Metadata bits wanted; none outside `metadata_mask`.
    pub metadata: u64,
    /// Metadata bits compared.
    pub metadata_mask: u64,
}

/// A rule as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Table, 0 to 254.
    pub table: u8,
    /// Priority; higher wins.
    pub priority: u16,
    /// Cookie, opaque.
    pub cookie: u64,
    /// Match.
    pub matching: Match,
    /// Seconds without a packet after which the rule expires; 0 for never.
    pub idle_timeout: u16,
    /// Seconds after which the rule expires; 0 for never.
    pub hard_timeout: u16,
    /// OpenFlow's importance; kept and printed.
    pub importance: u16,
    /// `send_flow_rem`: an event is shown when the rule expires or is deleted.
    pub send_flow_rem: bool,
    /// Instructions.
    pub instructions: Instructions,
}
