//! The pipeline: tables of rules, the intent. A value: changing it makes a new one.

use crate::port::PortTable;
use crate::rule::{Rule, RuleId};
use std::sync::Arc;

/// A rule in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRule {
    /// Identity.
    pub id: RuleId,
    /// The rule.
    pub rule: Arc<Rule>,
}

/// Tables of rules, each sorted by falling priority; at equal priority the earlier line is first.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Ports that outputs and tunnels refer to.
    pub ports: Arc<PortTable>,
    tables: Vec<Vec<PlacedRule>>,
}

impl Pipeline {
    /// A pipeline of `rules` in file order. Same table, match and priority: the later replaces.
    #[must_use]
    pub fn new(ports: Arc<PortTable>, rules: impl IntoIterator<Item = PlacedRule>) -> Self {
        let mut tables: Vec<Vec<PlacedRule>> = Vec::new();
        for placed in rules {
            let index = usize::from(placed.rule.table);
            if tables.len() <= index {
                tables.resize_with(index + 1, Vec::new);
            }
            tables[index].push(placed);
        }
        for table in &mut tables {
            *table = replace_duplicates(std::mem::take(table));
            table.sort_by_key(|placed| std::cmp::Reverse(placed.rule.priority));
        }
        Self { ports, tables }
    }

    /// The rules of a table, highest priority first; empty for a table without rules.
    #[must_use]
    pub fn table(&self, table: u8) -> &[PlacedRule] {
        self.tables.get(usize::from(table)).map_or(&[], Vec::as_slice)
    }

    /// All rules, by table, then falling priority.
    pub fn iter(&self) -> impl Iterator<Item = &PlacedRule> {
        self.tables.iter().flatten()
    }
}

/// Keeps the last of each (priority, match), in the place of the first.
fn replace_duplicates(rules: Vec<PlacedRule>) -> Vec<PlacedRule> {
    let mut place = std::collections::HashMap::with_capacity(rules.len());
    let mut kept: Vec<PlacedRule> = Vec::with_capacity(rules.len());
    for placed in rules {
        let key = (placed.rule.priority, placed.rule.matching);
        if let Some(&index) = place.get(&key) {
            let slot: &mut PlacedRule = &mut kept[index];
            *slot = placed;
        } else {
            place.insert(key, kept.len());
            kept.push(placed);
        }
    }
    kept
}
