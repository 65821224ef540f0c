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

/// Why a rule is refused although it can be read; Open vSwitch says OFPBAC_MATCH_INCONSISTENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CheckError {
    /// A set-field whose header the match (and the actions before it) does not guarantee.
    #[error("setting {field} needs {needs}")]
    MissingPrerequisite {
        /// Name of the field.
        field: &'static str,
        /// What the match lacks.
        needs: &'static str,
    },
    /// `goto_table` must lead to a later table.
    #[error("goto_table must lead to a table after {from}, not to {to}")]
    GotoBackwards {
        /// Table of the rule.
        from: u8,
        /// Table wanted.
        to: u8,
    },
}

impl Rule {
    /// Whether Open vSwitch (`-O OpenFlow13`) would accept the rule.
    ///
    /// # Errors
    /// The first action or instruction that the match does not allow.
    pub fn check(&self) -> Result<(), CheckError> {
        match self.instructions.goto_table {
            Some(to) if to <= self.table => Err(CheckError::GotoBackwards { from: self.table, to }),
            _ => Ok(()),
        }
    }
}
