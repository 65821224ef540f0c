//! Random rules and pipelines.

use super::{Random, actions, matches};
use crate::action::Instructions;
use crate::check::Checker;
use crate::pipeline::{Pipeline, PlacedRule};
use crate::port::PortTable;
use crate::rule::{Match, Rule, RuleId};
use std::sync::Arc;

/// Tables that random rules use.
const TABLE_COUNT: u8 = 4;

/// A rule of `table` that passes [`Rule::check`].
#[must_use]
pub fn rule(random: &mut Random, ports: &PortTable, table: u8) -> Rule {
    let key = matches::matching(random, ports);
    let mut matching = Match { key, ..Match::default() };
    if table > 0 && random.chance(30) {
        matching.metadata_mask = random.pick(&[0xff, 0x0f]);
        matching.metadata = u64::from(random.byte() & 1);
    }
    let mut checker = Checker::new(&matching.key);
    let mut instructions = Instructions {
        apply: actions::actions(random, ports, &mut checker, 5),
        clear: random.chance(5),
        ..Instructions::default()
    };
    if random.chance(25) {
        instructions.write = actions::actions(random, ports, &mut checker, 4);
    }
    if table + 1 < TABLE_COUNT && random.chance(60) {
        let later = random.below(usize::from(TABLE_COUNT - table - 1));
        instructions.goto_table = Some(table + 1 + u8::try_from(later).unwrap_or(0));
        if random.chance(40) {
            instructions.write_metadata = Some((u64::from(random.byte() & 1), 0xff));
        }
    }
    Rule {
        table,
        priority: u16::try_from(1 + random.below(100)).unwrap_or(1) * 10,
        cookie: random.next() & 0xffff,
        matching,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        send_flow_rem: false,
        instructions,
    }
}

/// Rules of four tables, no two of one priority in a table, so that their order in a file decides
/// nothing; the first table has a rule that matches everything.
#[must_use]
pub fn rules(random: &mut Random, ports: &PortTable) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for table in 0..TABLE_COUNT {
        let count = 2 + random.below(if table == 0 { 12 } else { 8 });
        for _ in 0..count {
            let rule = rule(random, ports, table);
            let taken = |other: &Rule| other.table == table && other.priority == rule.priority;
            if !rules.iter().any(taken) {
                rules.push(rule);
            }
        }
        if table == 0 || random.chance(70) {
            rules.push(catch_all(random, ports, table));
        }
    }
    rules
}

fn catch_all(random: &mut Random, ports: &PortTable, table: u8) -> Rule {
    let matching = Match::default();
    let apply = actions::actions(random, ports, &mut Checker::new(&matching.key), 2);
    let goto_table = (table + 1 < TABLE_COUNT && random.chance(60)).then_some(table + 1);
    Rule {
        priority: 1,
        matching,
        instructions: Instructions { apply, goto_table, ..Instructions::default() },
        ..rule(random, ports, table)
    }
}

/// A pipeline of random rules, ids from 1 in the order of [`rules`].
#[must_use]
pub fn pipeline(random: &mut Random, ports: &Arc<PortTable>) -> Pipeline {
    let placed = (1..)
        .map(RuleId)
        .zip(rules(random, ports))
        .map(|(id, rule)| PlacedRule { id, rule: Arc::new(rule) });
    Pipeline::new(Arc::clone(ports), placed)
}
