//! Rules to text, in the order and spelling of `ovs-ofctl dump-flows`.

use super::spelling::spell;
use super::spelling_actions::ActionSpeller;
use crate::action::Action;
use crate::port::PortTable;
use crate::rule::{PRIORITY_DEFAULT, Rule};
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

/// The match of a rule alone, without its priority; empty when it matches everything.
#[must_use]
pub fn rule_match_text(rule: &Rule, names: Option<&PortTable>) -> String {
    let metadata = (rule.matching.metadata, rule.matching.metadata_mask);
    spell(&rule.matching.key, metadata, names).join(",")
}

/// The actions and instructions of a rule alone.
#[must_use]
pub fn rule_actions_text(rule: &Rule, names: Option<&PortTable>) -> String {
    let speller = ActionSpeller { matching: &rule.matching.key, names };
    let spell_all = |actions: &[Action]| {
        let mut items = Vec::new();
        for action in actions {
            speller.action(action, &mut items);
        }
        items
    };
    let instructions = &rule.instructions;
    let mut items = spell_all(&instructions.apply);
    if instructions.clear {
        items.push("clear_actions".to_owned());
    }
    if !instructions.write.is_empty() {
        items.push(format!("write_actions({})", spell_all(&instructions.write).join(",")));
    }
    match instructions.write_metadata {
        Some((value, u64::MAX)) => items.push(format!("write_metadata:{value:#x}")),
        Some((value, mask)) => items.push(format!("write_metadata:{value:#x}/{mask:#x}")),
        None => {}
    }
    if let Some(table) = instructions.goto_table {
        items.push(format!("goto_table:{table}"));
    }
    if items.is_empty() { "drop".to_owned() } else { items.join(",") }
}

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule;
        if rule.cookie != 0 {
            write!(f, "cookie={:#x}, ", rule.cookie)?;
        }
        if rule.table != 0 {
            write!(f, "table={}, ", rule.table)?;
        }
        let timeouts = [
            ("idle_timeout", rule.idle_timeout),
            ("hard_timeout", rule.hard_timeout),
            ("importance", rule.importance),
        ];
        for (name, value) in timeouts {
            if value != 0 {
                write!(f, "{name}={value}, ")?;
            }
        }
        if rule.send_flow_rem {
            write!(f, "send_flow_rem ")?;
        }
        let mut items = Vec::new();
        if rule.priority != PRIORITY_DEFAULT {
            items.push(format!("priority={}", rule.priority));
        }
        let matching = rule_match_text(rule, self.names);
        if !matching.is_empty() {
            items.push(matching);
        }
        if !items.is_empty() {
            write!(f, "{} ", items.join(","))?;
        }
        write!(f, "actions={}", rule_actions_text(rule, self.names))
    }
}
