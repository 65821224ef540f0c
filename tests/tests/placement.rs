//! The bars of `bench/placement` on a smaller run: the same on every machine, as time is virtual.

use twinpath_tests::placement::report::{Report, rows};
use twinpath_tests::placement::trace::Trace;

/// Three seconds of each trace.
const PACKETS: usize = 1_500_000;

/// In thousandths of the flows.
const ROOMS: [u32; 2] = [10, 50];

#[test]
fn placement_is_near_the_clairvoyants_above_all_others_and_not_moved_by_a_scan() {
    for seed in [7, 11] {
        let mut report = Report::default();
        for name in ["zipf_0.8", "zipf_1.2", "onoff", "scan_attack"] {
            let trace = Trace::named(name, PACKETS, seed).expect("a known trace");
            report.rows.extend(rows(&trace, &ROOMS));
        }
        assert_eq!(report.failures(), [] as [String; 0], "seed {seed}\n{}", report.markdown());
    }
}

#[test]
fn a_run_repeats_itself() {
    let trace = Trace::named("churn", 100_000, 3).expect("a known trace");
    assert_eq!(trace, Trace::named("churn", 100_000, 3).expect("a known trace"));
    assert_eq!(rows(&trace, &ROOMS), rows(&trace, &ROOMS));
}
