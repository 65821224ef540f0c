//! The examples: the gateway does on each device what it promises, and its numbers add up.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

/// Runs a configuration and returns its statistics.
fn run(config: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_twinpath"))
        .args(["run", "--json"])
        .arg(config)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The gateway with another device and socket, in a folder of its own.
fn gateway_on(device: &str) -> PathBuf {
    let name = format!("twinpath-examples-{device}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    let text = fs::read_to_string(examples().join("gateway.toml")).unwrap();
    let control = format!("control = \"control.sock\"\ndevice = \"{device}\"");
    fs::write(folder.join("gateway.toml"), text.replacen("device = \"sim\"", &control, 1)).unwrap();
    fs::copy(examples().join("gateway.flows"), folder.join("gateway.flows")).unwrap();
    folder
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn sum(list: &Value, key: &str) -> u64 {
    list.as_array().unwrap().iter().map(|each| number(&each[key])).sum()
}

/// Every packet has one fate, every port's packets are counted, and table 0 saw all of them.
fn assert_adds_up(statistics: &Value) {
    let packets = &statistics["packets"];
    let lost: u64 = packets["lost"].as_object().unwrap().values().map(number).sum();
    let fates = number(&packets["card"]) + number(&packets["software"]) + number(&packets["held"]);
    assert_eq!(number(&packets["received"]), fates + lost);
    assert_eq!(number(&packets["received"]), sum(&statistics["ports"], "rx_packets"));
    let rules = statistics["rules"].as_array().unwrap();
    let first: Vec<&Value> = rules.iter().filter(|rule| rule["table"] == 0).collect();
    let of = |key: &str| first.iter().map(|rule| number(&rule[key])).sum::<u64>();
    assert_eq!(of("packets"), number(&packets["received"]));
    assert_eq!(of("bytes"), sum(&statistics["ports"], "rx_bytes"));
    // One packet in, at most one out: what was not sent was dropped by a rule.
    let sent = sum(&statistics["ports"], "tx_packets");
    assert_eq!(number(&packets["received"]), sent + number(&packets["dropped"]));
}

/// Rules with what they counted, but for when: only a card makes counts late.
fn rules(statistics: &Value) -> Vec<Value> {
    let mut rules = statistics["rules"].as_array().unwrap().clone();
    for rule in &mut rules {
        rule.as_object_mut().unwrap().remove("card_counted_at").unwrap();
    }
    rules
}

#[test]
fn the_gateway_offloads_most_packets_loses_none_and_equals_software_and_interpreter() {
    let folder = gateway_on("sim");
    let card = run(&folder.join("gateway.toml"));
    assert_adds_up(&card);
    assert!(number(&card["packets"]["received"]) >= 1_000_000);
    assert_eq!(card["packets"]["lost"].as_object().unwrap().len(), 0);
    assert_eq!(number(&card["packets"]["held"]), 0);
    let ratio = card["offload_ratio_second_half"].as_f64().unwrap();
    assert!(ratio > 0.9, "offload ratio over the second half: {ratio}");
    assert!(number(&card["flows"]["made"]) > 4096, "the card's capacity must bite");
    assert!(number(&card["shadow"]["judged"]) > 1_000, "{}", card["shadow"]);
    assert_eq!(number(&card["shadow"]["diverged"]), 0, "{}", card["shadow"]);
    let read = &card["reconcile"];
    assert!(number(&read["inspected"]) > 100, "{read}");
    let mended = ["missing", "altered", "orphans"].map(|key| number(&read[key]));
    assert_eq!(mended, [0; 3], "{read}");
    for rule in card["rules"].as_array().unwrap() {
        assert!(number(&rule["packets"]) > 0, "{rule} was never hit");
    }
    fs::remove_dir_all(folder).unwrap();
    for device in ["none", "reference"] {
        let folder = gateway_on(device);
        let other = run(&folder.join("gateway.toml"));
        assert_adds_up(&other);
        assert_eq!(rules(&other), rules(&card), "{device}");
        assert_eq!(other["ports"], card["ports"], "{device}");
        assert_eq!(other["packets"]["dropped"], card["packets"]["dropped"], "{device}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn every_example_passes_the_check() {
    for name in ["gateway.toml", "switch.toml"] {
        let path = examples().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
        let output = command.arg("check").arg(path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "no warning either: {output:?}");
    }
}
