//! Flows as small programs: the steps of a flow, compiled once, executed on each packet in place.

mod checksum;
mod crc32c;
mod edit;
mod encap;

use crate::outbox::{ControllerCopy, DropCause, Dropped, Outbox, Transmission};
use crate::packet::{Packet, PacketPool};
use edit::Set;
use encap::{Carried, Encap};
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Parsed};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::steps::{Flow, Step};

/// One operation on a packet.
#[derive(Debug)]
enum Op {
    Set(Set),
    PushVlan([u8; 2]),
    PopVlan,
    DecTtl,
    /// Sends through a physical port, if not longer than its limit.
    Output {
        port: PortNo,
        mtu: usize,
    },
    /// Sends through a tunnel port.
    Tunnel(Box<Encap>),
    Controller {
        max_len: usize,
    },
}

/// The steps of a flow, compiled. Empty: drop.
#[derive(Debug)]
pub(crate) struct Program {
    ops: Box<[Op]>,
    /// No operation sends the packet anywhere (the controller is nowhere).
    is_drop: bool,
}

/// Where a program's results go.
#[derive(Debug)]
pub(crate) struct Effects<'a> {
    /// Gives buffers for copies, takes back packets that are done.
    pub(crate) pool: &'a mut PacketPool,
    /// Takes what is produced.
    pub(crate) out: &'a mut Outbox,
}

impl Effects<'_> {
    /// Drops a packet.
    pub(crate) fn drop_packet(&mut self, cause: DropCause, packet: Packet) {
        self.out.drops.push(Dropped { cause, port: packet.port });
        self.pool.give(packet);
    }
}

impl Program {
    /// Compiles the steps of a flow.
    pub(crate) fn new(flow: &Flow, ports: &PortTable) -> Self {
        // What the outer headers read: the flow demands it, or a step sets it.
        let mut known = flow.matching.value;
        let mut carried = Carried::default();
        let mut ops = Vec::with_capacity(flow.steps.len());
        for step in &flow.steps {
            match *step {
                Step::Set { field, value, mask } => {
                    known.set(field, (known.get(field) & !mask) | value);
                    match field {
                        Field::TunId | Field::TunSrc => {}
                        Field::TunDst => carried.target = Some(known.get(field)),
                        Field::Qfi => carried.qfi = Some(known.get(field)),
                        _ => ops.push(Op::Set(Set::new(field, value, mask))),
                    }
                }
                Step::PushVlan(tpid) => ops.push(Op::PushVlan(tpid.to_be_bytes())),
                Step::PopVlan => ops.push(Op::PopVlan),
                Step::DecTtl => ops.push(Op::DecTtl),
                Step::Output(port) => match ports.tunnel(port) {
                    Some(tunnel) => {
                        let over = ports.find(tunnel.over);
                        let mtu = over.map_or(usize::MAX, mtu_out);
                        ops.push(Op::Tunnel(Box::new(Encap::new(
                            (port, tunnel),
                            &known,
                            carried,
                            mtu,
                        ))));
                    }
                    None => {
                        let mtu = ports.find(port).map_or(usize::MAX, mtu_out);
                        ops.push(Op::Output { port, mtu });
                    }
                },
                Step::Controller { max_len } => {
                    ops.push(Op::Controller { max_len: usize::from(max_len) });
                }
            }
        }
        Self { ops: ops.into(), is_drop: flow.is_drop() }
    }

    /// Executes the program on a packet, which ends in `effects`.
    pub(crate) fn run(&self, packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        if self.is_drop {
            effects.out.drops.push(Dropped { cause: DropCause::Rules, port: packet.port });
        }
        let Some((last, ops)) = self.ops.split_last() else {
            return effects.pool.give(packet);
        };
        let mut run = Run { packet, layout: parsed.layout, parsed, effects };
        if !run.decapsulate() {
            run.drop_copy(DropCause::TooLong);
            return run.end();
        }
        for op in ops {
            run.execute(op);
        }
        run.execute_last(last);
    }
}

fn mtu_out(port: &twinpath_flow::port::Port) -> usize {
    port.mtu_out.map_or(usize::MAX, usize::from)
}

/// A program at work on a packet.
struct Run<'a, 'b> {
    packet: Packet,
    /// Where the headers are now.
    layout: Layout,
    /// The packet as received.
    parsed: &'a Parsed,
    effects: &'a mut Effects<'b>,
}

impl Run<'_, '_> {
    /// Leaves the inner frame of a tunnel packet.
    fn decapsulate(&mut self) -> bool {
        self.packet.pull_front(usize::from(self.layout.strip));
        if self.layout.prepend == 0 {
            return true;
        }
        let Some(frame) = self.packet.push_front(14) else {
            return false;
        };
        frame[..12].fill(0);
        frame[12..14].copy_from_slice(&self.layout.prepend.to_be_bytes());
        true
    }

    /// Executes an operation that others follow: an output takes a copy.
    fn execute(&mut self, op: &Op) {
        match op {
            Op::Output { port, mtu } => {
                if self.fits(*port, *mtu)
                    && let Some(copy) = self.copy()
                {
                    self.send(*port, copy);
                }
            }
            Op::Tunnel(encap) => {
                if let Some(copy) = self.copy() {
                    self.send_tunnelled(encap, copy);
                }
            }
            Op::Controller { max_len } => {
                if let Some(copy) = self.copy() {
                    self.send_to_controller(*max_len, copy);
                }
            }
            Op::Set(set) => set.run(self.packet.frame_mut(), &self.layout),
            Op::PushVlan(tpid) => self.push_vlan(*tpid),
            Op::PopVlan => self.pop_vlan(),
            Op::DecTtl => self.decrement_ttl(),
        }
    }

    /// Executes the last operation, which needs no copy.
    fn execute_last(mut self, op: &Op) {
        match op {
            Op::Output { port, mtu } => {
                if self.fits(*port, *mtu) {
                    let Self { packet, effects, .. } = self;
                    effects.out.transmissions.push(Transmission { port: *port, packet });
                } else {
                    self.end();
                }
            }
            _ => {
                self.execute(op);
                self.end();
            }
        }
    }

    fn end(self) {
        self.effects.pool.give(self.packet);
    }

    fn fits(&mut self, port: PortNo, mtu: usize) -> bool {
        if self.packet.len() <= mtu {
            return true;
        }
        self.effects.out.drops.push(Dropped { cause: DropCause::MtuOut, port });
        false
    }

    fn copy(&mut self) -> Option<Packet> {
        let Some(mut copy) = self.effects.pool.take() else {
            self.drop_copy(DropCause::NoBuffer);
            return None;
        };
        copy.copy_from(&self.packet);
        Some(copy)
    }

    fn drop_copy(&mut self, cause: DropCause) {
        self.effects.out.drops.push(Dropped { cause, port: self.packet.port });
    }

    fn send(&mut self, port: PortNo, packet: Packet) {
        self.effects.out.transmissions.push(Transmission { port, packet });
    }

    fn send_tunnelled(&mut self, encap: &Encap, mut packet: Packet) {
        match encap.run(&mut packet, &self.layout, self.parsed) {
            Ok(()) => self.send(encap.over(), packet),
            Err(dropped) => {
                self.effects.out.drops.push(dropped);
                self.effects.pool.give(packet);
            }
        }
    }

    fn send_to_controller(&mut self, max_len: usize, mut packet: Packet) {
        let len = packet.len();
        packet.truncate(max_len);
        let in_port = self.parsed.key.get(Field::InPort);
        let in_port = PortNo(u16::try_from(in_port).expect("a field of 16 bits"));
        self.effects.out.controller.push(ControllerCopy { packet, in_port, len });
    }

    /// Opens 4 bytes behind the addresses; the tag has vid 0 and pcp 0.
    fn push_vlan(&mut self, tpid: [u8; 2]) {
        let Some(frame) = self.packet.push_front(4) else {
            self.drop_copy(DropCause::TooLong);
            return;
        };
        frame.copy_within(4..16, 0);
        frame[12..14].copy_from_slice(&tpid);
        frame[14..16].fill(0);
        self.layout.tags = self.layout.tags.saturating_add(1);
        self.shift(4);
    }

    fn pop_vlan(&mut self) {
        if self.layout.tags == 0 {
            return;
        }
        self.packet.frame_mut().copy_within(0..12, 4);
        self.packet.pull_front(4);
        self.layout.tags -= 1;
        self.shift(-4);
    }

    fn shift(&mut self, by: i16) {
        let Layout { l3, l4, end, checksum, .. } = &mut self.layout;
        for at in [l3, l4, end, checksum] {
            if *at != 0 {
                *at = at.saturating_add_signed(by);
            }
        }
    }

    fn decrement_ttl(&mut self) {
        let at = match self.layout.network {
            Network::Ipv4 => usize::from(self.layout.l3) + 8,
            Network::Ipv6 => usize::from(self.layout.l3) + 7,
            Network::None | Network::Arp => return,
        };
        let frame = self.packet.frame_mut();
        let ttl = frame[at].saturating_sub(1);
        Set::new(Field::IpTtl, u128::from(ttl), 0xff).run(frame, &self.layout);
    }
}
