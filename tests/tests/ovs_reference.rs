//! The executable specification against Open vSwitch 3.1: generated rule sets, byte for byte.

use std::sync::Arc;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_tests::judge::{ByteCounters, Case, Comparison, Device, by_reference, hex};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

/// Generated rule sets; the environment variable `RULE_SETS` changes it.
const RULE_SETS: u64 = 40;
const PACKETS: usize = 500;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("RULE_SETS").unwrap_or(RULE_SETS)).collect(),
    }
}

/// A case with the ports of one daemon.
fn case(seed: u64, ports: &Arc<twinpath_flow::port::PortTable>) -> Case {
    let mut random = Random::new(seed);
    let rules = sample::rules(&mut random, ports);
    let packets = (0..PACKETS).map(|_| sample::frame(&mut random, ports)).collect();
    Case { name: format!("SEED={seed}"), ports: Arc::clone(ports), rules, packets }
}

#[test]
fn generated_rule_sets_do_to_packets_what_open_vswitch_does() {
    let comparison =
        Comparison { mask: mask::differences_on_purpose, bytes: ByteCounters::Compared };
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let mut ovs = Ovs::start(&ports, &[]);
    let mut failures = Vec::new();
    for seed in seeds() {
        let case = case(seed, &ports);
        let wanted = ovs.run(&case);
        let got = by_reference(&case);
        if let Some(difference) = comparison.difference(&case, &wanted, &got) {
            let culprit = first_culprit(&mut ovs, &case, &comparison);
            failures.push(format!("{}: {difference}\n{culprit}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// The packet whose arrival makes the difference: found by halving the list, with a fresh state each
/// time, so that differences between flows made by earlier packets are found too.
fn first_culprit(ovs: &mut Ovs, case: &Case, comparison: &Comparison) -> String {
    let (mut good, mut bad) = (0, case.packets.len());
    let mut difference = String::new();
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        let part = Case { packets: case.packets[..middle].to_vec(), ..case.clone() };
        match comparison.difference(&part, &ovs.run(&part), &by_reference(&part)) {
            Some(found) => (bad, difference) = (middle, found),
            None => good = middle,
        }
    }
    let (port, frame) = &case.packets[good];
    format!(
        "packet {good} of port {}: {}\n{difference}\nopen vswitch says:\n{}",
        port.0,
        hex(frame),
        ovs.trace(*port, frame)
    )
}
