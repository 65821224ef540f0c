//! A file of 10,000 rules is replaced under traffic: every packet sees the old or the new rules,
//! whole; on one input port never the new ones, then the old; what does not change stays.

use crate::running::Running;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

/// Sources, each with a rule in two tables.
const SOURCES: u32 = 5000;

/// Rules as text: table 0 writes `era` into the source address, table 1 into the destination
/// address; every fifth source is of era `aa` whatever is asked.
fn rules(era: &str) -> String {
    let mut text = String::new();
    for source in 0..SOURCES {
        let era = if source % 5 == 0 { "aa" } else { era };
        let (high, low) = (source >> 8, source & 255);
        let of = format!("priority=10,ip,nw_src=10.0.{high}.{low}");
        writeln!(text, "{of},actions=mod_dl_src:02:{era}:00:00:00:00,resubmit(,1)").unwrap();
        writeln!(text, "table=1,{of},actions=mod_dl_dst:02:{era}:00:00:00:00,output:2").unwrap();
    }
    text.replace("resubmit(,1)", "goto_table:1")
}

fn start(device: &str) -> Running {
    let wire = |dst: &str| {
        format!("wire = \"gen:flows={SOURCES},src=10.0.0.0-10.0.19.135,dst={dst},rate=100k\"")
    };
    let config = format!(
        "device = \"{device}\"\nrules = \"old.flows\"\n\
         [sim]\nprofile = \"medium\"\n[[port]]\nnumber = 1\n{}\n[[port]]\nnumber = 3\n{}\n\
         [[port]]\nnumber = 2\nwire = \"pcap:out=out.pcap\"\n",
        wire("198.18.0.1"),
        wire("198.18.0.3"),
    );
    let files = [("old.flows", &*rules("aa")), ("new.flows", &*rules("bb"))];
    Running::start(&format!("replace-{device}"), &config, &files)
}

fn received(run: &Running) -> u64 {
    run.json(&["stats"])["packets"]["received"].as_u64().unwrap()
}

/// By source: flow number and what place it has.
fn flows(run: &Running) -> HashMap<String, (String, String)> {
    let listed = run.json(&["flows", "--limit", "20000"]);
    let of = |flow: &Value, key: &str| flow[key].as_str().unwrap().to_owned();
    let flows = listed["flows"].as_array().unwrap().iter();
    flows.map(|f| (of(f, "match"), (of(f, "flow"), of(f, "where")))).collect()
}

/// The source of a flow, from its match; whether the replacement leaves it as it is.
fn stays(matching: &str) -> bool {
    let source = matching.split("nw_src=10.0.").nth(1).unwrap();
    let source = source.split(',').next().unwrap();
    let (high, low) = source.split_once('.').unwrap();
    (high.parse::<u32>().unwrap() * 256 + low.parse::<u32>().unwrap()).is_multiple_of(5)
}

/// Frames of a classic little-endian capture.
fn frames(capture: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &capture[24..];
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_at_checked(16)?;
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap());
        let (frame, behind) = behind.split_at_checked(usize::try_from(length).unwrap())?;
        rest = behind;
        Some(frame)
    })
}

/// What the frames sent tell: packets of old and new rules by input port.
fn judge(capture: &[u8]) -> HashMap<u8, (u64, u64)> {
    let mut seen: HashMap<u8, (u64, u64)> = HashMap::new();
    for frame in frames(capture) {
        let (written_last, written_first) = (frame[1], frame[7]);
        assert_eq!(written_last, written_first, "both tables are of one file");
        let source = u32::from(frame[28]) * 256 + u32::from(frame[29]);
        let counts = seen.entry(frame[33]).or_default();
        match written_first {
            0xaa if source.is_multiple_of(5) => {}
            0xaa => {
                assert_eq!(counts.1, 0, "the old rules after the new ones, on one input port");
                counts.0 += 1;
            }
            _ => counts.1 += 1,
        }
    }
    seen
}

#[test]
fn ten_thousand_rules_are_replaced_at_once_under_traffic_and_what_is_the_same_stays() {
    for device in ["sim", "none"] {
        let run = start(device);
        run.wait_until("a flow of every source and input port", || {
            run.json(&["flows", "--limit", "1"])["total"] == 2 * SOURCES
        });

        let preview = run.json(&["rules", "replace", "--dry-run", "new.flows"]);
        assert_eq!((&preview["kept"], &preview["dry_run"]), (&2000.into(), &true.into()));
        assert_eq!(preview["added"].as_array().unwrap().len(), 8000);
        assert_eq!(preview["removed"].as_array().unwrap().len(), 8000);
        assert_eq!(
            (&preview["flows"]["kept"], &preview["flows"]["ended"]),
            (&2000.into(), &8000.into())
        );
        let in_card = preview["flows"]["ended_in_card"].as_u64().unwrap();
        assert_eq!(in_card > 0, device == "sim", "{in_card}");
        let table = run.text(&["rules", "replace", "--dry-run", "new.flows"]);
        assert!(table.contains("2000 kept, 8000 added, 8000 removed"), "{table}");
        assert!(table.ends_with("dry run: nothing was changed\n"), "{table}");

        let before = flows(&run);
        let replaced = run.json(&["rules", "replace", "new.flows"]);
        assert_eq!((&replaced["kept"], &replaced["dry_run"]), (&2000.into(), &false.into()));
        let then = received(&run);
        run.wait_until("traffic by the new rules", || received(&run) > then + 20_000);
        let after = flows(&run);
        for (matching, (number, place)) in before.iter().filter(|(matching, _)| stays(matching)) {
            let now = after.get(matching).expect("a flow that stays");
            assert_eq!(&now.0, number, "{device}: {matching} is the same flow");
            assert!(place != "card" || now.1 == "card", "{device}: {matching} left the card");
        }
        assert!(run.json(&["events"]).to_string().contains("rules replaced by new.flows"));

        // The capture outlives its folder.
        let mut sent = fs::File::open(run.folder.join("out.pcap")).unwrap();
        let summary = run.end();
        let mut capture = Vec::new();
        sent.read_to_end(&mut capture).unwrap();
        let seen = judge(&capture);
        assert_eq!(seen.len(), 2, "two input ports");
        assert!(seen.values().all(|(old, new)| *old > 0 && *new > 0), "{device}: {seen:?}");
        // Each packet passes a rule in each table; rules that were kept count from the beginning.
        let fates = &summary["packets"];
        let of = |key: &str| fates[key].as_u64().unwrap();
        assert_eq!(of("received"), of("card") + of("software"), "{device}: {fates}");
        let kept: u64 = summary["rules"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["table"] == 0 && stays(rule["match"].as_str().unwrap()))
            .map(|rule| rule["packets"].as_u64().unwrap())
            .sum();
        let unchanged = frames(&capture)
            .filter(|f| (u32::from(f[28]) * 256 + u32::from(f[29])).is_multiple_of(5))
            .count();
        assert_eq!(kept, u64::try_from(unchanged).unwrap(), "{device}");
    }
}

#[test]
fn a_file_with_an_error_changes_nothing_and_standard_input_is_a_file() {
    let run = start("reference");
    let before = run.json(&["rules", "dump"]);
    fs::write(run.folder.join("bad.flows"), "in_port=1,actions=output:2\nipp,actions=drop\n")
        .unwrap();
    let output = run.ask(&["rules", "replace", "bad.flows"]);
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("bad.flows:2:") && line.contains("ipp"), "{line}");
    let output = run.ask(&["rules", "replace", "missing.flows"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(run.json(&["rules", "dump"]), before);

    let mut child = run
        .command(&["rules", "replace", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"priority=3 actions=drop\n").unwrap();
    let replaced: Value =
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(replaced["removed"].as_array().unwrap().len(), 10_000);
    assert_eq!(replaced["flows"], Value::Null);
    assert_eq!(run.json(&["rules", "dump"]), serde_json::json!(["priority=3 actions=drop"]));
}
