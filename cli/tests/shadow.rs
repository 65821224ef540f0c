//! A card with a bug in its silicon is found out by samples of what it forwards: its flow goes to
//! software, a reproducer is kept, and the rest stays where it is.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Flows, each with a rule of its own.
const FLOWS: u32 = 10_000;

/// Flows under another mask, from another port.
const NEIGHBOURS: u32 = 50;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-shadow-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut rules = String::new();
        for flow in 0..FLOWS {
            let (high, low) = (flow >> 8, flow & 255);
            writeln!(
                rules,
                "priority=10,ip,nw_src=10.0.{high}.{low},\
                 actions=mod_dl_src:02:00:00:00:{high:02x}:{low:02x},output:2"
            )
            .unwrap();
        }
        for flow in 0..NEIGHBOURS {
            let matching = format!("in_port=3,ip,nw_dst=10.9.0.{flow}");
            writeln!(rules, "priority=20,{matching},actions=output:2").unwrap();
        }
        fs::write(folder.join("r.flows"), rules).unwrap();
        Self(folder)
    }

    fn twinpath(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
        command.args(arguments).current_dir(&self.0).output().unwrap()
    }

    /// Ten seconds of traffic at this rate through a card with this in its `[sim]`; the summary.
    fn run(&self, sim: &str, rate: &str) -> Value {
        let config = format!(
            "device = \"sim\"\nrules = \"r.flows\"\ncontrol = \"c.sock\"\n[sim]\nprofile = \"medium\"\n{sim}\n\
             [shadow]\nfolder = \"found\"\n\
             [[port]]\nnumber = 1\n\
             wire = \"gen:flows={FLOWS},src=10.0.0.0-10.0.39.15,rate={rate},duration=10s\"\n\
             [[port]]\nnumber = 2\n[[port]]\nnumber = 3\n\
             wire = \"gen:walk=dst,flows={NEIGHBOURS},dst=10.9.0.0-10.9.0.49,rate=1k,duration=10s\"\n"
        );
        fs::write(self.0.join("c.toml"), config).unwrap();
        let output = self.twinpath(&["run", "--json", "c.toml"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Reproducers kept.
    fn found(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("found")).into_iter().flatten().flatten();
        entries.map(|entry| format!("found/{}", entry.file_name().to_str().unwrap())).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn number(summary: &Value, key: &str) -> u64 {
    summary["shadow"][key].as_u64().unwrap_or_else(|| panic!("{key} in {}", summary["shadow"]))
}

/// At most so many flows are kept out; all others are in the card and were from their second packet on.
fn nothing_else_moved(summary: &Value, quarantined_max: u64) {
    let quarantined = number(summary, "quarantined");
    assert!((1..=quarantined_max).contains(&quarantined), "{}", summary["shadow"]);
    let flows = &summary["flows"];
    let kept = flows["known"].as_u64().unwrap() - flows["offloaded"].as_u64().unwrap();
    assert_eq!(kept, quarantined, "only what was found is in software: {flows}");
    let reasons = summary["software_reasons"].as_array().unwrap();
    let others =
        reasons.iter().filter(|one| !one["reason"].as_str().unwrap().starts_with("quarantined"));
    let others: Vec<&Value> = others.collect();
    assert!(
        matches!(others[..], [one] if one["reason"] == "first packets of a flow"),
        "{reasons:?}"
    );
    let first = others[0]["packets"].as_u64().unwrap();
    assert!(first <= flows["made"].as_u64().unwrap(), "{first} packets of {flows}");
    let packets = &summary["packets"];
    let of = |key: &str| packets[key].as_u64().unwrap();
    assert_eq!(of("received"), of("card") + of("software"), "{packets}");
}

#[test]
fn a_right_card_is_never_accused() {
    let place = Place::new("right");
    let summary = place.run("", "50k");
    assert!(number(&summary, "judged") > 10_000, "{}", summary["shadow"]);
    assert_eq!(number(&summary, "diverged"), 0, "{}", summary["shadow"]);
    assert_eq!(number(&summary, "sample"), 1_000);
    assert!(place.found().is_empty());
}

#[test]
fn a_wrong_port_of_one_flow_in_ten_thousand_is_found_and_replays() {
    let place = Place::new("port");
    let summary = place.run("bug_wrong_port = 10000", "50k");
    nothing_else_moved(&summary, 5);
    let found = place.found();
    assert_eq!(found.len() as u64, number(&summary, "diverged"));
    let replayed = place.twinpath(&["replay", &found[0]]);
    let text = String::from_utf8(replayed.stdout).unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{text}");
    assert!(text.contains("card sent      out port 3\n"), "{text}");
    assert!(text.contains("software path  out port 2\n"), "{text}");
    assert!(
        text.ends_with("confirmed: what the card did is not what the rules demand\n"),
        "{text}"
    );

    // The same with what the card sent put right: nothing to confirm.
    let mut kept: Value =
        serde_json::from_slice(&fs::read(place.0.join(&found[0])).unwrap()).unwrap();
    kept["got"] = kept["expected"].clone();
    kept["expected"] = serde_json::json!([]);
    fs::write(place.0.join("mended.json"), kept.to_string()).unwrap();
    assert_eq!(place.twinpath(&["replay", "mended.json"]).status.code(), Some(1));
    fs::write(place.0.join("bad.json"), "{").unwrap();
    for bad in ["bad.json", "missing.json"] {
        let refused = place.twinpath(&["replay", bad]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert_eq!(String::from_utf8(refused.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_counter_of_one_flow_in_ten_thousand_that_counts_twice_is_found() {
    let place = Place::new("count");
    let summary = place.run("bug_miscount = 10000", "50k");
    nothing_else_moved(&summary, 5);
    let found = place.found();
    let replayed = place.twinpath(&["replay", "--json", &found[0]]);
    assert_eq!(replayed.status.code(), Some(0));
    let story: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(story["confirmed"], true);
    assert_eq!(story["got_counts"]["packets"], 2, "the first packet, counted twice: {story}");
    assert_eq!(story["expected_counts"]["packets"], 1);
}

#[test]
fn a_bank_that_matches_too_widely_is_found() {
    let place = Place::new("wide");
    let summary = place.run("bug_wide_match = 1", "1k");
    nothing_else_moved(&summary, FLOWS.into());
    // Flows under another mask stay where they are. The first of them came before it was set.
    let banks = summary["card"]["tables"].as_array().unwrap().iter();
    let mut others =
        banks.filter(|bank| bank["mask"].as_str().is_some_and(|m| m.contains("ip_dst")));
    let others = others.next().unwrap();
    assert!(others["used"].as_u64().unwrap() >= u64::from(NEIGHBOURS) - 4, "{others}");
    let found = place.found();
    let replayed = place.twinpath(&["replay", &found[0]]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
}
