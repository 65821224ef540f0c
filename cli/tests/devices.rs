//! One semantics on every device: same captures, same rules, then the same frames in the same order,
//! the same rule counters and the same drops; timeouts and controller copies too.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEVICES: [&str; 3] = ["reference", "none", "sim"];

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twinpath-dev-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Runs `rules` on `device` with these wires for ports 1 and up, and `more` sections.
    fn run(&self, device: &str, rules: &str, wires: &[String], more: &str) -> Value {
        fs::write(self.0.join("r.flows"), rules).unwrap();
        let mut config =
            format!("device = \"{device}\"\nrules = \"r.flows\"\ncontrol = \"c.sock\"\n{more}\n");
        for (index, wire) in wires.iter().enumerate() {
            config += &format!("[[port]]\nnumber = {}\nwire = \"{wire}\"\n", index + 1);
        }
        let path = self.0.join("c.toml");
        fs::write(&path, config).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(["run", "--json"])
            .arg(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The frames of a classic little-endian capture, without their times.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        frames.push(tail[..length].to_vec());
        rest = &tail[length..];
    }
    frames
}

/// Makes the frames of such a capture arrive so many seconds later.
fn put_off(path: &Path, seconds: u32) {
    let mut bytes = fs::read(path).unwrap();
    let mut at = 24;
    while at < bytes.len() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (later, length) = (word(at) + seconds, word(at + 8));
        bytes[at..at + 4].copy_from_slice(&later.to_le_bytes());
        at += 16 + length as usize;
    }
    fs::write(path, bytes).unwrap();
}

/// Rules with what they counted, but for when: only a card makes counts late.
fn rules(statistics: &Value) -> Vec<Value> {
    let mut rules = statistics["rules"].as_array().unwrap().clone();
    for rule in &mut rules {
        rule.as_object_mut().unwrap().remove("card_counted_at").unwrap();
    }
    rules
}

/// Asserts that statistics say the same of what devices must have in common.
fn assert_same(one: &Value, other: &Value, device: &str) {
    assert_eq!(rules(one), rules(other), "rules of {device}");
    for key in ["ports", "controller"] {
        assert_eq!(one[key], other[key], "{key} of {device}");
    }
    for key in ["received", "lost", "held", "dropped"] {
        assert_eq!(one["packets"][key], other["packets"][key], "packets.{key} of {device}");
    }
}

#[test]
fn the_same_captures_leave_every_device_as_the_same_captures() {
    let folder = Folder::new("captures");
    let made = "gen:flows=300,zipf=1,rate=50k,count=6000,size=imix,ttl=64*20+1,\
                proto=udp*3+tcp*3+icmp,dport=80+443+53,vlan=0*2+5+6,dscp=0+46";
    let back =
        "gen:flows=200,rate=40k,count=4000,seed=3,walk=dst,src=198.18.0.0/16,dst=10.0.0.0/24";
    let record = "in_port=1,actions=output:3\nin_port=2,actions=output:4\n";
    let wires = [made, back, "pcap:out=a.pcap", "pcap:out=b.pcap"].map(str::to_owned);
    let recorded = folder.run("none", record, &wires, "");
    assert_eq!(recorded["packets"]["received"], 10_000);

    let rules = "in_port=1,ip,actions=dec_ttl,set_field:02:00:00:00:00:09->eth_dst,goto_table:1\n\
                 in_port=2,ip,nw_dst=10.0.0.0/25,actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1\n\
                 in_port=2,actions=drop\n\
                 table=1,priority=40000,tcp,tp_dst=443,actions=set_field:8443->tcp_dst,output:2,output:1\n\
                 table=1,priority=40000,udp,tp_dst=53,actions=set_field:10.9.9.9->ip_dst,in_port\n\
                 table=1,dl_vlan=5,actions=pop_vlan,output:2\n\
                 table=1,priority=100,dl_vlan=6,actions=set_field:4199->vlan_vid,output:2,controller\n\
                 table=1,priority=90,ip,nw_tos=184,actions=mod_nw_tos:40,output:2\n\
                 table=1,priority=1,actions=output:2\n";
    let mut first: Option<(Value, [Vec<Vec<u8>>; 2])> = None;
    for device in DEVICES {
        let wires = [("a", 1), ("b", 2)]
            .map(|(name, port)| format!("pcap:in={name}.pcap,out={device}-{port}.pcap"));
        let statistics = folder.run(device, rules, &wires, "");
        let out = [1, 2].map(|port| frames(&folder.path(&format!("{device}-{port}.pcap"))));
        assert_eq!(statistics["packets"]["lost"].as_object().unwrap().len(), 0);
        match &first {
            None => first = Some((statistics, out)),
            Some((wanted, frames_wanted)) => {
                assert_same(&statistics, wanted, device);
                for port in 0..2 {
                    let (found, wanted) = (&out[port], &frames_wanted[port]);
                    let same = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                    assert!(found == wanted, "{device}, port {}: frame {same} differs", port + 1);
                }
                if device == "sim" {
                    let card = statistics["packets"]["card"].as_u64().unwrap();
                    assert!(card > 5_000, "the card forwarded {card}");
                }
            }
        }
    }
}

#[test]
fn timeouts_end_rules_on_every_device_at_the_same_packets() {
    let folder = Folder::new("timeouts");
    let rules = "in_port=1,priority=10,udp,idle_timeout=2,actions=output:2\n\
                 in_port=1,priority=9,udp,hard_timeout=3,actions=output:2\n\
                 in_port=1,priority=5,udp,actions=drop\n";
    let wire = "gen:flows=50,count=500,rate=1k;flows=50,count=2000,rate=1k,start=5s,seed=3";
    let mut first: Option<Value> = None;
    for device in DEVICES {
        let wires = [wire.to_owned(), "null".to_owned()];
        let statistics = folder.run(device, rules, &wires, "");
        assert_eq!(statistics["packets"]["dropped"], 2000, "{device}");
        assert_eq!(statistics["rules"].as_array().unwrap().len(), 1, "{device}");
        assert_same(first.get_or_insert_with(|| statistics.clone()), &statistics, device);
    }
}

#[test]
fn timeouts_begin_with_the_capture_and_not_with_its_epoch() {
    let folder = Folder::new("epoch");
    let wires = ["gen:flows=50,count=2000,rate=1k".to_owned(), "pcap:out=a.pcap".to_owned()];
    folder.run("none", "in_port=1,actions=output:2\n", &wires, "");
    put_off(&folder.path("a.pcap"), 1_700_000_000);
    let rules = "priority=10,udp,idle_timeout=1,actions=output:2\n\
                 priority=9,udp,hard_timeout=60,actions=drop\n";
    for device in DEVICES {
        let wires = ["pcap:in=a.pcap".to_owned(), "null".to_owned()];
        let statistics = folder.run(device, rules, &wires, "");
        assert_eq!(statistics["ports"][1]["tx_packets"], 2000, "{device}");
        assert_eq!(statistics["rules"].as_array().unwrap().len(), 2, "{device}");
    }
}

#[test]
fn a_frame_is_lost_for_the_same_cause_on_every_device() {
    let folder = Folder::new("lost");
    // Classic little-endian nanosecond capture; frames too short, too long, and as long as may be.
    let mut bytes =
        [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 0x1_0000, 1].map(u32::to_le_bytes).concat();
    for (second, length) in (1_u32..).zip([13_u32, 9217, 9216]) {
        bytes.extend([second, 0, length, length].map(u32::to_le_bytes).concat());
        bytes.resize(bytes.len() + length as usize, 2);
    }
    fs::write(folder.path("odd.pcap"), bytes).unwrap();
    for device in DEVICES {
        let wires = ["pcap:in=odd.pcap".to_owned(), "null".to_owned()];
        let statistics = folder.run(device, "actions=output:2\n", &wires, "");
        let lost = serde_json::json!({"malformed": 1, "mtu_in": 1});
        assert_eq!(statistics["packets"]["lost"], lost, "{device}");
        assert_eq!(statistics["ports"][1]["tx_packets"], 1, "{device}");
    }
}

#[test]
fn two_runs_on_the_card_are_the_same_run() {
    let folder = Folder::new("twice");
    let rules = "ip,nw_src=10.0.0.0/17,actions=dec_ttl,output:2\nip,actions=output:2\n";
    let wires = ["gen:flows=5000,zipf=1.1,rate=200k,count=20000".to_owned(), "null".to_owned()];
    let more = "[sim]\ncapacity = 256\n";
    let first = folder.run("sim", rules, &wires, more);
    assert_eq!(first, folder.run("sim", rules, &wires, more));
}
