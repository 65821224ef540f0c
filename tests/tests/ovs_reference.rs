//! The executable specification against Open vSwitch 3.1: generated rule sets, byte for byte, and
//! counters per rule.

use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_tests::generated::{Ttls, case};
use twinpath_tests::judge::{self, ByteCounters, Comparison, assert_equal, by_reference};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

/// Generated rule sets; the environment variable `RULE_SETS` changes it, `SEED` replays one.
const RULE_SETS: u64 = 40;
const PACKETS: usize = 500;

#[test]
fn generated_rule_sets_do_to_packets_what_open_vswitch_does() {
    let comparison =
        Comparison { mask: mask::differences_on_purpose, bytes: ByteCounters::Compared };
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let mut ovs = Ovs::start(&ports, &[]);
    let cases = judge::seeds(RULE_SETS).into_iter();
    let cases = cases.map(|seed| case(seed, &ports, PACKETS, Ttls::Mixed));
    assert_equal(cases, &comparison, &mut ovs, &mut by_reference);
}
