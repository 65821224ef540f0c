//! The `twinpath` program on each device against Open vSwitch 3.1: generated rule sets, each packet
//! sent four times, so that most are forwarded by the card or the caches.

use std::sync::Arc;
use twinpath_flow::action::Action;
use twinpath_flow::port::PortTable;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_tests::binary::Twinpath;
use twinpath_tests::generated::{Ttls, case};
use twinpath_tests::judge::{self, ByteCounters, Case, Comparison, Device, Outcome};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

/// Generated rule sets; the environment variable `RULE_SETS` changes it, `SEED` replays one.
const RULE_SETS: u64 = 40;
const PACKETS: usize = 500;
/// Times the list of packets is sent.
const REPEATS: usize = 4;

/// Actions as people write them: edits first, then outputs, each port once. An edit after an output
/// cannot be in one entry of a card; a fifth of the rule sets keep theirs.
fn in_order(actions: &mut Vec<Action>) {
    actions.sort_by_key(|action| matches!(action, Action::Output(_)));
    let mut seen = Vec::new();
    actions.retain(|action| {
        let again = matches!(action, Action::Output(_)) && seen.contains(action);
        seen.push(action.clone());
        !again
    });
}

/// With an odd seed packets of TTLs that expire, which are exceptions: the card hands them on.
fn repeated(seed: u64, ports: &Arc<PortTable>) -> Case {
    let ttls = if seed % 2 == 1 { Ttls::Mixed } else { Ttls::One };
    let case = case(seed, ports, PACKETS, ttls);
    let mut rules = case.rules.clone();
    if !seed.is_multiple_of(5) {
        rules.iter_mut().for_each(|rule| in_order(&mut rule.instructions.apply));
    }
    let count = PACKETS * REPEATS;
    Case { packets: case.packets.iter().cloned().cycle().take(count).collect(), rules, ..case }
}

#[test]
fn every_device_does_to_packets_what_open_vswitch_does() {
    let comparison =
        Comparison { mask: mask::differences_on_purpose, bytes: ByteCounters::Compared };
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let mut ovs = Ovs::start(&ports, &[]);
    let mut devices = ["sim", "none", "reference"].map(Twinpath::new);
    let mut failures = Vec::new();
    for seed in judge::seeds(RULE_SETS) {
        let case = repeated(seed, &ports);
        let wanted = ovs.run(&case);
        for (device, name) in devices.iter_mut().zip(["sim", "none", "reference"]) {
            let got = device.run(&case);
            let differs = comparison.difference(&case, &wanted, &got).is_some();
            let found = differs.then(|| judge::difference(&case, &comparison, &mut ovs, &got));
            if let Some(difference) = found.flatten() {
                failures.push(format!("SEED={seed} device {name}: {difference}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    let card = &devices[0];
    assert!(
        card.by_card * 2 >= card.received,
        "the card decided {} of {} packets",
        card.by_card,
        card.received
    );
}

#[test]
fn flows_are_at_most_a_fifth_more_than_those_of_open_vswitch() {
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let mut ovs = Ovs::start(&ports, &[]);
    let mut software = Twinpath::new("none");
    let (mut ours, mut theirs) = (0, 0);
    let mut lines = Vec::new();
    for seed in judge::seeds(RULE_SETS) {
        let case = case(seed, &ports, PACKETS, Ttls::One);
        let flows = |outcome: Outcome| outcome.flows.expect("both tell their flows");
        let (their_count, our_count) = (flows(ovs.run(&case)), flows(software.run(&case)));
        lines.push(format!("SEED={seed}: {our_count} flows, Open vSwitch {their_count}"));
        (ours, theirs) = (ours + our_count, theirs + their_count);
    }
    assert!(ours * 5 <= theirs * 6, "{ours} flows, Open vSwitch {theirs}\n{}", lines.join("\n"));
}
