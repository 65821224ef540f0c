//! The executable specification: linear search, actions one by one on real bytes.
//!
//! Nothing is compiled, cached or composed here. What this module does is right; the fast path and
//! the card are held equal to it by tests. A packet that no rule of a table matches ends there, and its
//! action set is executed, as in Open vSwitch.

mod action_set;
mod switch;
#[cfg(test)]
mod tests;

pub use switch::{Expired, Switch, Timeout};

use crate::action::{Action, OutPort};
use crate::apply::Packet;
use crate::encap;
use crate::field::Field;
use crate::frame::ethernet::TYPE_VLAN;
use crate::key::VLAN_PRESENT;
use crate::parse::{self, Standing};
use crate::pipeline::{Pipeline, PlacedRule};
use crate::port::{PortKind, PortNo};
use crate::rule::RuleId;
use crate::steps::Step;
use action_set::ActionSet;

/// Why a frame, or one copy of it, went nowhere by no rule's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The input port is not a physical port of the table.
    NoPort,
    /// Longer than the input port's `mtu_in`.
    MtuIn,
    /// Shorter than an Ethernet header, or the outer headers claim a tunnel and are wrong.
    Malformed,
    /// Longer than the `mtu_out` of this physical port.
    MtuOut(PortNo),
    /// This tunnel port could not encapsulate it.
    Encap(PortNo),
}

/// What became of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent, in order, each with the physical port.
    pub outputs: Vec<(PortNo, Vec<u8>)>,
    /// Rules hit, one per table passed, in order.
    pub rules: Vec<RuleId>,
    /// Copies for the controller ring, cut to what was asked for.
    pub controller: Vec<Vec<u8>>,
    /// Losses that no rule decided.
    pub losses: Vec<Cause>,
    /// The most VLAN tags that pushes gave it; 0 without a push. Open vSwitch contradicts itself
    /// about a third.
    pub tags_max: u8,
}

impl Outcome {
    /// Whether the packet went nowhere.
    #[must_use]
    pub fn is_drop(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// Runs one frame, received on physical port `in_port`, through the pipeline.
#[must_use]
pub fn process(pipeline: &Pipeline, frame: &[u8], in_port: PortNo) -> Outcome {
    let lost = |cause| Outcome { losses: vec![cause], ..Outcome::default() };
    let port = pipeline.ports.find(in_port).filter(|port| port.kind == PortKind::Physical);
    let Some(port) = port else { return lost(Cause::NoPort) };
    if frame.len() > usize::from(port.mtu_in) {
        return lost(Cause::MtuIn);
    }
    let parsed = parse::parse(frame, in_port, &pipeline.ports);
    if parsed.standing == Standing::Malformed {
        return lost(Cause::Malformed);
    }
    let mut run = Run {
        pipeline,
        in_port: port_of(parsed.key.get(Field::InPort)),
        source_port: encap::source_port(&parsed.key.head),
        packet: Packet::new(&parsed, frame),
        metadata: 0,
        action_set: ActionSet::default(),
        outcome: Outcome::default(),
    };
    run.tables();
    let actions = std::mem::take(&mut run.action_set).into_list();
    // A failing dec_ttl ends the set as it ends a list.
    let (Ok(()) | Err(TtlExceeded)) = run.actions(&actions);
    run.outcome
}

fn port_of(value: u128) -> PortNo {
    PortNo(u16::try_from(value).unwrap_or(0))
}

/// TTL 1 or 0 met a `dec_ttl`: the rest of the list is not executed.
struct TtlExceeded;

/// One packet on its way.
struct Run<'a> {
    pipeline: &'a Pipeline,
    /// Port rules see: the tunnel port for a decapsulated packet.
    in_port: PortNo,
    /// UDP source port if it is encapsulated.
    source_port: u16,
    packet: Packet,
    metadata: u64,
    action_set: ActionSet,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    /// Passes the tables. Ends: `goto_table` leads to later tables only, others end it.
    fn tables(&mut self) {
        let mut table = 0;
        while let Some(placed) = self.find(table) {
            self.outcome.rules.push(placed.id);
            let instructions = &placed.rule.instructions;
            if self.actions(&instructions.apply).is_err() {
                // As in Open vSwitch: no further instruction, yet the action set is executed.
                return;
            }
            if instructions.clear {
                self.action_set = ActionSet::default();
            }
            self.action_set.write(&instructions.write);
            if let Some((value, mask)) = instructions.write_metadata {
                self.metadata = (self.metadata & !mask) | (value & mask);
            }
            match instructions.goto_table {
                Some(next) if next > table => table = next,
                _ => return,
            }
        }
    }

    /// The first rule that matches: rules are sorted by falling priority, then age.
    fn find(&self, table: u8) -> Option<&'a PlacedRule> {
        self.pipeline.table(table).iter().find(|placed| {
            let matching = &placed.rule.matching;
            matching.key.matches(&self.packet.key)
                && self.metadata & matching.metadata_mask == matching.metadata
        })
    }

    fn actions(&mut self, actions: &[Action]) -> Result<(), TtlExceeded> {
        for action in actions {
            match *action {
                Action::Output(port) => self.output(port),
                Action::SetField { field, value, mask } => {
                    self.set_field(field, value, mask);
                }
                Action::PushVlan(tpid) => {
                    self.packet.apply(Step::PushVlan(tpid));
                    self.outcome.tags_max = self.outcome.tags_max.max(self.packet.layout.tags);
                }
                Action::PopVlan => self.packet.apply(Step::PopVlan),
                Action::DecTtl => {
                    let is_ip = crate::apply::is_settable(&self.packet.key, Field::IpTtl);
                    if is_ip && self.packet.key.get(Field::IpTtl) <= 1 {
                        return Err(TtlExceeded);
                    }
                    self.packet.apply(Step::DecTtl);
                }
            }
        }
        Ok(())
    }

    /// Sets a field. A VLAN id set with its present bit on an untagged packet (the rule that wrote it
    /// saw a tag, a later table popped it) adds a tag, as in Open vSwitch.
    fn set_field(&mut self, field: Field, value: u128, mask: u128) {
        let present = u128::from(VLAN_PRESENT);
        let is_untagged = self.packet.key.get(Field::VlanTci) == 0;
        if field == Field::VlanTci && is_untagged && value & mask & present != 0 {
            self.packet.apply(Step::PushVlan(TYPE_VLAN));
        }
        self.packet.apply(Step::Set { field, value, mask });
    }

    fn output(&mut self, target: OutPort) {
        match target {
            OutPort::Number(port) if port == self.in_port => {}
            OutPort::Number(port) => self.send(port),
            OutPort::InPort => self.send(self.in_port),
            OutPort::All | OutPort::Flood => {
                for port in self.pipeline.ports.iter() {
                    if port.number != self.in_port {
                        self.send(port.number);
                    }
                }
            }
            OutPort::Controller { max_len } => {
                let len = self.packet.bytes.len().min(usize::from(max_len));
                self.outcome.controller.push(self.packet.bytes[..len].to_vec());
            }
        }
    }

    /// Sends the packet as it is out of a physical or tunnel port; an absent port swallows it.
    fn send(&mut self, number: PortNo) {
        let Some(port) = self.pipeline.ports.find(number) else { return };
        match &port.kind {
            PortKind::Physical => self.transmit(number, self.packet.bytes.clone()),
            PortKind::Tunnel(tunnel) => {
                match encap::encapsulate(&self.packet, self.source_port, tunnel) {
                    Ok(frame) => self.transmit(tunnel.over, frame),
                    Err(_) => self.outcome.losses.push(Cause::Encap(number)),
                }
            }
        }
    }

    fn transmit(&mut self, number: PortNo, frame: Vec<u8>) {
        let mtu = self.pipeline.ports.find(number).and_then(|port| port.mtu_out);
        if mtu.is_some_and(|mtu| frame.len() > usize::from(mtu)) {
            self.outcome.losses.push(Cause::MtuOut(number));
        } else {
            self.outcome.outputs.push((number, frame));
        }
    }
}
