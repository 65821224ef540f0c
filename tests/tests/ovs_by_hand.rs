//! Rule sets by hand, per field and per action, on the executable specification and on every device
//! of the program, judged by Open vSwitch 3.1.

use std::sync::Arc;
use twinpath_flow::port::{Port, PortTable};
use twinpath_flow::text::{parse_packet, parse_rules};
use twinpath_tests::binary::Twinpath;
use twinpath_tests::judge::{ByteCounters, Case, Comparison, Device, by_reference};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

const CASES: &str = include_str!("../data/fields.cases");
/// Times the packets of a case are sent.
const REPEATS: usize = 3;

fn ports() -> Arc<PortTable> {
    Arc::new(PortTable::new((1..=3).map(Port::physical).collect()).expect("three distinct ports"))
}

fn cases(ports: &Arc<PortTable>) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in CASES.split("\n\n").filter(|block| block.contains("\n> ")) {
        let (head, body) = block.split_once('\n').expect("a case begins with its name");
        let name = head.trim_start_matches(['#', ' ']).to_owned();
        let (packets, rules): (Vec<_>, Vec<_>) =
            body.lines().partition(|line| line.starts_with("> "));
        let rules = parse_rules(&name, &rules.join("\n"), ports);
        let rules = rules.unwrap_or_else(|errors| panic!("{}", errors[0]));
        let warnings: Vec<_> = rules.iter().flat_map(|rule| &rule.warnings).collect();
        let is_ambiguous = |warning: &&&twinpath_flow::text::TextWarning| {
            matches!(warning.doubt, twinpath_flow::text::Doubt::Overlap { .. })
        };
        assert_eq!(warnings.iter().find(is_ambiguous), None, "Open vSwitch leaves overlaps open");
        let packet = |text: &&str| {
            let packet = parse_packet(&text[2..], ports);
            let packet = packet.unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
            (packet.in_port, packet.frame)
        };
        let packets: Vec<_> = packets.iter().map(packet).collect();
        let count = packets.len() * REPEATS;
        let packets = packets.into_iter().cycle().take(count).collect();
        let rules = rules.into_iter().map(|parsed| parsed.rule).collect();
        cases.push(Case { name, ports: Arc::clone(ports), rules, packets });
    }
    cases
}

#[test]
fn each_field_and_action_does_what_it_does_in_open_vswitch() {
    let comparison =
        Comparison { mask: mask::differences_on_purpose, bytes: ByteCounters::Compared };
    let ports = ports();
    let mut ovs = Ovs::start(&ports, &[]);
    let cases = cases(&ports);
    assert!(cases.len() > 9, "{} cases were read", cases.len());
    let mut programs = ["sim", "none"].map(|device| (device, Twinpath::new(device)));
    let mut failures = Vec::new();
    for case in &cases {
        let wanted = ovs.run(case);
        assert!(!wanted.outputs.is_empty(), "{}: no rule sends anything", case.name);
        let missed = case.rules.iter().zip(&wanted.counts).find(|(_, counts)| counts.packets == 0);
        if let Some((rule, _)) = missed {
            let rule = twinpath_flow::text::rule_text(rule, None);
            failures.push(format!("{}: no packet hits {rule}", case.name));
        }
        let mut judge = |name: &str, got| {
            if let Some(difference) = comparison.difference(case, &wanted, &got) {
                failures.push(format!("{} on {name}: {difference}", case.name));
            }
        };
        judge("the specification", by_reference(case));
        for (name, program) in &mut programs {
            judge(name, program.run(case));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
