//! Rules from text: `ovs-ofctl add-flow` syntax, one rule a line, `#` starts a comment.

use super::error::{TextError, TextWarning};
use crate::port::PortTable;
use crate::rule::{Match, Rule};

/// A rule read from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRule {
    /// The rule, checked with [`Rule::check`].
    pub rule: Rule,
    /// Its line, from 1.
    pub line: u32,
    /// What is doubtful about it.
    pub warnings: Vec<TextWarning>,
}

/// What `rules del` deletes: the syntax of `ovs-ofctl del-flows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Only this table; `None` for all.
    pub table: Option<u8>,
    /// Only rules of exactly this priority and match (`delete_strict`).
    pub strict_priority: Option<u16>,
    /// Cookie bits wanted and compared.
    pub cookie: (u64, u64),
    /// Rules at least as specific as this.
    pub matching: Match,
}

impl Selector {
    /// Whether the rule is selected.
    #[must_use]
    pub fn selects(&self, rule: &Rule) -> bool {
        let _ = rule;
        false
    }
}

/// Reads a file of rules. All or nothing: with one bad line only errors come back.
///
/// Port numbers and names are looked up in `ports`. Equal-priority overlaps get a warning on the
/// later rule.
///
/// # Errors
/// Every bad line, up to [`super::error::ERROR_COUNT_MAX`].
pub fn parse_rules(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<Vec<ParsedRule>, Vec<TextError>> {
    let _ = (source_name, text, ports);
    Ok(Vec::new())
}

/// Reads one rule, as `rules add` gets it.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_rule(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<ParsedRule, TextError> {
    let _ = (text, ports);
    Err(TextError {
        source_name: source_name.to_owned(),
        line: 1,
        column: 1,
        problem: super::error::Problem::MissingActions,
    })
}

/// Reads what `rules del` deletes.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_selector(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<Selector, TextError> {
    parse_rule(source_name, text, ports).map(|parsed| Selector {
        table: None,
        strict_priority: None,
        cookie: (0, 0),
        matching: parsed.rule.matching,
    })
}
