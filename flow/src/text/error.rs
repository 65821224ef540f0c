//! What can be wrong with flow text, and where.

use std::fmt;

/// Longest list of errors reported for one text; reading stops there.
pub const ERROR_COUNT_MAX: usize = 20;

/// A place in a text that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}:{column}: {problem}")]
pub struct TextError {
    /// File name, or what stands for it.
    pub source_name: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong at one place; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A word that is no field, shorthand or setting.
    #[error("unknown field {word:?}{}", did_you_mean(.suggestion))]
    UnknownField {
        /// As written.
        word: String,
        /// The nearest known word.
        suggestion: Option<&'static str>,
    },
    /// A word that is no action.
    #[error("unknown action {word:?}{}", did_you_mean(.suggestion))]
    UnknownAction {
        /// As written.
        word: String,
        /// The nearest known word.
        suggestion: Option<&'static str>,
    },
    /// A word of the syntax that this version does not implement.
    #[error("{word:?} is not supported yet")]
    NotYet {
        /// As written.
        word: String,
    },
    /// A port that the port table does not have.
    #[error("no port {word:?}: expected one of {known}")]
    AbsentPort {
        /// As written.
        word: String,
        /// The ports there are.
        known: String,
    },
    /// A value that its field or setting cannot take.
    #[error("{word}: bad value {value:?}: expected {expected}")]
    BadValue {
        /// Field, setting or action.
        word: String,
        /// As written.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A field or action without the value it needs.
    #[error("{word:?} needs a value: expected {expected}")]
    MissingValue {
        /// Field, setting or action.
        word: String,
        /// What would be right.
        expected: String,
    },
    /// A value after a word that takes none.
    #[error("{word:?} takes no value")]
    UnexpectedValue {
        /// The word.
        word: String,
    },
    /// A rule without `actions=`.
    #[error("expected \"actions=\" and a list of actions")]
    MissingActions,
    /// A layer-4 field in a rule for later fragments, which have none.
    #[error("{word} cannot be matched in later fragments")]
    LaterFragment {
        /// The field.
        word: &'static str,
    },
    /// A closing parenthesis is missing, or there is one too many.
    #[error("unbalanced parentheses")]
    Unbalanced,
    /// A closing quote is missing.
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
    /// `drop` beside other actions.
    #[error("\"drop\" must be the only action")]
    DropNotAlone,
    /// Instructions out of OpenFlow's order.
    #[error("{word:?} must come before {earlier:?}")]
    InstructionOrder {
        /// The instruction that is too late.
        word: &'static str,
        /// The one already written.
        earlier: &'static str,
    },
    /// An instruction twice.
    #[error("{word:?} is written twice")]
    Twice {
        /// The instruction.
        word: &'static str,
    },
    /// An action that the match, or the actions before it, do not allow.
    #[error("{0}")]
    Inconsistent(#[from] crate::check::CheckError),
    /// A word that has no place in this kind of text.
    #[error("{word:?} has no place in {place}")]
    OutOfPlace {
        /// As written.
        word: String,
        /// The kind of text.
        place: &'static str,
    },
    /// A frame that is not pairs of hexadecimal digits, or is too short or long.
    #[error("expected a frame of 14 to 65535 bytes in hexadecimal")]
    BadFrame,
    /// A packet without the port it comes in on.
    #[error("expected in_port=PORT")]
    MissingInPort,
    /// A packet on a tunnel port that its peer cannot have sent.
    #[error("the tunnel cannot carry this packet: {0}")]
    NotInTunnel(crate::encap::EncapError),
    /// More errors follow; they were not looked for.
    #[error("too many errors, the rest is not read")]
    TooMany,
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |word| format!(", did you mean {word:?}?"))
}

/// A readable but doubtful rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextWarning {
    /// File name, or what stands for it.
    pub source_name: String,
    /// Line, from 1.
    pub line: u32,
    /// What is doubtful.
    pub doubt: Doubt,
}

/// What is doubtful about a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A field without its prerequisite: it is not matched at all, as in Open vSwitch.
    Ignored {
        /// The field.
        field: &'static str,
        /// What would make it count.
        needs: &'static str,
    },
    /// Some packet matches this rule and an earlier one of the same table and priority; the
    /// earlier wins.
    Overlap {
        /// Line of the earlier rule.
        earlier_line: u32,
    },
    /// The rule replaces an earlier one with the same table, priority and match.
    Replaces {
        /// Line of the earlier rule.
        earlier_line: u32,
    },
}

impl fmt::Display for TextWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source_name, self.line, self.doubt)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { field, needs } => {
                write!(f, "{field} is ignored, because the rule does not also match {needs}")
            }
            Self::Overlap { earlier_line } => write!(
                f,
                "overlaps the rule of line {earlier_line} at the same priority; the earlier wins"
            ),
            Self::Replaces { earlier_line } => write!(
                f,
                "replaces the rule of line {earlier_line}: same table, priority and match"
            ),
        }
    }
}
