//! Packets that no flow decides, walked through the tables one by one.

use crate::compiled::{Effects, Program};
use crate::packet::Packet;
use crate::slow_path::SlowPath;
use twinpath_flow::counters::Counts;
use twinpath_flow::parse::Parsed;

/// Executes `packet` and reports its rules' counts one by one.
pub(super) fn execute(
    packet: Packet,
    parsed: &Parsed,
    slow_path: &SlowPath,
    effects: &mut Effects<'_>,
) {
    let fate = slow_path.execute(parsed);
    let counts = Counts::one(packet.len());
    effects.out.rule_counts.extend(fate.rules.iter().map(|rule| (*rule, counts)));
    Program::new(&fate, &slow_path.pipeline().ports).run_all(packet, parsed, effects);
}
