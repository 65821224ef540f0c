//! `twinpath run` on the rocker: an independent device forwards, and software does the rest.

use super::platform::ROCKER;
use super::transport::bound;
use crate::binary::Twinpath;
use crate::guest::frame::{BROADCAST, ipv4, plain, station, tagged};
use crate::guest::runner::Case;
use crate::guest::{Cable, Daemon, Guest, Iommu};
use crate::judge::{self, Device as _};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::reference::process;
use twinpath_flow::sample::Random;
use twinpath_flow::text::parse_rule;

/// The cases.
pub(super) const CASES: [Case; 13] = [
    Case { name: "miss_then_device", iommu: Iommu::Present, prove: miss_then_device },
    Case { name: "acl_drop", iommu: Iommu::Present, prove: acl_drop },
    Case { name: "flood", iommu: Iommu::Present, prove: flood },
    Case { name: "mac_rewrite", iommu: Iommu::Present, prove: mac_rewrite },
    Case { name: "vlan", iommu: Iommu::Present, prove: vlan },
    Case { name: "routed_by_software", iommu: Iommu::Present, prove: routed_by_software },
    Case { name: "rule_deleted", iommu: Iommu::Present, prove: rule_deleted },
    Case { name: "generated_frames", iommu: Iommu::Present, prove: generated_frames },
    Case { name: "link", iommu: Iommu::Present, prove: link },
    Case { name: "reset_under_load", iommu: Iommu::Present, prove: reset_under_load },
    Case { name: "remove_and_rescan", iommu: Iommu::Present, prove: remove_and_rescan },
    Case { name: "standby", iommu: Iommu::Present, prove: standby },
    Case { name: "system_reset", iommu: Iommu::Present, prove: system_reset },
];

/// Rules of all cases.
pub(super) const RULES: &str = "\
priority=100,in_port=1,dl_dst=02:00:00:00:00:02,actions=output:2
priority=100,in_port=2,dl_src=02:00:00:00:00:66,actions=drop
priority=90,in_port=1,dl_dst=ff:ff:ff:ff:ff:ff,actions=output:2,output:3
priority=80,in_port=1,dl_dst=02:00:00:00:00:0a,actions=set_field:02:00:00:00:00:fe->eth_src,\
set_field:02:00:00:00:00:03->eth_dst,output:3
priority=80,in_port=1,dl_dst=02:00:00:00:00:0b,vlan_tci=0x0000/0x1fff,actions=push_vlan:0x8100,\
set_field:4196->vlan_vid,output:3
priority=80,in_port=1,dl_vlan=200,dl_dst=02:00:00:00:00:0c,actions=pop_vlan,output:2
priority=70,in_port=2,ip,nw_dst=10.0.0.0/8,actions=dec_ttl,output:1
priority=10,in_port=2,actions=output:1
priority=0,actions=drop";

/// Longest wait for a frame.
pub(super) const FRAME_MAX: Duration = Duration::from_secs(5);
/// Silence that means that no frame comes.
pub(super) const SILENCE: Duration = Duration::from_millis(100);
/// The rocker's table of access rules, where entries live.
pub(super) const ACL: u64 = 60;
/// Frames sent at most until a reset has shown and passed.
const LOAD_MAX: u16 = 20_000;
/// Frames of the comparison with the specification, and their seed.
const GENERATED: u16 = 300;
const SEED: u64 = 3;
/// Frames sent once a flow lives in the device.
const FRAMES: u16 = 50;

/// Makes the frame of a number.
type Maker<'a> = &'a dyn Fn(u16) -> Vec<u8>;

fn start(guest: &mut Guest) -> Daemon {
    let address = bound(guest, ROCKER);
    let daemon = Daemon::start(guest, &format!("vfio:{address}"), RULES);
    for wire in &guest.wires {
        let _ = wire.drain(Duration::from_millis(1));
    }
    daemon
}

/// Waits until so many flows live in the card.
pub(super) fn wait_offloaded(guest: &mut Guest, daemon: &Daemon, count: usize) {
    daemon.wait(
        guest,
        &format!(
            "[ $(twinpath flows --where card --json 2>/dev/null | grep -c '\"whole\": true') -ge {count} ]"
        ),
    );
}

/// Interrupts of the card so far.
fn interrupts(guest: &mut Guest) -> u64 {
    let text = guest.succeed("grep vfio /proc/interrupts");
    let counts = text.lines().flat_map(|line| line.split_whitespace().skip(1).take(2));
    counts.filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Sends a frame into port 1 (from 1) and returns what comes out of `out`.
pub(super) fn through(guest: &Guest, into: usize, out: usize, frame: &[u8]) -> Vec<u8> {
    guest.wires[into - 1].send(frame);
    let received = guest.wires[out - 1].receive(FRAME_MAX);
    received.unwrap_or_else(|| panic!("nothing came out of port {out}"))
}

/// Sends [`FRAMES`] frames made by `frame` into a port whose flow lives in the card: each must come
/// out of `outs` as `wanted` makes it, by the device alone. The evidence.
fn by_device(
    guest: &mut Guest,
    daemon: &Daemon,
    (into, outs): (usize, &[usize]),
    (frame, wanted): (Maker<'_>, Maker<'_>),
) -> String {
    let (software, interrupted) = (daemon.software_packets(guest), interrupts(guest));
    let hits = guest.monitor.rocker_hits(ACL);
    for number in 0..FRAMES {
        guest.wires[into - 1].send(&frame(number));
        for out in outs {
            let received = guest.wires[*out - 1].receive(FRAME_MAX);
            assert_eq!(received, Some(wanted(number)), "frame {number} out of port {out}");
        }
    }
    if outs.is_empty() {
        for wire in &guest.wires {
            assert_eq!(wire.receive(SILENCE), None);
        }
    }
    let hits = guest.monitor.rocker_hits(ACL) - hits;
    let interrupted = interrupts(guest) - interrupted;
    let software = daemon.software_packets(guest) - software;
    assert_eq!((hits, interrupted, software), (FRAMES.into(), 0, 0), "hits, interrupts, software");
    format!("{FRAMES} frames: {hits} hits in the device, no interrupt, none in software")
}

fn miss_then_device(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(7)), frame(7));
    assert_eq!(daemon.software_packets(guest), 1);
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    let summary = daemon.end(guest);
    let packets = &summary["packets"];
    assert_eq!((&packets["software"], &packets["card"]), (&Value::from(1), &Value::Null));
    format!("first by software, then {evidence}")
}

fn acl_drop(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let bad = |number| plain(station(1), station(0x66), number);
    guest.wires[1].send(&bad(0));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (2, &[]), (&bad, &bad));
    let good = plain(station(1), station(2), 1);
    assert_eq!(through(guest, 2, 1, &good), good);
    daemon.end(guest);
    format!("{evidence}; others pass")
}

fn flood(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(BROADCAST, station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    assert_eq!(guest.wires[2].receive(FRAME_MAX), Some(frame(0)));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2, 3]), (&frame, &frame));
    daemon.end(guest);
    format!("{evidence}, each out of ports 2 and 3")
}

fn mac_rewrite(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(station(0x0a), station(1), number);
    let wanted = |number| plain(station(3), station(0xfe), number);
    assert_eq!(through(guest, 1, 3, &frame(0)), wanted(0));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[3]), (&frame, &wanted));
    daemon.end(guest);
    evidence
}

fn vlan(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let untagged = |number| plain(station(0x0b), station(1), number);
    let pushed = |number| tagged(&untagged(number), 100);
    assert_eq!(through(guest, 1, 3, &untagged(0)), pushed(0));
    wait_offloaded(guest, &daemon, 1);
    let push = by_device(guest, &daemon, (1, &[3]), (&untagged, &pushed));
    let popped = |number| plain(station(0x0c), station(1), number);
    let with_tag = |number| tagged(&popped(number), 200);
    assert_eq!(through(guest, 1, 2, &with_tag(0)), popped(0));
    wait_offloaded(guest, &daemon, 2);
    let pop = by_device(guest, &daemon, (1, &[2]), (&with_tag, &popped));
    daemon.end(guest);
    format!("push: {push}; pop: {pop}")
}

fn routed_by_software(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let hosts = [station(1), station(2)];
    for last in 1..=20 {
        let (sent, wanted) = (ipv4(hosts, [10, 0, 0, last], 64), ipv4(hosts, [10, 0, 0, last], 63));
        assert_eq!(through(guest, 2, 1, &sent), wanted);
    }
    assert_eq!(daemon.software_packets(guest), 20);
    let flows = daemon.ask(guest, "flows");
    let why = flows["flows"][0]["why_not"].as_str().unwrap_or_default().to_owned();
    assert!(!why.is_empty(), "{flows}");
    daemon.end(guest);
    format!("20 of 20 packets with ttl 63 and a right checksum, not in the card: {why}")
}

fn rule_deleted(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    wait_offloaded(guest, &daemon, 1);
    by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    guest.succeed("twinpath rules del in_port=1,dl_dst=02:00:00:00:00:02");
    guest.wires[0].send(&frame(1));
    assert_eq!(guest.wires[1].receive(SILENCE), None, "a deleted rule still forwards");
    guest.succeed(
        "twinpath rules add priority=100,in_port=1,dl_dst=02:00:00:00:00:02,actions=output:3",
    );
    assert_eq!(through(guest, 1, 3, &frame(2)), frame(2));
    daemon.end(guest);
    "the frame after the answer is dropped, after another rule out of port 3".to_owned()
}

fn link(guest: &mut Guest) -> String {
    let daemon = start(guest);
    guest.monitor.plug(2, Cable::Out);
    daemon.wait(guest, "twinpath events | grep -q 'port 2.*down'");
    guest.monitor.plug(2, Cable::In);
    daemon.wait(guest, "twinpath events | grep -q 'port 2.*up'");
    let events = guest.succeed("twinpath events | grep 'port 2' | tail -n 2");
    daemon.end(guest);
    events.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

fn reset_under_load(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    wait_offloaded(guest, &daemon, 1);
    let address = bound(guest, ROCKER);
    guest.succeed(&format!("(usleep 100000; echo 1 >/sys/bus/pci/devices/{address}/reset) &"));
    let (mut sent, mut lost, mut passed_since) = (0, 0, 0);
    while passed_since < 100 {
        assert!(sent < LOAD_MAX, "{lost} of {sent} frames lost, the last not: {passed_since}");
        sent += 1;
        guest.wires[0].send(&frame(sent));
        match guest.wires[1].receive(SILENCE) {
            Some(received) => {
                assert_eq!(received, frame(sent));
                passed_since += u32::from(lost > 0);
            }
            None => (lost, passed_since) = (lost + 1, 0),
        }
    }
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    daemon.end(guest);
    format!("{lost} of {sent} frames lost around the reset, then {evidence}")
}

fn remove_and_rescan(guest: &mut Guest) -> String {
    let daemon = start(guest);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    let address = bound(guest, ROCKER);
    guest.succeed(&format!("timeout 10 sh -c 'echo 1 >/sys/bus/pci/devices/{address}/remove'"));
    daemon.wait(guest, "twinpath stats --json | grep -q '\"health\": *\"gone\"'");
    guest.succeed("echo 1 >/sys/bus/pci/rescan");
    bound(guest, ROCKER);
    daemon.wait(guest, "twinpath stats --json | grep -q '\"health\": *\"good\"'");
    assert_eq!(through(guest, 1, 2, &frame(1)), frame(1));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    daemon.end(guest);
    format!("let go of, daemon up, attached again: {evidence}")
}

fn standby(guest: &mut Guest) -> String {
    let address = bound(guest, ROCKER);
    let wires = ["gen:flows=3,rate=1000,count=500", "pcap:out=standby.pcap"];
    let device = format!("vfio:{address}");
    let daemon = Daemon::start_with_standby(guest, &device, RULES, &wires);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    guest.succeed(&format!("timeout 10 sh -c 'echo 1 >/sys/bus/pci/devices/{address}/remove'"));
    for told in ["port 1 is on its standby", "port 2 is on its standby", "port 3 is down"] {
        daemon.wait(guest, &format!("twinpath events | grep -q '{told}'"));
    }
    // The first came through the card.
    daemon.wait(guest, "twinpath stats --json | grep -q '\"software\": *501'");
    guest.succeed("echo 1 >/sys/bus/pci/rescan");
    bound(guest, ROCKER);
    daemon.wait(guest, "twinpath events | grep -q 'forwards again'");
    // 24 bytes of head, then 500 frames of 60 bytes with 16 of their own head.
    let written = guest.succeed("wc -c </tmp/daemon/standby.pcap");
    assert_eq!(written.trim(), "38024");
    assert_eq!(through(guest, 1, 2, &frame(1)), frame(1));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    daemon.end(guest);
    format!("removed: 500 frames of 500 over standby, port 3 down; back: {evidence}")
}

/// The rules on ports numbered as in [`Daemon::start`], and frames from a seed.
fn generated() -> judge::Case {
    let ports =
        Arc::new(PortTable::new((1..=3).map(Port::physical).collect()).expect("numbers differ"));
    let rule = |line| parse_rule("rules", line, &ports).expect("a rule").rule;
    let rules = RULES.lines().map(rule).collect();
    let mut random = Random::new(SEED);
    let packets = (1..=GENERATED).map(|number| generated_frame(&mut random, number)).collect();
    judge::Case { name: format!("seed {SEED}"), ports, rules, packets }
}

fn generated_frame(random: &mut Random, number: u16) -> (PortNo, Vec<u8>) {
    let pick = |random: &mut Random, among: &[u8]| among[random.below(among.len())];
    let into = PortNo(u16::from(pick(random, &[1, 1, 2, 3])));
    let to = pick(random, &[1, 2, 0x0a, 0x0b, 0x0c, 0xff]);
    let target = if to == 0xff { BROADCAST } else { station(to) };
    let source = station(pick(random, &[1, 2, 0x66]));
    let frame = match pick(random, &[0, 1, 2, 3]) {
        0 => ipv4([target, source], [10, 0, 0, 9], pick(random, &[1, 2, 64])),
        1 => tagged(&plain(target, source, number), 200),
        2 => tagged(&plain(target, source, number), 300),
        _ => plain(target, source, number),
    };
    (into, frame)
}

fn generated_frames(guest: &mut Guest) -> String {
    let case = generated();
    let pipeline = case.pipeline();
    let software_only = Twinpath::new("none").run(&case).outputs;
    let daemon = start(guest);
    let mut received = judge::Outputs::new();
    for (number, (into, frame)) in case.packets.iter().enumerate() {
        guest.wires[usize::from(into.0) - 1].send(frame);
        for (out, wanted) in process(&pipeline, frame, *into).outputs {
            let got = guest.wires[usize::from(out.0) - 1].receive(FRAME_MAX);
            let got = got.unwrap_or_else(|| panic!("frame {number}: none out of port {}", out.0));
            assert_eq!(got, wanted, "frame {number} of seed {SEED} out of port {}", out.0);
            received.entry(out).or_default().push(got);
        }
    }
    for wire in &guest.wires {
        assert_eq!(wire.receive(SILENCE), None, "a frame too many");
    }
    assert!(received == software_only, "not what device none sends");
    let software = daemon.software_packets(guest);
    daemon.end(guest);
    let (sent, out) = (u64::from(GENERATED), received.values().map(Vec::len).sum::<usize>());
    format!(
        "{sent} frames, {out} out as device none and the specification have them, seed {SEED}: \
         {} decided by the device alone, {software} by software",
        sent - software
    )
}

fn system_reset(guest: &mut Guest) -> String {
    let _lost = start(guest);
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(0)), frame(0));
    guest.restart();
    guest.wires[0].send(&frame(1));
    assert_eq!(guest.wires[1].receive(SILENCE), None, "a switch after power-on is silent");
    let daemon = start(guest);
    assert_eq!(through(guest, 1, 2, &frame(2)), frame(2));
    wait_offloaded(guest, &daemon, 1);
    let evidence = by_device(guest, &daemon, (1, &[2]), (&frame, &frame));
    daemon.end(guest);
    format!("silent after the reset, then {evidence}")
}
