//! The wanted rules: gives them identities that outlive edits of the file.

use crate::io::ExpiryCause;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::{Match, Rule, RuleId};
use twinpath_flow::text::Selector;

/// What makes a rule the same place in a table: a later rule with it replaces the earlier one.
type Place = (u8, u16, Match);

const fn place(rule: &Rule) -> Place {
    (rule.table, rule.priority, rule.matching)
}

/// What replacing all rules changed. A rule with other instructions is removed and added.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Rules that stay, with their counters.
    pub kept: usize,
    /// New ones, in order.
    pub added: Vec<PlacedRule>,
    /// Those that went, in order.
    pub removed: Vec<PlacedRule>,
}

/// The rules wanted now, in the order that decides between equal priorities.
#[derive(Clone, Debug, Default)]
pub struct RuleStore {
    rules: Vec<PlacedRule>,
    next_id: u32,
}

impl RuleStore {
    /// No rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The rules of a former process, with their identities; new ones come after `last_id`.
    #[must_use]
    pub const fn resume(rules: Vec<PlacedRule>, last_id: u32) -> Self {
        Self { rules, next_id: last_id }
    }

    /// The last identity given to a rule.
    #[must_use]
    pub const fn last_id(&self) -> u32 {
        self.next_id
    }

    /// Makes `rules` (a whole file, in its order) the wanted ones. An unchanged rule keeps its
    /// identity, counters and age; a changed one gets a new identity.
    pub fn replace(&mut self, rules: Vec<Rule>) -> Difference {
        let before = std::mem::take(&mut self.rules);
        let old: HashMap<Place, &PlacedRule> =
            before.iter().map(|placed| (place(&placed.rule), placed)).collect();
        let mut places = HashMap::with_capacity(rules.len());
        for rule in rules {
            let kept = old.get(&place(&rule)).filter(|placed| *placed.rule == rule);
            let placed = kept.map_or_else(|| self.identify(rule), |placed| (*placed).clone());
            self.put(&mut places, placed);
        }
        self.difference(&before)
    }

    fn difference(&self, before: &[PlacedRule]) -> Difference {
        let ids = |rules: &[PlacedRule]| rules.iter().map(|placed| placed.id).collect();
        let (old, new): (HashSet<RuleId>, HashSet<RuleId>) = (ids(before), ids(&self.rules));
        let missing = |from: &[PlacedRule], there: &HashSet<RuleId>| {
            from.iter().filter(|placed| !there.contains(&placed.id)).cloned().collect()
        };
        Difference {
            kept: old.intersection(&new).count(),
            added: missing(&self.rules, &old),
            removed: missing(before, &new),
        }
    }

    /// Adds rules as `add-flow` does: one with the same table, priority and match is replaced, in
    /// its place and with fresh counters.
    pub fn add(&mut self, rules: Vec<Rule>) {
        let mut places = (0..).zip(&self.rules).map(|(i, p)| (place(&p.rule), i)).collect();
        for rule in rules {
            let placed = self.identify(rule);
            self.put(&mut places, placed);
        }
    }

    /// Deletes the selected rules and returns them.
    pub fn delete(&mut self, selector: &Selector) -> Vec<PlacedRule> {
        self.rules.extract_if(.., |placed| selector.selects(&placed.rule)).collect()
    }

    /// Takes out rules that timed out and returns them; ids that are gone already are ignored.
    pub fn expire(&mut self, expired: &[(RuleId, ExpiryCause)]) -> Vec<PlacedRule> {
        let ended = |placed: &mut PlacedRule| expired.iter().any(|(id, _)| *id == placed.id);
        self.rules.extract_if(.., ended).collect()
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[PlacedRule] {
        &self.rules
    }

    /// The pipeline of the rules wanted now.
    #[must_use]
    pub fn pipeline(&self, ports: Arc<PortTable>) -> Pipeline {
        Pipeline::new(ports, self.rules.iter().cloned())
    }

    fn identify(&mut self, rule: Rule) -> PlacedRule {
        self.next_id += 1;
        PlacedRule { id: RuleId(self.next_id), rule: Arc::new(rule) }
    }

    /// Puts a rule in the place of its equal, or at the end.
    fn put(&mut self, places: &mut HashMap<Place, usize>, placed: PlacedRule) {
        match places.get(&place(&placed.rule)) {
            Some(index) => self.rules[*index] = placed,
            None => {
                places.insert(place(&placed.rule), self.rules.len());
                self.rules.push(placed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::action::{Action, Instructions, OutPort};
    use twinpath_flow::field::Field;
    use twinpath_flow::port::PortNo;

    fn rule(priority: u16, port: u16, output: u16) -> Rule {
        let mut matching = Match::default();
        matching.key.constrain(Field::InPort, port.into(), 0xffff);
        let apply = vec![Action::Output(OutPort::Number(PortNo(output)))];
        Rule {
            table: 0,
            priority,
            cookie: port.into(),
            matching,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            send_flow_rem: false,
            instructions: Instructions { apply, ..Instructions::default() },
        }
    }

    fn ids(store: &RuleStore) -> Vec<u32> {
        store.rules().iter().map(|placed| placed.id.0).collect()
    }

    #[test]
    fn a_reload_keeps_the_identity_of_unchanged_rules_only() {
        let mut store = RuleStore::new();
        store.replace(vec![rule(1, 1, 2), rule(1, 2, 1), rule(5, 3, 1)]);
        assert_eq!(ids(&store), [1, 2, 3]);
        let difference =
            store.replace(vec![rule(5, 3, 1), rule(1, 2, 9), rule(7, 1, 2), rule(1, 1, 2)]);
        assert_eq!(ids(&store), [3, 4, 5, 1]);
        let ids = |rules: &[PlacedRule]| rules.iter().map(|placed| placed.id.0).collect::<Vec<_>>();
        assert_eq!(difference.kept, 2);
        assert_eq!(ids(&difference.added), [4, 5]);
        assert_eq!(ids(&difference.removed), [2]);
    }

    #[test]
    fn a_later_rule_with_the_same_match_and_priority_replaces_in_place() {
        let mut store = RuleStore::new();
        store.replace(vec![rule(1, 1, 2), rule(1, 2, 1), rule(1, 1, 3)]);
        assert_eq!(ids(&store), [3, 2]);
        store.add(vec![rule(1, 2, 1), rule(1, 4, 1)]);
        assert_eq!(ids(&store), [3, 4, 5], "an add starts afresh, even when it changes nothing");
    }

    #[test]
    fn identities_are_never_used_again() {
        let mut store = RuleStore::new();
        store.replace(vec![rule(1, 1, 2)]);
        assert_eq!(store.expire(&[(RuleId(1), ExpiryCause::Hard)]).len(), 1);
        assert_eq!(store.expire(&[(RuleId(1), ExpiryCause::Hard)]).len(), 0);
        store.replace(vec![rule(1, 1, 2)]);
        assert_eq!(ids(&store), [2]);
    }

    #[test]
    fn delete_takes_the_rules_the_selector_selects() {
        let mut store = RuleStore::new();
        store.replace(vec![rule(1, 1, 2), rule(2, 1, 2), rule(2, 2, 2)]);
        let mut selector = Selector {
            table: None,
            strict_priority: Some(2),
            cookie: (0, 0),
            matching: rule(0, 1, 0).matching,
        };
        assert_eq!(store.clone().delete(&selector).len(), 1);
        selector.strict_priority = None;
        assert_eq!(store.clone().delete(&selector).len(), 2);
        selector.cookie = (2, u64::MAX);
        assert_eq!(store.delete(&selector).len(), 0);
    }
}
