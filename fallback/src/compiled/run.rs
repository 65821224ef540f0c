//! A program's operations at work on a packet, one by one.

use super::edit::Set;
use super::encap::Encap;
use super::{Effects, Op};
use crate::outbox::{ControllerCopy, DropCause, Dropped};
use crate::packet::Packet;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Parsed};
use twinpath_flow::port::PortNo;

/// A packet under way, tunnel headers taken off.
pub(super) struct Run<'a, 'b> {
    packet: Packet,
    /// Where the headers are now.
    layout: Layout,
    /// The packet as received.
    parsed: &'a Parsed,
    effects: &'a mut Effects<'b>,
    /// No room was left for a tag: the packet is not what it should be and goes nowhere.
    is_spoilt: bool,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Before the first operation.
    pub(super) fn new(packet: Packet, parsed: &'a Parsed, effects: &'a mut Effects<'b>) -> Self {
        Self { packet, layout: parsed.layout, parsed, effects, is_spoilt: false }
    }

    /// Executes operations; those that send take a copy, but for the last.
    pub(super) fn execute(mut self, ops: &[Op]) {
        if let Some((last, ops)) = ops.split_last() {
            for op in ops {
                self.step(op);
            }
            return self.finish(last);
        }
        self.end();
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Output { port, mtu } => {
                if self.may_send(*port, *mtu)
                    && let Some(copy) = self.copy(*port)
                {
                    send(*port, copy, self.effects);
                }
            }
            Op::Tunnel(encap) => {
                if self.may_send(encap.over(), usize::MAX)
                    && let Some(copy) = self.copy(encap.over())
                {
                    send_tunnelled(encap, copy, (&self.layout, self.parsed), self.effects);
                }
            }
            Op::Controller { max_len } => {
                if self.is_spoilt {
                    return;
                }
                if let Some(copy) = self.effects.pool.take() {
                    self.send_to_controller(*max_len, copy);
                } else {
                    self.drop_copy(DropCause::NoControllerBuffer, self.packet.port);
                }
            }
            Op::Set(set) => set.run(self.packet.frame_mut(), &self.layout),
            Op::PushVlan(tpid) => self.push_vlan(*tpid),
            Op::PopVlan => self.pop_vlan(),
            Op::DecTtl => self.decrement_ttl(),
        }
    }

    /// Executes the last operation, which needs no copy.
    fn finish(mut self, op: &Op) {
        match op {
            Op::Output { port, mtu } => {
                if !self.may_send(*port, *mtu) {
                    return self.end();
                }
                send(*port, self.packet, self.effects);
            }
            Op::Tunnel(encap) => {
                if !self.may_send(encap.over(), usize::MAX) {
                    return self.end();
                }
                let Self { packet, layout, parsed, effects, .. } = self;
                send_tunnelled(encap, packet, (&layout, parsed), effects);
            }
            _ => {
                self.step(op);
                self.end();
            }
        }
    }

    fn end(self) {
        self.effects.pool.give(self.packet);
    }

    /// Whether the packet can go to a physical port; counts it there when it cannot.
    fn may_send(&mut self, port: PortNo, mtu: usize) -> bool {
        if self.is_spoilt {
            self.drop_copy(DropCause::TooLong, port);
        } else if self.packet.len() > mtu {
            self.drop_copy(DropCause::MtuOut, port);
        } else {
            return true;
        }
        false
    }

    /// A copy to be sent through a physical port, if there is a buffer.
    fn copy(&mut self, port: PortNo) -> Option<Packet> {
        let Some(mut copy) = self.effects.pool.take() else {
            self.drop_copy(DropCause::NoBuffer, port);
            return None;
        };
        copy.copy_from(&self.packet);
        Some(copy)
    }

    fn drop_copy(&mut self, cause: DropCause, port: PortNo) {
        self.effects.out.drops.push(Dropped { cause, port });
    }

    fn send_to_controller(&mut self, max_len: usize, mut packet: Packet) {
        packet.copy_from(&self.packet);
        let len = packet.len();
        packet.truncate(max_len);
        let in_port = self.parsed.key.get(Field::InPort);
        let in_port = PortNo(u16::try_from(in_port).expect("a field of 16 bits"));
        self.effects.out.controller.push(ControllerCopy { packet, in_port, len });
    }

    /// Opens 4 bytes behind the addresses; the tag has vid 0 and pcp 0.
    fn push_vlan(&mut self, tpid: [u8; 2]) {
        let Some(frame) = self.packet.push_front(4) else {
            self.is_spoilt = true;
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

fn send(port: PortNo, mut packet: Packet, effects: &mut Effects<'_>) {
    packet.leaves_by = port;
    effects.out.transmissions.push(packet);
}

fn send_tunnelled(
    encap: &Encap,
    mut packet: Packet,
    (layout, parsed): (&Layout, &Parsed),
    effects: &mut Effects<'_>,
) {
    match encap.run(&mut packet, layout, parsed) {
        Ok(()) => send(encap.over(), packet, effects),
        Err(dropped) => {
            effects.out.drops.push(dropped);
            effects.pool.give(packet);
        }
    }
}
