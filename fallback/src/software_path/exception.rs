//! Packets that no flow decides, executed by the specification.

use crate::compiled::Effects;
use crate::outbox::{ControllerCopy, DropCause, Dropped, Transmission};
use crate::packet::Packet;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::{self, Cause};

/// Executes `packet` and reports its rules' counts one by one. `in_port` is the port rules see.
pub(super) fn execute(
    packet: Packet,
    in_port: u128,
    pipeline: &Pipeline,
    effects: &mut Effects<'_>,
) {
    let outcome = reference::process(pipeline, packet.frame(), packet.port);
    let counts = Counts::one(packet.len());
    let out = &mut *effects.out;
    out.rule_counts.extend(outcome.rules.iter().map(|rule| (*rule, counts)));
    if outcome.outputs.is_empty() && outcome.losses.is_empty() {
        out.drops.push(Dropped { cause: DropCause::Rules, port: packet.port });
    }
    out.drops.extend(outcome.losses.iter().map(|cause| dropped(*cause, packet.port)));
    for (port, frame) in &outcome.outputs {
        let no_buffer = Dropped { cause: DropCause::NoBuffer, port: *port };
        if let Some(copy) = copy(&packet, frame, no_buffer, effects) {
            effects.out.transmissions.push(Transmission { port: *port, packet: copy });
        }
    }
    let in_port = PortNo(u16::try_from(in_port).expect("a field of 16 bits"));
    let no_buffer = Dropped { cause: DropCause::NoControllerBuffer, port: packet.port };
    for frame in &outcome.controller {
        if let Some(copy) = copy(&packet, frame, no_buffer, effects) {
            let len = copy.len();
            effects.out.controller.push(ControllerCopy { packet: copy, in_port, len });
        }
    }
    effects.pool.give(packet);
}

/// A packet with the bytes of `frame`, received as `packet` was.
fn copy(
    packet: &Packet,
    frame: &[u8],
    no_buffer: Dropped,
    effects: &mut Effects<'_>,
) -> Option<Packet> {
    let Some(mut copy) = effects.pool.take() else {
        effects.out.drops.push(no_buffer);
        return None;
    };
    (copy.port, copy.time, copy.generation) = (packet.port, packet.time, packet.generation);
    if copy.fill(frame) {
        return Some(copy);
    }
    effects.out.drops.push(Dropped { cause: DropCause::TooLong, port: no_buffer.port });
    effects.pool.give(copy);
    None
}

const fn dropped(cause: Cause, in_port: PortNo) -> Dropped {
    match cause {
        Cause::NoPort => Dropped { cause: DropCause::NoPort, port: in_port },
        Cause::MtuIn => Dropped { cause: DropCause::MtuIn, port: in_port },
        Cause::Malformed => Dropped { cause: DropCause::Malformed, port: in_port },
        Cause::MtuOut(port) => Dropped { cause: DropCause::MtuOut, port },
        Cause::Encap(port) => Dropped { cause: DropCause::Encap, port },
    }
}
