//! The actions of the rules a packet passes, composed to the steps of its flow.

use super::action_set::ActionSet;
use super::state::State;
use twinpath_flow::action::{Action, Instructions, OutPort};
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{OuterTos, PortNo, TunnelKind};
use twinpath_flow::steps::Step;

/// A packet that cannot be the model of a flow: it is an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the TTL expires on the way")]
pub struct TtlExpires;

/// Steps in the making.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    pipeline: &'a Pipeline,
    /// The packet now.
    pub(super) state: State,
    /// Bits that packets must have in common for the steps so far.
    pub(super) mask: Key,
    /// Steps so far.
    pub(super) steps: Vec<Step>,
    set: ActionSet,
    /// Whether a step set [`Field::TunDst`]: a received one is not used.
    has_tunnel_target: bool,
    /// Likewise [`Field::Qfi`].
    has_qfi: bool,
}

impl<'a> Composer<'a> {
    /// Nothing composed yet; `steps` is empty and lends its memory.
    pub(super) fn new(pipeline: &'a Pipeline, received: &Key, steps: Vec<Step>) -> Self {
        Self {
            pipeline,
            state: State::new(*received),
            mask: Key::ZERO,
            steps,
            set: ActionSet::default(),
            has_tunnel_target: false,
            has_qfi: false,
        }
    }

    /// Demands that these bits of the present key are what they are.
    pub(super) fn constrain(&mut self, bits: &Key) {
        self.state.constrain(bits, &mut self.mask);
    }

    /// Carries out what a rule says, but for going to another table.
    pub(super) fn execute(&mut self, instructions: &Instructions) -> Result<(), TtlExpires> {
        instructions.apply.iter().try_for_each(|action| self.action(action))?;
        if instructions.clear {
            self.set = ActionSet::default();
        }
        self.set.write(&instructions.write);
        if let Some((value, mask)) = instructions.write_metadata {
            self.state.metadata = (self.state.metadata & !mask) | (value & mask);
        }
        Ok(())
    }

    /// Executes the action set, after the last table.
    pub(super) fn finish(&mut self) -> Result<(), TtlExpires> {
        let actions = std::mem::take(&mut self.set).into_actions();
        actions.iter().try_for_each(|action| self.action(action))
    }

    fn action(&mut self, action: &Action) -> Result<(), TtlExpires> {
        match action {
            Action::Output(OutPort::Controller { max_len }) => {
                self.steps.push(Step::Controller { max_len: *max_len });
            }
            Action::Output(port) => self.output(*port),
            Action::SetField { field, value, mask } => self.set_field(*field, *value, *mask),
            Action::PushVlan(tpid) => {
                self.state.push_tag(0x1000);
                self.steps.push(Step::PushVlan(*tpid));
            }
            Action::PopVlan => {
                if self.read(Field::VlanTci, 0x1000) != 0 {
                    self.state.pop_tag();
                    self.steps.push(Step::PopVlan);
                }
            }
            Action::DecTtl => return self.decrement_ttl(),
        }
        Ok(())
    }

    fn decrement_ttl(&mut self) -> Result<(), TtlExpires> {
        if !self.is_ip() {
            return Ok(());
        }
        if self.state.key.get(Field::IpTtl) <= 1 {
            return Err(TtlExpires);
        }
        self.state.decrement_ttl();
        self.steps.push(Step::DecTtl);
        Ok(())
    }

    fn set_field(&mut self, field: Field, value: u128, mask: u128) {
        const PRESENT: u128 = 0x1000;
        let tags = field == Field::VlanTci && value & mask & PRESENT != 0;
        if tags && self.read(Field::VlanTci, PRESENT) == 0 {
            // The rule that wrote it saw a tag that is gone: it is added, as in Open vSwitch.
            self.state.push_tag(0x1000);
            self.steps.push(Step::PushVlan(0x8100));
        }
        let mask = match field {
            // The present bit says that there is a tag; it is not a bit of it.
            Field::VlanTci => mask & 0xefff,
            _ => mask,
        };
        if self.has(field) {
            self.has_tunnel_target |= field == Field::TunDst;
            self.has_qfi |= field == Field::Qfi;
            let is_port = matches!(field, Field::L4Src | Field::L4Dst);
            // Tables see the ports of a first fragment as 0, whatever is written.
            if !is_port || self.read(Field::IpFrag, 3) == 0 {
                self.state.set(field, value, mask);
            }
            self.steps.push(Step::Set { field, value: value & mask, mask });
        }
    }

    fn output(&mut self, port: OutPort) {
        let pipeline = self.pipeline;
        let in_port = self.read(Field::InPort, 0xffff);
        let is_input = |port: PortNo| u128::from(port.0) == in_port;
        match port {
            OutPort::Number(port) if is_input(port) => {}
            OutPort::Number(port) => self.output_to(port),
            OutPort::InPort => {
                if let Some(port) = pipeline.ports.iter().find(|port| is_input(port.number)) {
                    self.output_to(port.number);
                }
            }
            OutPort::All | OutPort::Flood => {
                for port in pipeline.ports.iter().filter(|port| !is_input(port.number)) {
                    self.output_to(port.number);
                }
            }
            OutPort::Controller { .. } => {}
        }
    }

    fn output_to(&mut self, port: PortNo) {
        let Some(found) = self.pipeline.ports.find(port) else {
            return;
        };
        if let Some(tunnel) = self.pipeline.ports.tunnel(found.number) {
            // What the outer headers are made of. ECN is always copied outwards (RFC 6040).
            let inherits = tunnel.tos == OuterTos::Inherit;
            let is_open = tunnel.remote_ip.is_none();
            let is_gtpu = tunnel.kind == TunnelKind::Gtpu;
            let carries_qfi = is_gtpu && tunnel.qfi.is_none() && self.has_qfi;
            let id_bits = if is_gtpu { 0xffff_ffff } else { 0x00ff_ffff };
            if is_gtpu {
                // Only IP packets are carried.
                self.read(Field::EthType, 0xffff);
            }
            self.read(Field::TunId, id_bits);
            self.read(Field::IpTos, if inherits { 0xff } else { 3 });
            if is_open && self.has_tunnel_target {
                self.read(Field::TunDst, 0xffff_ffff);
            }
            if carries_qfi {
                self.read(Field::Qfi, 0x3f);
            }
        }
        self.steps.push(Step::Output(port));
    }

    /// Bits of a field as it is now; the flow then depends on them.
    pub(super) fn read(&mut self, field: Field, bits: u128) -> u128 {
        self.state.constrain_field(field, bits, &mut self.mask);
        self.state.key.get(field) & bits
    }
}
