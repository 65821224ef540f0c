//! Flows as small programs: the steps of a flow, compiled once, executed on each packet in place.
//!
//! A program is a list of operations. Those at its beginning that edit the first bytes of the frame
//! are also kept as [`rewrite::Rewrite`]s, one for each shape of packets seen: then they are one
//! masked write. The list itself is the general way, and the meaning of the other.

mod checksum;
mod crc32c;
mod edit;
mod encap;
mod rewrite;
mod run;
#[cfg(test)]
mod tests;

use crate::outbox::{DropCause, Dropped, Outbox};
use crate::packet::{Packet, PacketPool};
use edit::Set;
use encap::{Carried, Encap};
use rewrite::Rewrite;
use run::Run;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::parse::{Layout, Parsed};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::steps::{Flow, Step};

/// Most shapes of packets for which a program keeps a rewrite; a further one takes the last's place.
const SHAPES_MAX: usize = 16;

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
    /// The edits for the shapes of packets seen so far, the last used first.
    rewrites: Vec<Rewrite>,
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
        Self { ops: ops.into(), edits, only, rewrites: Vec::new(), is_drop }
    }

    /// Executes the program on a packet where it lies, as far as that goes.
    ///
    /// Almost all packets of almost all programs are edited by one rewrite, if at all, and sent
    /// through one port: that is compiled into the caller, and the packet's handle is not moved.
    #[inline(always)]
    pub(crate) fn run_in_place(&mut self, packet: &mut Packet, parsed: &Parsed) -> Progress {
        let Some((port, mtu)) = self.only else {
            return Progress::None;
        };
        if !self.edit(packet, &parsed.layout) {
            return Progress::Bare;
        }
        packet.leaves_by = port;
        if packet.len() > mtu { Progress::TooLong } else { Progress::Sent }
    }

    /// Executes what [`Self::run_in_place`] left of the program; the packet ends in `effects`.
    #[inline(never)]
    pub(crate) fn run_on(
        &mut self,
        progress: Progress,
        packet: Packet,
        parsed: &Parsed,
        effects: &mut Effects<'_>,
    ) {
        match progress {
            Progress::None => self.run_any(packet, parsed, effects),
            Progress::Bare => self.run_rest(0, packet, parsed, effects),
            Progress::TooLong => {
                let port = packet.leaves_by;
                effects.out.drops.push(Dropped { cause: DropCause::MtuOut, port });
                effects.pool.give(packet);
            }
            Progress::Sent => effects.out.transmissions.push(packet),
        }
    }

    /// Executes the program on a packet, which ends in `effects`.
    #[cfg(test)]
    fn run(&mut self, mut packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        let progress = self.run_in_place(&mut packet, parsed);
        self.run_on(progress, packet, parsed, effects);
    }

    /// Asks for what it needs of memory ahead of its use.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        if let Some(rewrite) = self.rewrites.first() {
            rewrite.touch();
        }
    }

    /// Executes the program on a packet, the only one it is for.
    pub(crate) fn run_once(mut self, packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        self.edits = 0;
        self.only = None;
        self.run_any(packet, parsed, effects);
    }

    /// Takes off tunnel headers and executes the edits. `false` when the edits are still to be
    /// done, the long way.
    #[inline(always)]
    fn edit(&mut self, packet: &mut Packet, layout: &Layout) -> bool {
        let is_bare = layout.prepend == 0;
        if layout.strip != 0 {
            packet.pull_front(usize::from(layout.strip));
        }
        if !is_bare {
            open_link_header(packet);
        }
        if self.edits == 0 && is_bare {
            return true;
        }
        if let Some(rewrite) = self.rewrites.first()
            && rewrite.fits(layout)
        {
            return rewrite.run(packet) || self.edit_later(packet, layout);
        }
        self.edit_by_other(packet, layout)
    }

    /// As `edit`, by another rewrite than the one used last, or by a new one.
    #[cold]
    #[inline(never)]
    fn edit_by_other(&mut self, packet: &mut Packet, layout: &Layout) -> bool {
        let place = self.rewrites.iter().position(|rewrite| rewrite.fits(layout));
        let place = place.unwrap_or_else(|| {
            self.rewrites.truncate(SHAPES_MAX - 1);
            self.rewrites.push(Rewrite::new(&self.ops[..self.edits], layout));
            self.rewrites.len() - 1
        });
        self.rewrites.swap(0, place);
        self.rewrites[0].run(packet) || self.edit_later(packet, layout)
    }

    /// Prepares what `edit` leaves to the operations.
    #[cold]
    #[inline(never)]
    #[expect(clippy::unused_self, reason = "stands where a rewrite would")]
    fn edit_later(&self, packet: &mut Packet, layout: &Layout) -> bool {
        if layout.prepend != 0 {
            let frame = packet.frame_mut();
            frame[..12].fill(0);
            frame[12..14].copy_from_slice(&layout.prepend.to_be_bytes());
        }
        false
    }

    /// A program that drops, or with more than one output, or with other operations.
    #[inline(never)]
    fn run_any(&mut self, mut packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        if self.is_drop {
            effects.out.drops.push(Dropped { cause: DropCause::Rules, port: packet.port });
        }
        if self.ops.is_empty() {
            return effects.pool.give(packet);
        }
        let done = if self.edit(&mut packet, &parsed.layout) { self.edits } else { 0 };
        self.run_rest(done, packet, parsed, effects);
    }

    /// Executes the operations from the one at `first`.
    #[inline(never)]
    fn run_rest(&self, first: usize, packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) {
        Run::new(packet, parsed, effects).execute(&self.ops[first..]);
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
