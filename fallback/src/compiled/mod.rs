//! Flows as small programs: the steps of a flow, compiled once, executed on each packet in place.
//!
//! A program is a list of operations. Those at its beginning that edit the first bytes of the frame
//! are also compiled to a [`Rewrite`] for each shape of packets seen: then they are one masked write. The list itself is the general way, and the meaning of the other.

mod checksum;
mod crc32c;
mod draft;
mod edit;
mod encap;
mod rewrite;
mod run;
#[cfg(test)]
mod tests;

use crate::outbox::{DropCause, Dropped, Outbox};
use crate::packet::{Packet, PacketPool};
use crate::shape::ShapeNumber;
use edit::Set;
use encap::{Carried, Encap};
use rewrite::Rest;
pub(crate) use rewrite::Rewrite;
use run::Run;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::parse::{Layout, Parsed};
use twinpath_flow::port::{Port, PortNo, PortTable};
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
    /// Operations at the beginning that a rewrite can hold.
    edits: usize,
    /// The port and its limit, when all that follows the edits is one output to a physical port.
    only: Option<(PortNo, usize)>,
    /// No operation sends the packet anywhere (the controller is nowhere).
    is_drop: bool,
}

/// How far a program got with a packet where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nowhere.
    None,
    /// Tunnel headers are taken off, and the operations are to be executed.
    Bare,
    /// It is edited, and the other operations are to be executed.
    Edited,
    /// It is edited, and longer than its port takes.
    TooLong,
    /// It is edited, and to be sent.
    Sent,
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
    /// Drops a received packet.
    pub(crate) fn drop_packet(&mut self, cause: DropCause, packet: Packet) {
        self.out.drops.push(Dropped { cause, port: packet.port });
        self.pool.give(packet);
    }
}

/// What a program depends on besides the flow's steps and the ports: what outer headers are made of
/// and the flow demands; nothing without a tunnel. Flows whose steps and context are equal have equal programs.
pub(crate) fn context(flow: &Flow, ports: &PortTable) -> Option<Key> {
    let is_tunnel =
        |step: &Step| matches!(*step, Step::Output(port) if ports.tunnel(port).is_some());
    if !flow.steps.iter().any(is_tunnel) {
        return None;
    }
    let mut context = Key::ZERO;
    for field in [Field::EthType, Field::IpTos, Field::TunId, Field::TunDst, Field::Qfi] {
        context.set(field, flow.matching.value.get(field));
    }
    Some(context)
}

impl Program {
    /// Compiles the steps of a flow.
    pub(crate) fn new(flow: &Flow, ports: &PortTable) -> Self {
        // What the outer headers read: the flow demands it, or a step sets it.
        let mut known = context(flow, ports).unwrap_or(Key::ZERO);
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
                Step::Output(port) => ops.push(output(port, ports, &known, carried)),
                Step::Controller { max_len } => {
                    ops.push(Op::Controller { max_len: usize::from(max_len) });
                }
            }
        }
        let edits = ops.iter().take_while(|op| Rewrite::may_hold(op)).count();
        let only = match ops[edits..] {
            [Op::Output { port, mtu }] => Some((port, mtu)),
            _ => None,
        };
        let is_drop = flow.is_drop();
        Self { ops: ops.into(), edits, only, is_drop }
    }

    /// What [`Rewrite::run`] does for it with packets of a shape, like one with that layout.
    pub(crate) fn rewrite(&self, shape: ShapeNumber, layout: &Layout) -> Rewrite {
        if self.is_drop {
            return Rewrite::impossible(shape);
        }
        let (port, mtu) = self.only.unwrap_or((PortNo(0), usize::MAX));
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let progress = if self.only.is_some() { Progress::Sent } else { Progress::Edited };
        let rest = Rest { port, mtu, progress };
        Rewrite::new(&self.ops[..self.edits], (shape, layout), rest)
    }

    /// Executes what a rewrite left of the program; the packet ends in `effects`. `parsed` is what
    /// was read of it as received.
    #[inline(never)]
    pub(crate) fn run_on(
        &self,
        progress: Progress,
        mut packet: Packet,
        parsed: &Parsed,
        effects: &mut Effects<'_>,
    ) {
        match progress {
            Progress::None => self.run_all(packet, parsed, effects),
            Progress::Bare => {
                write_link_header(&mut packet, &parsed.layout);
                self.run_rest(0, packet, parsed, effects);
            }
            Progress::Edited => self.run_rest(self.edits, packet, parsed, effects),
            Progress::TooLong => {
                let port = packet.leaves_by;
                effects.out.drops.push(Dropped { cause: DropCause::MtuOut, port });
                effects.pool.give(packet);
            }
            Progress::Sent => effects.out.transmissions.push(packet),
        }
    }

    /// Executes the program on a packet, operation by operation.
    #[inline(never)]
    pub(crate) fn run_all(&self, mut packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        if self.is_drop {
            effects.out.drops.push(Dropped { cause: DropCause::Rules, port: packet.port });
        }
        if self.ops.is_empty() {
            return effects.pool.give(packet);
        }
        packet.pull_front(usize::from(parsed.layout.strip));
        if parsed.layout.prepend != 0 {
            open_link_header(&mut packet);
        }
        write_link_header(&mut packet, &parsed.layout);
        self.run_rest(0, packet, parsed, effects);
    }

    /// Executes the operations from the one at `first`.
    fn run_rest(&self, first: usize, packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        Run::new(packet, parsed, effects).execute(&self.ops[first..]);
    }
}

/// Writes the Ethernet header that a packet of that layout gets, if any.
fn write_link_header(packet: &mut Packet, layout: &Layout) {
    if layout.prepend != 0 {
        let frame = packet.frame_mut();
        frame[..12].fill(0);
        frame[12..14].copy_from_slice(&layout.prepend.to_be_bytes());
    }
}

/// Room for an Ethernet header, whose bytes are to be written.
fn open_link_header(packet: &mut Packet) {
    packet.push_front(14).expect("the tunnel headers taken off are longer");
}

fn output(port: PortNo, ports: &PortTable, known: &Key, carried: Carried) -> Op {
    let Some(tunnel) = ports.tunnel(port) else {
        return Op::Output { port, mtu: ports.find(port).map_or(usize::MAX, mtu_out) };
    };
    let mtu = ports.find(tunnel.over).map_or(usize::MAX, mtu_out);
    Op::Tunnel(Box::new(Encap::new((port, tunnel), known, carried, mtu)))
}

fn mtu_out(port: &Port) -> usize {
    port.mtu_out.map_or(usize::MAX, usize::from)
}
