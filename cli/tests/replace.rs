//! A file of 10,000 rules is replaced under traffic: every packet sees the old or the new rules,
//! whole; on one input port never the new ones, then the old; what does not change stays.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

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

struct Running {
    folder: PathBuf,
    child: Child,
}

impl Running {
    fn start(device: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-replace-{device}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("old.flows"), rules("aa")).unwrap();
        fs::write(folder.join("new.flows"), rules("bb")).unwrap();
        let wire = |dst: &str| {
            format!("wire = \"gen:flows={SOURCES},src=10.0.0.0-10.0.19.135,dst={dst},rate=100k\"")
        };
        let config = format!(
            "device = \"{device}\"\nrules = \"old.flows\"\ncontrol = \"c.sock\"\n\
             [sim]\nprofile = \"medium\"\n[[port]]\nnumber = 1\n{}\n[[port]]\nnumber = 3\n{}\n\
             [[port]]\nnumber = 2\nwire = \"pcap:out=out.pcap\"\n",
            wire("198.18.0.1"),
            wire("198.18.0.3"),
        );
        fs::write(folder.join("c.toml"), config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(["run", "--json"])
            .arg(folder.join("c.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { folder, child };
        running.wait_until("up", || running.ask(&["stats"]).status.success());
        running
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(arguments)
            .arg("--socket")
            .arg(self.folder.join("c.sock"))
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Looks again until `done`, at most about thirty seconds.
    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..600 {
            if done() {
                return;
            }
            let _ = Command::new("sleep").arg("0.05").status();
        }
        panic!("{what}: not within thirty seconds");
    }

    fn received(&self) -> u64 {
        self.json(&["stats"])["packets"]["received"].as_u64().unwrap()
    }

    /// By source: flow number and what place it has.
    fn flows(&self) -> HashMap<String, (String, String)> {
        let listed = self.json(&["flows", "--limit", "20000"]);
        let of = |flow: &Value, key: &str| flow[key].as_str().unwrap().to_owned();
        let flows = listed["flows"].as_array().unwrap().iter();
        flows.map(|f| (of(f, "match"), (of(f, "flow"), of(f, "where")))).collect()
    }

    fn end(mut self) -> (Value, Vec<u8>) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let capture = fs::read(self.folder.join("out.pcap")).unwrap();
        (serde_json::from_str(&text).unwrap(), capture)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
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
        let run = Running::start(device);
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
        let table =
            String::from_utf8(run.ask(&["rules", "replace", "--dry-run", "new.flows"]).stdout);
        let table = table.unwrap();
        assert!(table.contains("2000 kept, 8000 added, 8000 removed"), "{table}");
        assert!(table.ends_with("dry run: nothing was changed\n"), "{table}");

        let before = run.flows();
        let replaced = run.json(&["rules", "replace", "new.flows"]);
        assert_eq!((&replaced["kept"], &replaced["dry_run"]), (&2000.into(), &false.into()));
        let then = run.received();
        run.wait_until("traffic by the new rules", || run.received() > then + 20_000);
        let after = run.flows();
        for (matching, (number, place)) in before.iter().filter(|(matching, _)| stays(matching)) {
            let now = after.get(matching).expect("a flow that stays");
            assert_eq!(&now.0, number, "{device}: {matching} is the same flow");
            assert!(place != "card" || now.1 == "card", "{device}: {matching} left the card");
        }
        assert!(run.json(&["events"]).to_string().contains("rules replaced by new.flows"));

        let (summary, capture) = run.end();
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
    let run = Running::start("reference");
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

    let mut child = Command::new(env!("CARGO_BIN_EXE_twinpath"))
        .args(["rules", "replace", "-", "--json", "--socket"])
        .arg(run.folder.join("c.sock"))
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
