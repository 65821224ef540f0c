//! Flow text against the real `ovs-ofctl` 3.1: the same lines are accepted and refused, and what we
//! print means to it what was written.

use twinpath_flow::port::{Port, PortTable};
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::text::{parse_rule, parse_rules, rule_text};
use twinpath_tests::ovs::Ovs;

/// Lines; a first character `!` or `?` marks where we are stricter or looser on purpose, `~` where
/// the same is spelled in another way.
const LINES: &str = include_str!("../data/ovs-ofctl.lines");

fn ports() -> PortTable {
    PortTable::new((1..=3).map(Port::physical).collect()).expect("three distinct ports")
}

#[test]
fn lines_are_accepted_and_refused_as_by_ovs_ofctl_and_mean_the_same() {
    let ports = ports();
    let ovs = Ovs::start(&ports, &[]);
    let mut failures = Vec::new();
    for marked in LINES.lines().filter(|line| !line.starts_with('#')) {
        let line = marked.trim_start_matches(['!', '?', '~']);
        let theirs = ovs.dump_of(line);
        let ours = parse_rule("line", line, &ports);
        let agreed = match marked.as_bytes()[0] {
            b'!' => theirs.is_ok() && ours.is_err(),
            b'?' => theirs.is_err() && ours.is_ok(),
            _ => theirs.is_ok() == ours.is_ok(),
        };
        if !agreed {
            let ours = ours.as_ref().map(|parsed| rule_text(&parsed.rule, None).to_string());
            let ours = ours.map_err(ToString::to_string);
            failures.push(format!("{marked}\n    theirs {theirs:?}\n    ours {ours:?}"));
        } else if let (Ok(theirs), Ok(ours)) = (theirs, ours) {
            let printed = rule_text(&ours.rule, None).to_string();
            let read_back = ovs.dump_of(&printed);
            let is_same = read_back.as_ref() == Ok(&theirs);
            if read_back.is_err() || is_same == marked.starts_with('~') {
                failures.push(format!(
                    "{marked}\n    is {theirs}\n    we print {printed}: {read_back:?}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} lines differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_dump_of_generated_rules_reads_back_as_the_same_rules() {
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let ovs = Ovs::start(&ports, &[]);
    for seed in 1..=20 {
        let rules = sample::rules(&mut Random::new(seed), &ports);
        let text: Vec<_> = rules.iter().map(|rule| rule_text(rule, None).to_string()).collect();
        let dump = ovs.dump_of_file(&text.join("\n"));
        let dump = dump.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", text.join("\n")));
        let printed = |text: &str| -> Vec<String> {
            let rules = parse_rules("dump", text, &ports);
            let rules = rules.unwrap_or_else(|errors| panic!("seed {seed}: {}\n{text}", errors[0]));
            let mut lines: Vec<_> =
                rules.iter().map(|parsed| rule_text(&parsed.rule, None).to_string()).collect();
            lines.sort();
            lines
        };
        let ours = printed(&text.join("\n"));
        assert_eq!(printed(&ours.join("\n")), ours, "seed {seed}: print of parse of print");
        // Masked sets are dumped as `load` actions, which are not in our subset.
        let dump: Vec<_> = dump.lines().collect();
        if !dump.iter().any(|line| line.contains("load:")) {
            assert_eq!(printed(&dump.join("\n")), ours, "seed {seed}");
        }
    }
}
