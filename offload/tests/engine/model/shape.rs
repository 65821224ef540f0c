//! What the card is, and the rules: one per input port, each sending to a port of its own.

use std::sync::Arc;
use twinpath_flow::action::Instructions;
use twinpath_flow::card::{ActionCaps, Capabilities, TableCaps, TableKind};
use twinpath_flow::field::Field;
use twinpath_flow::key::Line;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::rule::{Match, Rule, RuleId};

pub(crate) const PORTS: u16 = 3;

/// What the card is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) banks: u8,
    pub(crate) bank_capacity: u32,
    pub(crate) ternary_capacity: u32,
    pub(crate) generations: bool,
    pub(crate) hold: bool,
    pub(crate) counters: bool,
}

impl Shape {
    pub(crate) fn capabilities(&self) -> Capabilities {
        let bank = |number| TableCaps {
            name: format!("bank{number}"),
            kind: TableKind::Exact,
            capacity: self.bank_capacity,
            fields: Line([0xff; 64]),
        };
        let mut tables: Vec<_> = (0..self.banks).map(bank).collect();
        tables.push(TableCaps {
            name: "ternary".into(),
            kind: TableKind::Ternary,
            capacity: self.ternary_capacity,
            fields: Line([0xff; 64]),
        });
        Capabilities {
            card: "model".into(),
            ports: PORTS,
            tables,
            actions: ActionCaps { outputs: 4, hairpin: true, ..ActionCaps::default() },
            counters: self.counters,
            counter_staleness_ns: 0,
            generations: self.generations,
            hold_frames: if self.hold { 64 } else { 0 },
            queues: 1,
            mirror: false,
            read_back: true,
        }
    }
}

pub(crate) fn rule(port: u16, idle: u16, hard: u16) -> Rule {
    let mut matching = Match::default();
    matching.key.constrain(Field::InPort, port.into(), 0xffff);
    Rule {
        table: 0,
        priority: 1,
        cookie: 0,
        matching,
        idle_timeout: idle,
        hard_timeout: hard,
        importance: 0,
        send_flow_rem: false,
        instructions: Instructions::default(),
    }
}

pub(crate) fn pipeline(rules: &[RuleId], idle: u16, hard: u16) -> Arc<Pipeline> {
    let ports = PortTable::new((1..2000).map(Port::physical).collect()).expect("distinct ports");
    let placed = (1..)
        .zip(rules)
        .map(|(port, id)| PlacedRule { id: *id, rule: Arc::new(rule(port, idle, hard)) });
    Arc::new(Pipeline::new(Arc::new(ports), placed))
}

/// The port a rule sends to: different for every rule.
pub(crate) fn output_of(rule: RuleId) -> PortNo {
    PortNo(u16::try_from(rule.0).expect("few rules") + 10)
}
